"""Minimisation and dynamics at the force-field level: heating, restraints, constant pressure.

Stages are cut into pieces, each with noise of a seed of its own, so that what is taken up after a piece goes on as if
it had never stopped, wherever the platform is deterministic.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import openmm

from kstep_models.units import GRAMS_PER_CM3
from openmmkstep.analysis.temperature import degrees_of_freedom, temperature
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.workflows.config.equilibration import StageSection

from .barostat import add_barostat
from .molecular_system import MolecularSystem
from .platforms import find_platform
from .restraints import add_restraints

_MOST_ITERATIONS = 1000  # of the minimiser: large proteins are relaxed enough for dynamics long before they converge
_PIECE = 10_000  # steps: barostats find the size of their moves anew in each
_PARTS_OF_A_STAGE = 100  # after each of which temperatures rise and a row is measured


@dataclass(frozen=True)
class EquilibrationRow:
    """A measurement on the way.

    Attributes:
        stage: counted from 0.
        time: since the beginning of the first stage, ps.
        temperature: K; None where nothing can move.
        potential_energy: with restraints, kJ/mol.
        volume: of the box, nm^3; None without one.
        density: g/cm^3; likewise.
    """

    stage: int
    time: float
    temperature: float | None
    potential_energy: float
    volume: float | None
    density: float | None


@dataclass(frozen=True)
class EquilibrationState:
    """Where an equilibration has got to.

    Attributes:
        stage: that goes on next; the number of stages when all are done.
        step: steps of it that are done.
        point: positions, velocities and box.
        rows: what was measured so far.
    """

    stage: int
    step: int
    point: PhaseSpacePoint
    rows: tuple[EquilibrationRow, ...] = ()

    def to_bytes(self) -> bytes:
        """As an npz file."""
        # NaN stands for what was not measured.
        rows = np.array([astuple(row) for row in self.rows], dtype=np.float64).reshape(
            -1, len(fields(EquilibrationRow))
        )
        return self.point.to_bytes(stage=np.array(self.stage), step=np.array(self.step), rows=rows)

    @classmethod
    def from_bytes(cls, content: bytes) -> EquilibrationState:
        """From what to_bytes() gave.

        Raises:
            ValueError: it is something else.
        """
        point, others = PhaseSpacePoint.read(content, ("stage", "step", "rows"))
        rows = (
            EquilibrationRow(int(row[0]), *(None if math.isnan(value) else float(value) for value in row[1:]))  # type: ignore[arg-type]
            for row in others["rows"]
        )
        return cls(int(others["stage"]), int(others["step"]), point, tuple(rows))


class ForceFieldEquilibration:
    """The stages of an equilibration, checked before the first.

    Args:
        molecules: system and starting positions, which are where restraints hold atoms.
        stages: What to do, in this order; none to minimise and draw velocities only.
        target: Temperature of stages that name none, K.
        seed: Seed of velocities and noise.
        platform: OpenMM platform.
        threads: Threads of the CPU platform.
        minimise: whether to minimise first.

    Raises:
        PreparationError: a pressure without a periodic box.
        SelectionError: restraints of atoms that are not there.
    """

    def __init__(
        self,
        molecules: MolecularSystem,
        stages: Sequence[StageSection],
        target: float,
        seed: int,
        platform: str = "CPU",
        threads: int = 1,
        minimise: bool = True,
    ) -> None:
        self._molecules = molecules
        self._stages = tuple(stages)
        self._target = target
        self._seed = seed
        self._platform, self._properties = find_platform(platform, threads)
        self._minimise = minimise
        self._periodic = molecules.system.usesPeriodicBoundaryConditions()
        self._systems = [self._system(index, stage) for index, stage in enumerate(self._stages)]
        self._freedom = degrees_of_freedom(molecules.system)
        self._mass = molecules.mass

    def steps(self, stage: int) -> int:
        """Time steps of a stage."""
        section = self._stages[stage]
        return max(1, round(section.time / section.time_step))

    def begin(self) -> EquilibrationState:
        """Minimise and draw velocities."""
        system = self._systems[0] if self._systems else self._molecules.system
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), self._platform, self._properties)
        context.setPositions(self._molecules.positions)
        if self._minimise:
            openmm.LocalEnergyMinimizer.minimize(context, 10.0, _MOST_ITERATIONS)
        context.setVelocitiesToTemperature(self._temperature(0, 0.0) if self._stages else self._target, self._seed)
        return EquilibrationState(0, 0, PhaseSpacePoint.of(context))

    def is_finished(self, state: EquilibrationState) -> bool:
        """Whether all stages are done."""
        return state.stage >= len(self._stages)

    def advance(self, state: EquilibrationState, progress: Callable[[int], object] | None = None) -> EquilibrationState:
        """The next piece, at most to the end of the stage.

        Args:
            state: where to go on.
            progress: called now and then with the steps of the stage that are done.

        Raises:
            OpenMMException: the dynamics fails, with time steps that are too long for example.
        """
        stage, step, total = state.stage, state.step, self.steps(state.stage)
        section, system = self._stages[stage], self._systems[stage]
        noise, moves = self._seeds(stage, step)
        integrator = openmm.LangevinMiddleIntegrator(
            self._temperature(stage, step / total), section.friction, section.time_step
        )
        integrator.setRandomNumberSeed(noise)
        barostats = [force for force in system.getForces() if isinstance(force, openmm.MonteCarloBarostat)]
        for barostat in barostats:
            barostat.setRandomNumberSeed(moves)
        context = openmm.Context(system, integrator, self._platform, self._properties)
        state.point.apply_to(context)
        rows, end = list(state.rows), min(step + _PIECE, total)
        part = max(1, total // _PARTS_OF_A_STAGE)
        try:
            while step < end:
                advance = min(part - step % part, end - step)
                now = self._temperature(stage, (step + 0.5 * advance) / total)
                integrator.setTemperature(now)
                for barostat in barostats:
                    context.setParameter(barostat.Temperature(), now)
                integrator.step(advance)
                step += advance
                if progress is not None:
                    progress(step)
                if step % part == 0 or step == total:
                    rows.append(self._measure(context, stage, step))
            point = PhaseSpacePoint.of(context)
        except openmm.OpenMMException as error:
            raise openmm.OpenMMException(
                f"stage {stage + 1} of the equilibration failed after {step * section.time_step:g} ps ({error}): "
                "shorten its time_step, or heat up with start_temperature"
            ) from error
        return EquilibrationState(*((stage + 1, 0) if step == total else (stage, step)), point, tuple(rows))

    def _system(self, index: int, stage: StageSection) -> openmm.System:
        where = f"equilibration.stages[{index}]"
        system = self._molecules.system
        if stage.restraints or stage.pressure is not None:
            system = copy.deepcopy(system)
            add_restraints(system, self._molecules, stage.restraints, f"{where}.restraints")
        if stage.pressure is not None:
            add_barostat(system, stage.pressure, self._temperature(index, 1.0), f"{where}.pressure")
        return system

    def _temperature(self, stage: int, share: float) -> float:
        section = self._stages[stage]
        end = self._target if section.temperature is None else section.temperature
        start = end if section.start_temperature is None else section.start_temperature
        return start + share * (end - start)

    def _seeds(self, stage: int, step: int) -> tuple[int, int]:
        # Not 0, with which OpenMM means a seed of its own choice.
        first, second = np.random.SeedSequence((self._seed, stage, step)).generate_state(2)
        return int(first % (2**31 - 1)) + 1, int(second % (2**31 - 1)) + 1

    def _measure(self, context: openmm.Context, stage: int, step: int) -> EquilibrationRow:
        state = context.getState(energy=True)
        volume = state.getPeriodicBoxVolume()._value if self._periodic else None
        before = sum(self.steps(i) * self._stages[i].time_step for i in range(stage))
        return EquilibrationRow(
            stage,
            before + step * self._stages[stage].time_step,
            temperature(state.getKineticEnergy()._value, self._freedom),
            state.getPotentialEnergy()._value,
            volume,
            None if volume is None else self._mass / volume * GRAMS_PER_CM3,
        )


def table_of(rows: Sequence[EquilibrationRow]) -> str:
    """Measurements as CSV, with an empty cell for what was not measured."""
    lines = [",".join(field.name for field in fields(EquilibrationRow))]
    lines += [",".join("" if value is None else f"{value:.10g}" for value in astuple(row)) for row in rows]
    return "\n".join(lines) + "\n"


def equilibrate(
    molecules: MolecularSystem,
    temperature: float,
    time: float,
    seed: int,
    platform: str = "CPU",
    time_step: float = 0.001,
    minimise: bool = True,
) -> PhaseSpacePoint:
    """Minimise, draw velocities, and run Langevin dynamics with the force field at constant volume.

    Args:
        molecules: system and starting positions.
        temperature: K.
        time: ps; may be 0.
        seed: Seed of velocities and noise.
        platform: OpenMM platform.
        time_step: ps.
        minimise: whether to minimise first.
    """
    # Numbers need no unit here.
    stages = [StageSection.model_construct(time=time, time_step=time_step)] if time > 0 else []
    equilibration = ForceFieldEquilibration(molecules, stages, temperature, seed, platform, minimise=minimise)
    state = equilibration.begin()
    while not equilibration.is_finished(state):
        state = equilibration.advance(state)
    return state.point
