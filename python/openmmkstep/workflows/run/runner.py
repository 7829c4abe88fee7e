"""The main job from configuration to report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openmm import app
from rich.console import Console

from kstep_models.locks import locked
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.learning.networks import refuse_missing_training
from openmmkstep.reporters import ProgressReporter
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.mixed_system import MixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from openmmkstep.workflows.setup.qm_cache import cache_of

from .blocks import Blocks
from .checkpoint import Checkpoint, last_context
from .learning import learn
from .production import Production
from .speed import measure_speed
from .stages import (
    equilibrated_point,
    prepare_molecules,
    read_point,
    start_of_production,
    write_equilibration_table,
)

_UPDATES_PER_PRODUCTION = 400


class Runner:
    """Carries out a plan, or takes up where it was interrupted.

    Args:
        plan: The whole run.
        command: Command line for the files' heads.
        console: Console for progress.
        reporters: Reporters of production, beside those that write the files.
    """

    def __init__(self, plan: RunPlan, command: str, console: Console, reporters: Sequence[Any] = ()) -> None:
        self._plan = plan
        self._command = command
        self._console = console
        self._reporters = reporters
        self._progress: list[ProgressReporter] = []
        self.files = RunFolder(plan.output.folder)

    def run(self, fresh: bool = False) -> Path:
        """Run to the end.

        Args:
            fresh: throw away what an earlier run with this output folder wrote.

        Returns:
            The HTML report.

        Raises:
            InUseError: another program is writing the folder.
        """
        self.files.path.mkdir(parents=True, exist_ok=True)
        with locked(self.files.path):
            return self._run(fresh)

    def _run(self, fresh: bool) -> Path:
        # The report's plots need matplotlib, which is slow to load: nothing before the run is over needs it.
        files = self.files
        if files.open(self._plan.settings, fresh):
            self._log(f"taking up the run in {files.path}")
        self._log("building the system")
        molecules = prepare_molecules(self._plan.system, files)
        learned: PhaseSpacePoint | None = None
        is_over = False
        while not is_over:
            blocks: Blocks | None = None
            if self._plan.learning is not None:
                self._plan, learned, blocks = self._learn(self._plan, molecules)
            plan = self._plan
            mixed = plan.mix(molecules)
            others = molecules.system.getNumParticles() - len(mixed.region.members)
            self._log(f"{len(mixed.region.particles)} QM atoms, {others} MM particles")
            production = Production(plan, files, self._command, blocks)
            is_over = production.is_finished
            if not is_over:
                # Not for the speed below, which is that of the QM program.
                with cache_of(plan.cache, plan.system.qm.method, self._log):
                    is_over = self._produce(production, molecules, mixed, learned, blocks)
        if plan.speed.time > 0 and not files.has(files.speed):
            point = read_point(files, files.final)
            speed = measure_speed(plan, molecules, point, self._log, last_context(files.checkpoint))
            files.write_json(files.speed, speed)
        from openmmkstep.workflows.report.builder import build_report

        write_equilibration_table(files)
        self._log("writing the report")
        return build_report(plan, files, molecules, mixed)

    def _learn(self, plan: RunPlan, molecules: MolecularSystem) -> tuple[RunPlan, PhaseSpacePoint, Blocks | None]:
        # Whatever is wrong with the QM program, or missing, is said before the equilibration.
        if plan.learning is not None:
            refuse_missing_training(plan.learning.settings)
        plan.mix(molecules)
        point = equilibrated_point(plan, molecules, self.files, self._console, self._log)
        with cache_of(plan.cache, plan.system.qm.method, self._log):
            learned, where, learner = learn(plan, molecules, self.files, point, self._console)
        learning = plan.learning
        if learning is not None and learning.block:
            return learned, where, Blocks(learner, learning)
        # A network that comes later would not be used.
        learner.close()
        return learned, where, None

    def _produce(
        self,
        production: Production,
        molecules: MolecularSystem,
        mixed: MixedSystem,
        learned: PhaseSpacePoint | None,
        blocks: Blocks | None,
    ) -> bool:
        plan, files = self._plan, self.files
        start: Checkpoint | PhaseSpacePoint | None = production.checkpoint()
        if start is None:
            attach = self._attach("equilibration", plan.equilibration.steps)
            start = start_of_production(plan, molecules, mixed, files, self._console, self._log, attach, learned)
        # A checkpoint has the noise of the integrator, but not that of a barostat, which must not repeat itself.
        done = start.step if isinstance(start, Checkpoint) else 0
        simulation = plan.simulation(molecules, mixed, plan.seed + 1 + done)
        self._log(f"production ({plan.time(plan.steps):g} ps)")
        label = "production" if blocks is None else blocks.label
        return production.run(simulation, start, self._attach(label, plan.steps, self._reporters))

    def _log(self, message: str) -> None:
        while self._progress:
            self._progress.pop().close()
        self._console.print(message, highlight=False)

    def _attach(self, label: str, steps: int, reporters: Sequence[Any] = ()) -> Callable[[app.Simulation], None]:
        interval = max(1, round(steps / _UPDATES_PER_PRODUCTION))

        def attach(simulation: app.Simulation) -> None:
            self._progress.append(ProgressReporter(interval, self._plan.time(steps), self._console, label))
            simulation.reporters += [self._progress[-1], *reporters]

        return attach
