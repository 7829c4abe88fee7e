"""When a reporter is due."""

from __future__ import annotations

from typing import Any

from openmm import app


class Schedule:
    """Every so many outer steps.

    Args:
        interval: outer steps between reports.

    Raises:
        ValueError: the interval is not a positive integer.
    """

    def __init__(self, interval: int) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f"reportInterval must be a positive integer (outer steps), got {interval!r}")
        self.interval = interval

    def next(self, simulation: app.Simulation) -> dict[str, Any]:
        """What Simulation asks a reporter for: steps to the next report, and that it needs nothing of a State."""
        return {"steps": self.interval - simulation.currentStep % self.interval, "periodic": None, "include": []}
