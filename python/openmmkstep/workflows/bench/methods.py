"""The methods that are compared, behind one interface."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

import openmm

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.forces import find_qm_force

from .stock_mts import Spent


@dataclass(frozen=True)
class Cost:
    """What a method had spent at some moment.

    Attributes:
        qm_calls: QM calls.
        qm: wall seconds in the QM program.
        surrogate: wall seconds in the levels below.
        common: wall seconds in forces that all levels share; with "rest" where they cannot be told apart.
        integrator: wall seconds of the integrator's own work; likewise.
        surrogate_calls: Calls of each level, lowest first.
    """

    qm_calls: int
    qm: float
    surrogate: float
    common: float
    integrator: float
    surrogate_calls: tuple[int, ...]


class Method(ABC):
    """One way to run the dynamics.

    Args:
        label: Name in tables.
        context: Context at the starting point.
        step: simulated per integrator step, ps.
    """

    def __init__(self, label: str, context: openmm.Context, step: float) -> None:
        self.label = label
        self.context = context
        self.step = step

    def run(self, simulated: float) -> tuple[float, float]:
        """Run for at least a simulated time (ps); returns wall seconds and what was simulated."""
        steps = max(1, -int(-simulated / self.step // 1))
        begin = time.perf_counter()
        self.context.getIntegrator().step(steps)
        return time.perf_counter() - begin, steps * self.step

    @abstractmethod
    def cost(self) -> Cost:
        """What has been spent since the Context was created."""


class PluginMethod(Method):
    """A KStepIntegrator."""

    def cost(self) -> Cost:
        """From its statistics."""
        values = KStepIntegrator.cast(self.context.getIntegrator()).getStatistics()
        return Cost(
            values.qmCalls,
            values.qmTime,
            sum(values.surrogateTime),
            values.commonTime,
            values.integratorTime,
            tuple(values.surrogateCalls),
        )


class StockMethod(Method):
    """MTSLangevinIntegrator with a PythonForce.

    Args:
        label: Name in tables.
        context: Context at the starting point.
        step: simulated per integrator step, ps.
        spent: filled by the PythonForce. The surrogate's inner steps run inside OpenMM, which does not time them.
    """

    def __init__(self, label: str, context: openmm.Context, step: float, spent: Spent) -> None:
        super().__init__(label, context, step)
        self._spent = spent

    def cost(self) -> Cost:
        """From the PythonForce."""
        return Cost(self._spent.calls, self._spent.qm, self._spent.surrogate, 0.0, 0.0, ())


class StockPlainMethod(Method):
    """MTSLangevinIntegrator that calls the QM level at every inner step; OpenMM does not time what is inside."""

    def cost(self) -> Cost:
        """The QM calls."""
        calls = find_qm_force(self.context.getSystem()).getNumCalls(self.context)
        return Cost(calls, 0.0, 0.0, 0.0, 0.0, ())
