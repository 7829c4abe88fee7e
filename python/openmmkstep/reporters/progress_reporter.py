"""One line that tells how a run is doing."""

from __future__ import annotations

import time
from typing import Any

import openmm
from openmm import app, unit
from rich.console import Console
from rich.live import Live
from rich.text import Text

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.terminal import LOG_SECONDS, LogLines

from .schedule import Schedule

_PS_PER_DAY_IN_NS = 86.4


class ProgressReporter:
    """Shows simulated time, speed, k, correction, fallbacks and acceptance on a line that is rewritten in place.

    Without a terminal (in a log file) a plain line is written every ``logSeconds`` instead.

    Args:
        reportInterval: outer steps between updates.
        totalTime: ps at the end of the run, for the percentage; None if it is not known.
        console: rich console to write to.
        label: what is running.
        logSeconds: between lines where there is no terminal.
    """

    def __init__(
        self,
        reportInterval: int,
        totalTime: float | None = None,
        console: Console | None = None,
        label: str = "",
        logSeconds: float = LOG_SECONDS,
    ) -> None:
        self._schedule = Schedule(reportInterval)
        self._total_time = totalTime
        self._console = console if console is not None else Console()
        self._label = label
        self._lines = LogLines(self._console, logSeconds)
        self._live: Live | None = None
        self._start: tuple[float, float] | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next update is due."""
        if self._start is None:
            self._start = (time.perf_counter(), _simulated(simulation))
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Show where the simulation stands."""
        line = self.line(simulation)
        if not self._console.is_terminal:
            self._lines.log(line)
            return
        if self._live is None:
            self._live = Live(_fitted(line), console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(_fitted(line), refresh=True)

    def line(self, simulation: app.Simulation) -> str:
        """The line for the present state of a simulation."""
        integrator = KStepIntegrator.cast(simulation.integrator)
        statistics = integrator.getStatistics()
        simulated = _simulated(simulation)
        wall, first = self._start if self._start is not None else (time.perf_counter(), simulated)
        elapsed = time.perf_counter() - wall
        speed = (simulated - first) / elapsed * _PS_PER_DAY_IN_NS if elapsed > 0 else 0.0
        share = f" ({100 * simulated / self._total_time:3.0f} %)" if self._total_time else ""
        parts = [
            f"{simulated:.3f} ps{share}",
            f"{speed:.2f} ns/day",
            f"k = {integrator.getK()}",
            "correction not measured"
            if statistics.correctionRMS is None
            else f"correction {statistics.correctionRMS:.1f} kJ/mol/nm",
            f"fallbacks {statistics.fallbacks}",
        ]
        if statistics.acceptance is not None:
            parts.append(f"accepted {100 * statistics.acceptance:.1f} %")
        elif statistics.meanAcceptanceProbability is not None:
            parts.append(f"Metropolis would accept {100 * statistics.meanAcceptanceProbability:.1f} %")
        return "  ".join([self._label, *parts] if self._label else parts)

    def close(self) -> None:
        """Leave the line as it is and go to the next."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _fitted(line: str) -> Text:
    """One line, cut off rather than wrapped in a narrow terminal."""
    return Text(line, no_wrap=True, overflow="ellipsis")


def _simulated(simulation: app.Simulation) -> float:
    return float(simulation.context.getTime().value_in_unit(unit.picosecond))
