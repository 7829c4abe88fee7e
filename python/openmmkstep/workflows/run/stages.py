"""First stages of a run: build the system, check everything, equilibrate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openmm
from openmm import app

from openmmkstep.io.atomic import writeAtomically
from openmmkstep.io.topology import readTopology, writeTopology
from openmmkstep.qmmm.integrator import createLadderIntegrator
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import MixedSystem, createMixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.phase_space import PhaseSpacePoint
from openmmkstep.workflows.setup.platforms import findPlatform


def prepareMolecules(config: RunConfig, folder: Path, files: RunFolder) -> MolecularSystem:
    """The force-field system of a run: built the first time, read from the run's folder later.

    Solvent is placed at random, so that a run that is taken up must not build its system again.
    """
    if files.structure.exists():
        topology = readTopology(files.topology)
        system = openmm.XmlSerializer.deserialize(files.forceFieldSystem.read_text(encoding="utf-8"))
        positions = app.PDBFile(str(files.structure)).getPositions(asNumpy=True)._value
        return MolecularSystem(topology, positions, system)
    molecules = SystemBuilder(config.system, folder).build()
    writeTopology(files.topology, molecules.topology)
    writeAtomically(files.forceFieldSystem, openmm.XmlSerializer.serialize(molecules.system).encode())
    partial = files.structure.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(molecules.topology, molecules.positions * openmm.unit.nanometer, file)
    # Last, because its presence says that the others are complete.
    partial.replace(files.structure)
    return molecules


def createSimulation(config: RunConfig, molecules: MolecularSystem, mixed: MixedSystem, seed: int) -> app.Simulation:
    """A Simulation with the integrator that the configuration means."""
    section = config.integrator
    integrator = createLadderIntegrator(
        mixed.system,
        section.innerStep,
        section.k,
        temperature=section.temperature if section.ensemble == "langevin" else None,
        friction=section.friction,
        surrogatePeriod=config.surrogate.period if config.surrogate is not None else 1,
        nonbondedPeriod=section.nonbondedPeriod,
        correctionParticles=mixed.region.particles,
    )
    integrator.setRandomNumberSeed(seed)
    integrator.setMaxEnergyError(section.maxEnergyError)
    integrator.setMaxCorrection(section.maxCorrection)
    integrator.setMaxConsecutiveFallbacks(section.maxConsecutiveFallbacks)
    platform, properties = findPlatform(config.platform, config.threads)
    return app.Simulation(molecules.topology, mixed.system, integrator, platform, properties)


def createMixed(config: RunConfig, folder: Path, molecules: MolecularSystem, plain: bool = False) -> MixedSystem:
    """The QM/MM system of a run; ``plain`` leaves out the surrogates."""
    return createMixedSystem(
        molecules,
        config.qm,
        None if plain else config.surrogate,
        folder,
        splitNonbonded=config.integrator.nonbondedPeriod > 1 and not plain,
    )


def startOfProduction(
    config: RunConfig,
    molecules: MolecularSystem,
    mixed: MixedSystem,
    files: RunFolder,
    tell: Callable[[str], None],
    attach: Callable[[app.Simulation], None],
) -> PhaseSpacePoint:
    """Equilibrate, or read where an earlier attempt had got to.

    Args:
        config: of the run.
        molecules: force-field system.
        mixed: QM/MM system.
        files: of the run.
        tell: called with what is being done.
        attach: called with the simulation of the QM/MM equilibration, to add reporters.
    """
    if files.start.exists():
        return PhaseSpacePoint.read(files.start)
    # Created before the expensive part: it loads the network and the QM program, and says what is wrong with them.
    simulation = createSimulation(config, molecules, mixed, config.seed)
    if files.equilibrated.exists():
        point = PhaseSpacePoint.read(files.equilibrated)
    else:
        tell(f"equilibrating with the force field ({config.equilibration.forceField:g} ps)")
        relaxed = equilibrate(
            molecules, config.integrator.temperature, config.equilibration.forceField, config.seed, config.platform
        )
        box = simulation.context.getState().getPeriodicBoxVectors(asNumpy=True)._value
        point = PhaseSpacePoint(relaxed.positions, relaxed.velocities, box)
        point.write(files.equilibrated)
    point.applyTo(simulation.context)
    steps = round(config.equilibration.kstep / config.integrator.macroStep)
    if steps:
        tell(f"equilibrating with QM/MM ({config.equilibration.kstep:g} ps)")
        attach(simulation)
        simulation.step(steps)
        point = PhaseSpacePoint.of(simulation.context)
    point.write(files.start)
    return point
