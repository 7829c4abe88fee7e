"""Speed-up over plain QM dynamics, measured on short alternating segments from the end of a run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import openmm

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics
from openmmkstep.provenance import machine_info
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.setup.molecular_system import MolecularSystem

_WARM_UP_STEPS = 2


@dataclass(frozen=True)
class MethodSpeed:
    """Cost of one method.

    Attributes:
        seconds_per_ps: wall seconds per simulated ps, median of the segments.
        segments: the same for each segment.
        qm_calls_per_ps: QM calls per simulated ps.
        parts: wall seconds per simulated ps spent in QM, surrogate, common forces and the integrator.
    """

    seconds_per_ps: float
    segments: list[float]
    qm_calls_per_ps: float
    parts: dict[str, float]


def measure_speed(
    plan: RunPlan,
    molecules: MolecularSystem,
    start: PhaseSpacePoint,
    log: Callable[[str], None],
    checkpoint: bytes | None = None,
) -> dict[str, Any]:
    """Time plain QM dynamics against k-step dynamics.

    Both go through the plugin, on the same platform with the same threads and thermostat; segments alternate, so that
    what else the machine does hits both.

    Args:
        plan: The whole run.
        molecules: force-field system.
        start: where both begin.
        log: called with what is being done.
        checkpoint: of the production's Context, where there is one: k-step dynamics begins with the densities that the
            QM level had found there, as production went on with them. A few steps of plain dynamics find their own.

    Returns:
        JSON values: plain, kstep (each a MethodSpeed), speed_up, efficiency (speed-up per k), plain_step, machine.
    """
    levels, speed = plan.dynamics.levels, plan.speed
    log(f"measuring the speed-up over plain QM dynamics at {1000 * speed.plain_step:g} fs")
    integrator = plan.dynamics.plain_integrator(speed.plain_step, plan.seed)
    plain = openmm.Context(plan.system.mix_plain(molecules).system, integrator, *plan.system.find_platform())
    kstep = plan.simulation(molecules, plan.system.mix(molecules), plan.seed).context
    contexts = {"plain": (plain, speed.plain_step), "kstep": (kstep, levels.outer_step)}
    seconds: dict[str, list[float]] = {name: [] for name in contexts}
    if checkpoint is not None:
        # One that cannot be loaded here, as of another version, saves iterations and changes no result.
        with suppress(openmm.OpenMMException):
            kstep.loadCheckpoint(checkpoint)
    for context, _ in contexts.values():
        start.apply_to(context)
        context.getIntegrator().step(_WARM_UP_STEPS)
    before = {name: _statistics(context) for name, (context, _) in contexts.items()}
    simulated = {name: max(1, round(speed.time / step)) * step for name, (_, step) in contexts.items()}
    for _ in range(speed.segments):
        for name, (context, step) in contexts.items():
            begin = time.perf_counter()
            context.getIntegrator().step(round(simulated[name] / step))
            seconds[name].append((time.perf_counter() - begin) / simulated[name])
    results = {
        name: _method_speed(seconds[name], before[name], _statistics(context), simulated[name] * speed.segments)
        for name, (context, _) in contexts.items()
    }
    speed_up = results["plain"].seconds_per_ps / results["kstep"].seconds_per_ps
    return {
        **{name: asdict(result) for name, result in results.items()},
        "speed_up": speed_up,
        "efficiency": speed_up / levels.k,
        "plain_step": speed.plain_step,
        "machine": machine_info(),
    }


def _statistics(context: openmm.Context) -> KStepStatistics:
    return KStepIntegrator.cast(context.getIntegrator()).getStatistics()


def _method_speed(
    segments: list[float], before: KStepStatistics, after: KStepStatistics, simulated: float
) -> MethodSpeed:
    parts = {
        "qm": after.qmTime - before.qmTime,
        "surrogate": sum(after.surrogateTime) - sum(before.surrogateTime),
        "common": after.commonTime - before.commonTime,
        "integrator": after.integratorTime - before.integratorTime,
    }
    return MethodSpeed(
        statistics.median(segments),
        segments,
        (after.qmCalls - before.qmCalls) / simulated,
        {name: seconds / simulated for name, seconds in parts.items()},
    )
