"""First stages of a run: build the system, check everything, equilibrate."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import openmm
from openmm import app
from rich.console import Console

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.io.topology import topology_from_json, topology_to_json
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.terminal import CountedProgress
from openmmkstep.workflows.plan import RunPlan, SystemPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.equilibration import EquilibrationState, ForceFieldEquilibration, table_of
from openmmkstep.workflows.setup.mixed_system import MixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem

from .failed_frame import failed_frame_saved


def prepare_molecules(plan: SystemPlan, files: RunFolder) -> MolecularSystem:
    """The force-field system of a run: built the first time, read from the run's folder later.

    Solvent is placed at random, so that a run that is taken up must not build its system again.
    """
    parts = (files.topology, files.force_field_system, files.structure)
    if sum(files.has(part) for part in parts) == len(parts):
        return _read_molecules(files)
    molecules = plan.build()
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


def equilibrated_point(
    plan: RunPlan, molecules: MolecularSystem, files: RunFolder, console: Console, log: Callable[[str], None]
) -> PhaseSpacePoint:
    """Equilibrate with the force field, or read where an earlier attempt had got to.

    Args:
        plan: The whole run.
        molecules: force-field system.
        files: Files of the run.
        console: for progress of the stages.
        log: called with what is being done.
    """
    if files.has(files.equilibrated):
        return read_point(files, files.equilibrated)
    point = _equilibrate(plan.force_field_equilibration(molecules), plan, files, console, log)
    write_equilibration_table(files)
    files.write(files.equilibrated, point.to_bytes())
    return point


def start_of_production(
    plan: RunPlan,
    molecules: MolecularSystem,
    mixed: MixedSystem,
    files: RunFolder,
    console: Console,
    log: Callable[[str], None],
    attach: Callable[[app.Simulation], None],
    learned: PhaseSpacePoint | None = None,
) -> PhaseSpacePoint:
    """Equilibrate, or read where an earlier attempt had got to.

    Args:
        plan: The whole run.
        molecules: force-field system.
        mixed: QM/MM system.
        files: Files of the run.
        console: for progress of the force field's stages.
        log: called with what is being done.
        attach: called with the simulation of the QM/MM equilibration, to add reporters.
        learned: Where learning has led, from where the QM/MM equilibration begins; None for the force field's.
    """
    if files.has(files.start):
        return read_point(files, files.start)
    # Checked, and the network and the QM program loaded, before the expensive part.
    plan.force_field_equilibration(molecules)
    simulation = plan.simulation(molecules, mixed, plan.seed)
    if learned is None:
        point = equilibrated_point(plan, molecules, files, console, log).between(molecules.system, mixed.system)
    else:
        point = learned
    point.apply_to(simulation.context)
    if plan.equilibration.steps:
        # What is not in equilibrium yet would be refused rather than relax.
        KStepIntegrator.cast(simulation.integrator).setMetropolis("off")
        log(f"equilibrating with QM/MM ({plan.time(plan.equilibration.steps):g} ps)")
        attach(simulation)
        with failed_frame_saved(simulation.system, simulation.context, files.failed_frame):
            simulation.step(plan.equilibration.steps)
        point = PhaseSpacePoint.of(simulation.context)
    files.write(files.start, point.to_bytes())
    return point


def _equilibrate(
    equilibration: ForceFieldEquilibration,
    plan: RunPlan,
    files: RunFolder,
    console: Console,
    log: Callable[[str], None],
) -> PhaseSpacePoint:
    """All stages of the force field; what is done after a piece of one is not done again."""
    stages = plan.equilibration.stages
    if files.has(files.equilibration):
        with files.reading(files.equilibration) as content:
            state = EquilibrationState.from_bytes(content)
    else:
        log("minimising" if plan.equilibration.minimise else "drawing velocities")
        state = equilibration.begin()
        files.write(files.equilibration, state.to_bytes())
    for index in range(state.stage, len(stages)):
        log(f"equilibrating with the force field, stage {index + 1} of {len(stages)} ({stages[index].time:g} ps)")
        done = state.step if state.stage == index else 0
        with CountedProgress("steps", equilibration.steps(index), console, done) as progress:
            while state.stage == index:
                state = equilibration.advance(state, progress.update)
                files.write(files.equilibration, state.to_bytes())
    return state.point


def write_equilibration_table(files: RunFolder) -> None:
    """What was measured on the way, as CSV, if it is not there."""
    if files.has(files.equilibration) and not files.has(files.equilibration_table):
        with files.reading(files.equilibration) as content:
            state = EquilibrationState.from_bytes(content)
        if state.rows:
            files.write(files.equilibration_table, table_of(state.rows))


def read_point(files: RunFolder, file: Path) -> PhaseSpacePoint:
    """Positions, velocities and box that the run wrote. Raises DamagedFileError."""
    with files.reading(file) as content:
        return PhaseSpacePoint.from_bytes(content)
