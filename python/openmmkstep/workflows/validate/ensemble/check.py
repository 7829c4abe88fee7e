"""All runs, sampled or read, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from openmmkstep.analysis.ensemble.normal_modes import NormalModes
from openmmkstep.analysis.ensemble.two_temperatures import TwoTemperatures, compare_temperatures
from openmmkstep.analysis.temperature import degrees_of_freedom
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.terminal import CountedProgress
from openmmkstep.workflows.config.validate import ValidateConfig
from openmmkstep.workflows.plan import SystemPlan, what_names_stand_for
from openmmkstep.workflows.run.stages import prepare_molecules, read_point
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from openmmkstep.workflows.setup.selection import select_atoms

from ..systems import ValidationSystems
from .analysis import AnalysedRun, Molecule, Surroundings, analyse_run, compare
from .coordinates import InternalCoordinates
from .rows import Row, rows_of
from .sampling.folder import EnsembleFolder
from .sampling.hessian import ModeCalculation, modes_from_bytes, modes_to_bytes
from .sampling.recording import Interests, Recording, Sampler
from .sampling.runs import EnsembleRun, Kind, ensemble_runs, watched

_BINS = 80

# Runs may be made longer, and others added to them; anything else would make other runs of them.
_MAY_CHANGE = (
    "time",
    "plain_time",
    "ks",
    "surrogate_alone",
    "two_temperatures",
    "normal_modes",
    "segment",
    "checkpoint",
)


@dataclass(frozen=True)
class EnsembleResults:
    """What a check found.

    Attributes:
        config: what was checked.
        molecule: the region.
        runs: name -> run.
        slopes: name of a k-step run -> its test of two temperatures.
        rows: verdicts.
    """

    config: ValidateConfig
    molecule: Molecule
    runs: dict[str, AnalysedRun]
    slopes: dict[str, TwoTemperatures]
    rows: list[Row]

    @property
    def at_target(self) -> list[AnalysedRun]:
        """Runs at the temperature of the configuration."""
        return [run for run in self.runs.values() if not run.run.is_second]


class EnsembleCheck:
    """Samples what is not there yet, and analyses all.

    Args:
        config: what is checked.
        folder: where trajectories are kept; a repeated command goes on with what it finds.
        fresh: throw away what is there.
        console: for progress.
        log: called with what is being done.

    Raises:
        RunFolderError: The folder holds runs with other settings.
        PreparationError, LevelError, ValueError: What is wrong with the configuration.
    """

    def __init__(
        self,
        config: ValidateConfig,
        folder: Path,
        fresh: bool,
        console: Console,
        log: Callable[[str], None],
    ) -> None:
        self._config = config
        self._console = console
        self._log = log
        names = [run.name for run in ensemble_runs(config, 1)]
        self._files = EnsembleFolder(folder, names)
        self._files.open(_settings(config), fresh)
        plan = SystemPlan(config.system, config.qm, config.surrogate, False, False, config.platform, 1)
        self._molecules = prepare_molecules(plan, self._files)
        self._systems = ValidationSystems(config, log, self._molecules)
        self._region: QMRegion = self._systems.levels.region
        self._runs = ensemble_runs(config, round(degrees_of_freedom(self._molecules.system)))
        self._solvent = _solvent_oxygens(self._molecules, self._region)
        self._edges = self._shells()

    def run(self) -> EnsembleResults:
        """Sample and analyse."""
        start = self._start()
        modes = self._modes(start) if self._config.ensemble.normal_modes else None
        recordings = {run.name: self._recording(run, start) for run in self._runs}
        self._log("analysing")
        molecule = Molecule(
            self._region.numbers,
            self._region.masses,
            InternalCoordinates.of(self._region),
            modes,
            Surroundings(self._edges, len(self._solvent) / _volume(start)) if self._solvent else None,
        )
        return analyse(self._config, molecule, self._runs, recordings)

    def _start(self) -> PhaseSpacePoint:
        files = self._files
        if files.has(files.start):
            return read_point(files, files.start)
        point = self._systems.start(min(self._config.ensemble.ks))
        files.write(files.start, point.to_bytes())
        return point

    def _modes(self, start: PhaseSpacePoint) -> NormalModes:
        files = self._files
        if files.has(files.modes):
            with files.reading(files.modes) as content:
                return modes_from_bytes(content)
        self._log("minimising, for the normal modes")
        context = self._systems.context(self._systems.plain(), KStepIntegrator(self._config.inner_step, 1))
        start.apply_to(context)
        calculation = ModeCalculation(context, list(self._region.particles), self._region.masses)
        with CountedProgress("Hessian", 3 * len(self._region.particles), self._console) as progress:
            modes = calculation.run(progress.update)
        files.write(files.modes, modes_to_bytes(modes))
        return modes

    def _recording(self, run: EnsembleRun, start: PhaseSpacePoint) -> Recording:
        """What there is of a run, sampled to its end."""
        files, section, file = self._files, self._config.ensemble, self._files.recordings[run.name]
        step = run.levels.outer_step
        discard = round(section.discard / step)
        total = discard + max(1, round(run.time / step))
        recording = Recording.empty(len(self._region.particles), len(self._edges) - 1, run.identity)
        if files.has(file):
            with files.reading(file) as content:
                present = Recording.from_bytes(content)
            # Another default of the second temperature makes another run.
            if present.facts["run"] == run.identity:
                recording = present
        if recording.steps >= total or recording.facts.get("error"):
            return recording
        self._log(f"{run.label}: {total * step:g} ps")
        interests = Interests(
            list(self._region.particles),
            self._solvent,
            self._edges,
            max(1, round(section.velocity_interval / run.levels.inner_step)),
            max(1, round(section.frame_interval / step)),
            discard,
        )
        parts = watched(run, self._systems)
        context = self._systems.context(parts.system, parts.integrator, run.seed)
        start.apply_to(context)
        sampler = Sampler(context, parts.seen, interests, recording)
        piece = max(1, round(section.checkpoint / step))
        with CountedProgress("outer steps", total, self._console, recording.steps) as progress:
            while recording.steps < total and not recording.facts.get("error"):
                sampler.advance(min(recording.steps + piece - recording.steps % piece, total), progress.update)
                recording = sampler.recording
                files.write(file, recording.to_bytes())
        if recording.facts["error"]:
            self._log(f"  broke down after {recording.steps * step:g} ps: {recording.facts['error']}")
        return recording

    def _shells(self) -> np.ndarray:
        largest = self._config.ensemble.radial_distance
        if self._solvent:
            vectors = self._molecules.topology.getPeriodicBoxVectors()
            half = min(vectors[axis][axis]._value for axis in range(3)) / 2
            if largest > half:
                raise ValueError(
                    f"ensemble.radial_distance {largest:g} nm is more than half the box, {half:.3g} nm: make it smaller"
                )
        return np.linspace(0.0, largest, _BINS + 1) if self._solvent else np.zeros(1)


def analyse(
    config: ValidateConfig, molecule: Molecule, runs: list[EnsembleRun], recordings: dict[str, Recording]
) -> EnsembleResults:
    """Compare runs.

    Plain runs are compared with each other, which is the noise floor; all others with the two together.

    Args:
        config: what was checked.
        molecule: the region.
        runs: all runs.
        recordings: name -> what was sampled.
    """
    section = config.ensemble
    analysed = {}
    for run in runs:
        every = max(1, round(section.velocity_interval / run.levels.inner_step))
        interval = every * run.levels.inner_step
        recording = recordings[run.name]
        analysed[run.name] = analyse_run(run, recording, molecule, section.friction, interval, section.segment)
    plain = [item for item in analysed.values() if item.run.kind is Kind.PLAIN]
    for name, item in analysed.items():
        if item.run.kind is Kind.PLAIN:
            others = [other for other in plain[:1] if other.run is not item.run]
        else:
            others = [] if item.run.is_second else plain
        if others:
            analysed[name] = compare(item, others, molecule)
    slopes = {
        name: _slope(analysed[name], analysed[f"{name}_second"]) for name in analysed if f"{name}_second" in analysed
    }
    found = {name: slope for name, slope in slopes.items() if slope is not None}
    floor = next((analysed[item.run.name] for item in plain[1:]), None)
    rows = [
        row for name, item in analysed.items() for row in rows_of(item, floor, found.get(name), molecule.coordinates)
    ]
    return EnsembleResults(config, molecule, analysed, found, rows)


def _slope(first: AnalysedRun, second: AnalysedRun) -> TwoTemperatures | None:
    """None where the runs are too short, or their energies do not overlap."""
    try:
        return compare_temperatures(
            first.recording.potential, second.recording.potential, (first.run.temperature, second.run.temperature)
        )
    except ValueError:
        return None


def _settings(config: ValidateConfig) -> dict[str, Any]:
    """JSON values that runs which are taken up must have in common with these."""
    written = config.written()
    ensemble = {key: value for key, value in written.pop("ensemble").items() if key not in _MAY_CHANGE}
    for other in ("nve", "thermostat"):
        written.pop(other)
    return {**written, "ensemble": ensemble, **what_names_stand_for(config.qm, config.surrogate)}


def _solvent_oxygens(molecules: MolecularSystem, region: QMRegion) -> list[int]:
    """Oxygen atoms of water outside the region, in a periodic box."""
    if molecules.topology.getPeriodicBoxVectors() is None:
        return []
    names = {atom.residue.name for atom in molecules.topology.atoms() if atom.index not in set(region.members)}
    if not names:
        return []
    water = set(select_atoms(molecules.topology, "water and element O", molecules.positions))
    return sorted(water - set(region.members))


def _volume(point: PhaseSpacePoint) -> float:
    return float(np.linalg.det(point.box))
