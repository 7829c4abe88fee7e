"""How far a training run has come, in steps or wall time, counted over interruptions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Budget:
    """Progress from 0 to 1 against whichever limit is nearer.

    Args:
        max_steps: or None.
        max_time: seconds, or None.
        clock: gives seconds.
    """

    def __init__(
        self, max_steps: int | None, max_time: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_steps = max_steps
        self._max_time = max_time
        self._clock = clock
        self._before = 0.0
        self._since: float | None = None

    def start(self, elapsed: float = 0.0) -> None:
        """Start the clock, with the seconds used by earlier parts of the run."""
        self._before = elapsed
        self._since = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds used."""
        return self._before + (0.0 if self._since is None else self._clock() - self._since)

    def progress(self, step: int) -> float:
        """Fraction of the budget used after a number of steps."""
        fractions = [0.0]
        if self._max_steps is not None:
            fractions.append(step / self._max_steps)
        if self._max_time is not None:
            fractions.append(self.elapsed / self._max_time)
        return min(max(fractions), 1.0)


def learning_rate(peak: float, final_fraction: float, warmup_steps: int, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine from ``peak`` to ``final_fraction * peak`` as progress goes from 0 to 1."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
    return peak * warm * (final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress)))
