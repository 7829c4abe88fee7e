"""What every propagator must do, of those that there are."""

from __future__ import annotations

from typing import Any

from openmmkstep.rttddft.propagation.propagators import CFM4, Magnus2, Propagator
from tests.suites.propagator import PropagatorProperties


class TestMagnus2(PropagatorProperties):
    order = 2.0
    one_electron = (0.004, 1e-8)

    def propagator(self, time_step: float, **options: Any) -> Propagator:
        return Magnus2(time_step, **options)


class TestCFM4(PropagatorProperties):
    order = 4.0
    one_electron = (0.02, 1e-10)

    def propagator(self, time_step: float, **options: Any) -> Propagator:
        return CFM4(time_step, **options)
