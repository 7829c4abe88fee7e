"""First stages of a run: build the system, check everything, equilibrate."""

from __future__ import annotations

import io
from collections.abc import Callable

import openmm
from openmm import app

from kstep_models.files import write_atomically
from openmmkstep.io.topology import read_topology, write_topology
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import MixedSystem, build_mixed_system
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.phase_space import PhaseSpacePoint
from openmmkstep.workflows.setup.platforms import find_platform


def prepare_molecules(config: RunConfig, files: RunFolder) -> MolecularSystem:
    """The force-field system of a run: built the first time, read from the run's folder later.

    Solvent is placed at random, so that a run that is taken up must not build its system again.
    """
    if files.structure.exists():
        topology = read_topology(files.topology)
        system = openmm.XmlSerializer.deserialize(files.force_field_system.read_text(encoding="utf-8"))
        positions = app.PDBFile(str(files.structure)).getPositions(asNumpy=True)._value
        return MolecularSystem(topology, positions, system)
    molecules = SystemBuilder(config.system).build()
    write_topology(files.topology, molecules.topology)
    write_atomically(files.force_field_system, openmm.XmlSerializer.serialize(molecules.system))
    structure = io.StringIO()
    app.PDBFile.writeFile(molecules.topology, molecules.positions * openmm.unit.nanometer, structure)
    # Last, because its presence says that the others are complete.
    write_atomically(files.structure, structure.getvalue())
    return molecules


def create_simulation(config: RunConfig, molecules: MolecularSystem, mixed: MixedSystem, seed: int) -> app.Simulation:
    """A Simulation with the integrator that the configuration means."""
    section = config.integrator
    temperature = section.temperature if section.ensemble == "langevin" else None
    integrator = integrator_for(mixed.system, config.levels, temperature, section.friction)
    integrator.setRandomNumberSeed(seed)
    integrator.setMaxEnergyError(section.max_energy_error)
    integrator.setMaxCorrection(section.max_correction)
    integrator.setMaxConsecutiveFallbacks(section.max_consecutive_fallbacks)
    platform, properties = find_platform(config.platform, config.threads)
    return app.Simulation(molecules.topology, mixed.system, integrator, platform, properties)


def create_mixed(config: RunConfig, molecules: MolecularSystem, plain: bool = False) -> MixedSystem:
    """The QM/MM system of a run; ``plain`` leaves out the surrogates."""
    return build_mixed_system(
        molecules,
        config.qm,
        None if plain else config.surrogate,
        split_nonbonded=config.integrator.nonbonded_period > 1 and not plain,
    )


def start_of_production(
    config: RunConfig,
    molecules: MolecularSystem,
    mixed: MixedSystem,
    files: RunFolder,
    log: Callable[[str], None],
    attach: Callable[[app.Simulation], None],
) -> PhaseSpacePoint:
    """Equilibrate, or read where an earlier attempt had got to.

    Args:
        config: of the run.
        molecules: force-field system.
        mixed: QM/MM system.
        files: of the run.
        log: called with what is being done.
        attach: called with the simulation of the QM/MM equilibration, to add reporters.
    """
    if files.start.exists():
        return PhaseSpacePoint.read(files.start)
    # Created before the expensive part: it loads the network and the QM program, and says what is wrong with them.
    simulation = create_simulation(config, molecules, mixed, config.seed)
    if files.equilibrated.exists():
        point = PhaseSpacePoint.read(files.equilibrated)
    else:
        log(f"equilibrating with the force field ({config.equilibration.force_field:g} ps)")
        relaxed = equilibrate(
            molecules, config.integrator.temperature, config.equilibration.force_field, config.seed, config.platform
        )
        box = simulation.context.getState().getPeriodicBoxVectors(asNumpy=True)._value
        point = PhaseSpacePoint(relaxed.positions, relaxed.velocities, box)
        point.write(files.equilibrated)
    point.apply_to(simulation.context)
    steps = round(config.equilibration.kstep / config.integrator.outer_step)
    if steps:
        log(f"equilibrating with QM/MM ({config.equilibration.kstep:g} ps)")
        attach(simulation)
        simulation.step(steps)
        point = PhaseSpacePoint.of(simulation.context)
    point.write(files.start)
    return point
