"""Runs the comparison: all methods from one starting point, in interleaved segments."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.provenance import machine_info
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.workflows.config.bench import BenchCase, BenchConfig
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import build_mixed_system
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.platforms import find_platform

from .force_costs import force_costs
from .methods import Cost, Method, PluginMethod, StockMethod, StockPlainMethod
from .stock_mts import plain_integrator, stock_context

SCHEMA = "kstep-bench"
VERSION = 1
PARTS = ("qm", "surrogate", "common", "integrator")


def run_benchmark(config: BenchConfig, log: Callable[[str], None]) -> dict[str, Any]:
    """Measure all cases.

    Args:
        config: what to measure.
        log: called with what is being done.

    Returns:
        JSON values; see the keys in the code below. Times are wall seconds per simulated ps; those of "forces" are of
        one call.
    """
    cases = {name: _Case(config, case, name, log).measure() for name, case in config.cases.items()}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "k": config.k,
        "inner_step_fs": 1000 * config.inner_step,
        "surrogate_period": config.surrogate.period,
        "base_level": config.surrogate.has_base_level,
        "repeats": config.repeats,
        "cases": cases,
        "machine": machine_info(),
    }


class _Case:
    def __init__(self, config: BenchConfig, case: BenchCase, name: str, log: Callable[[str], None]) -> None:
        self._config = config
        self._case = case
        self._name = name
        self._log = log
        self._platform, self._properties = find_platform(case.platform)

    def measure(self) -> dict[str, Any]:
        config = self._config
        self._log(f"{self._name}: preparing")
        molecules = SystemBuilder(self._case.system).build()
        methods = self._methods(molecules)
        start = equilibrate(molecules, config.temperature, self._case.equilibration, config.seed, self._case.platform)
        warm_up = config.k * config.inner_step
        for method in methods:
            start.apply_to(method.context)
            method.run(warm_up)
        before = [method.cost() for method in methods]
        seconds: list[list[float]] = [[] for _ in methods]
        simulated = [0.0 for _ in methods]
        for repeat in range(config.repeats):
            self._log(f"{self._name}: repeat {repeat + 1} of {config.repeats}")
            # Each repeat begins with another method, so that what goes on elsewhere does not favour one.
            for index in np.roll(np.arange(len(methods)), -repeat):
                wall, time = methods[index].run(config.segment)
                seconds[index].append(wall / time)
                simulated[index] += time
        results = {
            method.label: _result(seconds[i], seconds[0], before[i], method.cost(), simulated[i])
            for i, method in enumerate(methods)
        }
        kstep = results["kstep"]["speed_up"]["median"]
        return {
            "particles": molecules.system.getNumParticles(),
            "method": self._case.qm.method,
            "embedding": self._case.qm.embedding,
            "nonbonded_period": self._case.nonbonded_period,
            "reciprocal_period": self._case.reciprocal_period,
            "platform": self._platform.getName(),
            "compiled_surrogate": _is_compiled(methods),
            "reference": methods[0].label,
            "methods": results,
            "forces": self._force_costs(methods, start),
            "efficiency": kstep / config.k,
        }

    def _force_costs(self, methods: list[Method], start: PhaseSpacePoint) -> list[dict[str, Any]]:
        mixed = next(method.context.getSystem() for method in methods if method.label == "kstep")
        levels = self._config.levels(self._case)
        return force_costs(mixed, levels, start, self._platform, self._properties)

    def _methods(self, molecules: MolecularSystem) -> list[Method]:
        config, case = self._config, self._case
        plain = build_mixed_system(molecules, case.qm).system
        methods: list[Method] = []
        for step in config.plain_steps:
            context = self._context(plain, KStepIntegrator(step, 1))
            methods.append(PluginMethod(f"plain {1000 * step:g} fs", context, step))
        levels = config.levels(case)
        split = (case.nonbonded_period > 1, levels.splits_reciprocal)
        if any(split):
            divided = build_mixed_system(molecules, case.qm, None, *split).system
            stock = plain_integrator(levels, config.temperature, config.friction)
            stock.setRandomNumberSeed(config.seed)
            context = openmm.Context(divided, stock, self._platform, self._properties)
            methods.append(
                StockPlainMethod(f"plain {1000 * levels.inner_step:g} fs, MM split", context, levels.outer_step)
            )
        mixed = build_mixed_system(molecules, case.qm, config.surrogate, *split)
        integrator = integrator_for(mixed.system, levels, config.temperature, config.friction)
        outer_step = levels.outer_step
        methods.append(PluginMethod("kstep", self._context(mixed.system, integrator), outer_step))
        if config.compare_stock:
            flat = config.surrogate.model_copy(update={"period": 1, "base_level": None})
            flat_mixed = build_mixed_system(molecules, case.qm, flat).system
            arguments = (config.k, config.inner_step, config.temperature, config.friction)
            context, spent = stock_context(flat_mixed, *arguments, self._platform, self._properties)
            methods.append(StockMethod("stock MTS", context, outer_step, spent))
        return methods

    def _context(self, system: openmm.System, integrator: KStepIntegrator) -> openmm.Context:
        integrator.setRandomNumberSeed(self._config.seed)
        return openmm.Context(system, integrator, self._platform, self._properties)


def _is_compiled(methods: list[Method]) -> bool:
    """Whether any method evaluates a compiled surrogate; the archive is interpreted where compiling failed."""
    forces = [force for method in methods for force in method.context.getSystem().getForces()]
    surrogates = [force for force in forces if force.getForceGroup() == force_groups.SURROGATE]
    return any(TorchScriptForce.cast(force).getCompiledPackage() for force in surrogates)


def _result(
    seconds: list[float], reference: list[float], before: Cost, after: Cost, simulated: float
) -> dict[str, Any]:
    # Ratios within a repeat, where both methods met about the same machine.
    ratios = [plain / own for plain, own in zip(reference, seconds, strict=True)]
    parts = {name: (getattr(after, name) - getattr(before, name)) / simulated for name in PARTS}
    parts["rest"] = sum(seconds) / len(seconds) - sum(parts.values())
    calls = [new - old for new, old in zip(after.surrogate_calls, before.surrogate_calls, strict=False)]
    return {
        "seconds_per_ps": {"median": statistics.median(seconds), "all": seconds},
        "speed_up": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "parts": parts,
        "qm_calls_per_ps": (after.qm_calls - before.qm_calls) / simulated,
        "surrogate_calls_per_ps": [count / simulated for count in calls],
        "ns_per_day": 86.4 / statistics.median(seconds),
    }
