"""Runs the comparison: all methods from one starting point, in interleaved segments."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.provenance import machineInfo
from openmmkstep.qmmm import force_groups
from openmmkstep.qmmm.integrator import createLadderIntegrator
from openmmkstep.workflows.config.bench import BenchCase, BenchConfig
from openmmkstep.workflows.setup.equilibration import Equilibrated, equilibrate
from openmmkstep.workflows.setup.mixed_system import createMixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.platforms import findPlatform

from .methods import Cost, Method, PluginMethod, StockMethod
from .stock_mts import stockContext

SCHEMA = "kstep-bench"
VERSION = 1


def runBenchmark(config: BenchConfig, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure all cases.

    Args:
        config: what to measure.
        folder: relative paths are relative to it.
        tell: called with what is being done.

    Returns:
        JSON values; see the keys in the code below. Times are wall seconds per simulated ps.
    """
    cases = {name: _Case(config, case, folder, name, tell).measure() for name, case in config.cases.items()}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "k": config.k,
        "innerStep_fs": 1000 * config.innerStep,
        "surrogatePeriod": config.surrogate.period,
        "rung": config.surrogate.hasRung,
        "repeats": config.repeats,
        "cases": cases,
        "machine": machineInfo(),
    }


class _Case:
    def __init__(
        self, config: BenchConfig, case: BenchCase, folder: Path, name: str, tell: Callable[[str], None]
    ) -> None:
        self._config = config
        self._case = case
        self._folder = folder
        self._name = name
        self._tell = tell
        self._platform, self._properties = findPlatform(case.platform)

    def measure(self) -> dict[str, Any]:
        config = self._config
        self._tell(f"{self._name}: preparing")
        molecules = SystemBuilder(self._case.system, self._folder).build()
        methods = self._methods(molecules)
        start = equilibrate(molecules, config.temperature, self._case.equilibration, config.seed, self._case.platform)
        warmUp = config.k * config.innerStep
        for method in methods:
            _place(method.context, start)
            method.run(warmUp)
        before = [method.cost() for method in methods]
        seconds: list[list[float]] = [[] for _ in methods]
        simulated = [0.0 for _ in methods]
        for repeat in range(config.repeats):
            self._tell(f"{self._name}: repeat {repeat + 1} of {config.repeats}")
            # Each repeat begins with another method, so that what goes on elsewhere does not favour one.
            for index in np.roll(np.arange(len(methods)), -repeat):
                wall, time = methods[index].run(config.segment)
                seconds[index].append(wall / time)
                simulated[index] += time
        results = {
            method.label: _result(seconds[i], seconds[0], before[i], method.cost(), simulated[i])
            for i, method in enumerate(methods)
        }
        kstep = results["kstep"]["speedUp"]["median"]
        return {
            "particles": molecules.system.getNumParticles(),
            "method": self._case.qm.method,
            "embedding": self._case.qm.embedding,
            "nonbondedPeriod": self._case.nonbondedPeriod,
            "platform": self._platform.getName(),
            "compiledSurrogate": _isCompiled(methods),
            "reference": methods[0].label,
            "methods": results,
            "efficiency": kstep / config.k,
        }

    def _methods(self, molecules: MolecularSystem) -> list[Method]:
        config, case = self._config, self._case
        plain = createMixedSystem(molecules, case.qm).system
        methods: list[Method] = []
        for step in config.plainSteps:
            context = self._context(plain, KStepIntegrator(step, 1))
            methods.append(PluginMethod(f"plain {1000 * step:g} fs", context, step))
        split = case.nonbondedPeriod > 1
        ladder = createMixedSystem(molecules, case.qm, config.surrogate, self._folder, splitNonbonded=split)
        integrator = createLadderIntegrator(
            ladder.system,
            config.innerStep,
            config.k,
            config.temperature,
            config.friction,
            config.surrogate.period,
            case.nonbondedPeriod,
            ladder.region.particles,
        )
        macroStep = config.k * config.innerStep
        methods.append(PluginMethod("kstep", self._context(ladder.system, integrator), macroStep))
        if config.compareStock:
            flat = config.surrogate.model_copy(update={"period": 1, "forceFieldRung": False, "rung": None})
            mixed = createMixedSystem(molecules, case.qm, flat, self._folder).system
            arguments = (config.k, config.innerStep, config.temperature, config.friction)
            context, spent = stockContext(mixed, *arguments, self._platform, self._properties)
            methods.append(StockMethod("stock MTS", context, macroStep, spent))
        return methods

    def _context(self, system: openmm.System, integrator: KStepIntegrator) -> openmm.Context:
        integrator.setRandomNumberSeed(self._config.seed)
        return openmm.Context(system, integrator, self._platform, self._properties)


def _isCompiled(methods: list[Method]) -> bool:
    """Whether any method evaluates a compiled surrogate; the archive is interpreted where compiling failed."""
    forces = [force for method in methods for force in method.context.getSystem().getForces()]
    surrogates = [force for force in forces if force.getForceGroup() == force_groups.SURROGATE]
    return any(TorchScriptForce.cast(force).getCompiledPackage() for force in surrogates)


def _place(context: openmm.Context, start: Equilibrated) -> None:
    context.setPositions(start.positions)
    context.setVelocities(start.velocities)


def _result(
    seconds: list[float], reference: list[float], before: Cost, after: Cost, simulated: float
) -> dict[str, Any]:
    # Ratios within a repeat, where both methods met about the same machine.
    ratios = [plain / own for plain, own in zip(reference, seconds, strict=True)]
    parts = {name: (getattr(after, name) - getattr(before, name)) / simulated for name in ("qm", "surrogate", "common")}
    parts["rest"] = sum(seconds) / len(seconds) - sum(parts.values())
    calls = [new - old for new, old in zip(after.surrogateCalls, before.surrogateCalls, strict=False)]
    return {
        "secondsPerPs": {"median": statistics.median(seconds), "all": seconds},
        "speedUp": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "parts": parts,
        "qmCallsPerPs": (after.qmCalls - before.qmCalls) / simulated,
        "surrogateCallsPerPs": [count / simulated for count in calls],
        "nsPerDay": 86.4 / statistics.median(seconds),
    }
