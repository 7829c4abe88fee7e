"""First stages of a run: build the system, check everything, equilibrate."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import openmm
from openmm import app

from openmmkstep.io.topology import topology_from_json, topology_to_json
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
    parts = (files.topology, files.force_field_system, files.structure)
    if sum(files.has(part) for part in parts) == len(parts):
        return _read_molecules(files)
    molecules = SystemBuilder(config.system).build()
    structure = io.StringIO()
    app.PDBFile.writeFile(molecules.topology, molecules.positions * openmm.unit.nanometer, structure)
    contents = (
        topology_to_json(molecules.topology),
        openmm.XmlSerializer.serialize(molecules.system),
        structure.getvalue(),
    )
    for part, content in zip(parts, contents, strict=True):
        files.write(part, content)
    return molecules


def _read_molecules(files: RunFolder) -> MolecularSystem:
    with files.reading(files.topology) as content:
        topology = topology_from_json(content)
    with files.reading(files.force_field_system) as content:
        system = openmm.XmlSerializer.deserialize(content.decode())
    with files.reading(files.structure) as content:
        positions = app.PDBFile(io.StringIO(content.decode())).getPositions(asNumpy=True)._value
    return MolecularSystem(topology, positions, system)


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
    if files.has(files.start):
        return read_point(files, files.start)
    # Created before the expensive part: it loads the network and the QM program, and says what is wrong with them.
    simulation = create_simulation(config, molecules, mixed, config.seed)
    if files.has(files.equilibrated):
        point = read_point(files, files.equilibrated)
    else:
        log(f"equilibrating with the force field ({config.equilibration.force_field:g} ps)")
        relaxed = equilibrate(
            molecules, config.integrator.temperature, config.equilibration.force_field, config.seed, config.platform
        )
        box = simulation.context.getState().getPeriodicBoxVectors(asNumpy=True)._value
        point = PhaseSpacePoint(relaxed.positions, relaxed.velocities, box)
        files.write(files.equilibrated, point.to_bytes())
    point.apply_to(simulation.context)
    steps = round(config.equilibration.kstep / config.integrator.outer_step)
    if steps:
        log(f"equilibrating with QM/MM ({config.equilibration.kstep:g} ps)")
        attach(simulation)
        simulation.step(steps)
        point = PhaseSpacePoint.of(simulation.context)
    files.write(files.start, point.to_bytes())
    return point


def read_point(files: RunFolder, file: Path) -> PhaseSpacePoint:
    """Positions, velocities and box that the run wrote. Raises DamagedFileError."""
    with files.reading(file) as content:
        return PhaseSpacePoint.from_bytes(content)
