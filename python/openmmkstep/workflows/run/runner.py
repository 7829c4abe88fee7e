"""The main job from configuration to report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from openmm import app
from rich.console import Console

from openmmkstep.io.atomic import write_atomically
from openmmkstep.reporters import ProgressReporter
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.phase_space import PhaseSpacePoint

from .production import Production
from .speed import measure_speed
from .stages import create_mixed, create_simulation, prepare_molecules, start_of_production

_UPDATES_PER_PRODUCTION = 400


class Runner:
    """Runs a configuration, or takes up where it was interrupted.

    Args:
        config: of the run.
        folder: relative paths are relative to it, usually that of the configuration file.
        command: for the files' heads.
        console: for progress.
    """

    def __init__(self, config: RunConfig, folder: Path, command: str, console: Console) -> None:
        self._config = config
        self._folder = folder
        self._command = command
        self._console = console
        self._progress: list[ProgressReporter] = []
        self.files = RunFolder(folder / config.output.folder)

    def run(self, fresh: bool = False) -> Path:
        """Run to the end.

        Args:
            fresh: throw away what an earlier run with this output folder wrote.

        Returns:
            The HTML report.
        """
        # The report's plots need matplotlib, which is slow to load: nothing before the run is over needs it.
        config, files = self._config, self.files
        if files.open(config, fresh):
            self._log(f"taking up the run in {files.path}")
        self._log("building the system")
        molecules = prepare_molecules(config, self._folder, files)
        mixed = create_mixed(config, self._folder, molecules)
        embedded = molecules.system.getNumParticles() - len(mixed.region.members)
        self._log(f"{len(mixed.region.particles)} QM atoms, {embedded} MM particles")
        start = start_of_production(
            config, molecules, mixed, files, self._log, self._attach("equilibration", config.equilibration.kstep)
        )
        simulation = create_simulation(config, molecules, mixed, config.seed + 1)
        production = Production(config, simulation, files, self._command)
        if not production.is_finished:
            self._log(f"production ({config.time:g} ps)")
            production.run(start, self._attach("production", config.time))
        if config.speed.time > 0 and not files.speed.exists():
            speed = measure_speed(config, self._folder, molecules, PhaseSpacePoint.read(files.final), self._log)
            write_atomically(files.speed, json.dumps(speed, indent=1).encode())
        from openmmkstep.workflows.report.builder import build_report

        self._log("writing the report")
        return build_report(config, files, molecules, mixed.region)

    def _log(self, message: str) -> None:
        while self._progress:
            self._progress.pop().close()
        self._console.print(message, highlight=False)

    def _attach(self, label: str, total_time: float) -> Callable[[app.Simulation], None]:
        steps = total_time / self._config.integrator.outer_step
        interval = max(1, round(steps / _UPDATES_PER_PRODUCTION))

        def attach(simulation: app.Simulation) -> None:
            self._progress.append(ProgressReporter(interval, total_time, self._console, label))
            simulation.reporters.append(self._progress[-1])

        return attach
