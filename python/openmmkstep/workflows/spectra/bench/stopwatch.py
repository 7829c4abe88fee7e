"""Wall and processor time of pieces of work."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Time spent, seconds.

    Attributes:
        wall: by the clock.
        processor: of this process, which other programs on the machine disturb less.
    """

    wall: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.processor + other.processor)

    def __mul__(self, factor: float) -> Spent:
        return Spent(self.wall * factor, self.processor * factor)


class Stopwatch:
    """Started when it is made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def lap(self) -> Spent:
        """Since the last lap."""
        wall, processor = time.perf_counter(), time.process_time()
        spent = Spent(wall - self._wall, processor - self._processor)
        self._wall, self._processor = wall, processor
        return spent
