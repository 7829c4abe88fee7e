"""The checks of ``kstep doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]

_RUNTIME_PACKAGES = ("openmm-kstep", "openmm", "torch", "numpy", "h5py", "matplotlib")
_TESTED = {"openmm": "8.6.1", "torch": "2.13.0"}
# extra -> its modules, and the commands that need them
_EXTRAS = {
    "training": (("lightning",), "kstep train and kstep export"),
    "rttddft": (("pyscf", "ase", "distributed", "threadpoolctl"), "kstep spectrum"),
}


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: whether it is as it should be; only "failed" keeps the main job from running.
        detail: what was found.
        remedy: what to do, where something is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def run_checks() -> Iterator[Check]:
    """All checks, in the order in which they depend on each other; none raises."""
    yield Check("Python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield from _packages()
    plugin = _guarded("plugin", _plugin)
    yield plugin
    if plugin.status == "failed":
        return
    yield _guarded("platforms", _platforms)
    yield _guarded("QM engines", _engines)
    yield _guarded("libxtb", _xtb)
    yield _guarded("torch", _torch)
    yield _compiler()
    for extra, (modules, commands) in _EXTRAS.items():
        yield _extra(extra, modules, commands)


def _packages() -> Iterator[Check]:
    for package in _RUNTIME_PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            source = package == "openmm-kstep"
            yield Check(
                package,
                "warning" if source else "failed",
                "not installed" + (", running from a source tree" if source else ""),
                "pip install ." if source else f"pip install {package}",
            )
            continue
        wanted = _TESTED.get(package)
        if wanted is not None and version.split("+")[0] != wanted:
            yield Check(
                package,
                "failed",
                f"{version}, but the plugin is built for {wanted}",
                f"pip install {package}=={wanted}, or build openmm-kstep anew against the version you have",
            )
        else:
            yield Check(package, "ok", version)


def _plugin() -> Check:
    import openmmkstep

    failures = openmmkstep.pluginLoadFailures
    if failures:
        detail = "; ".join(f"{name}: {error}" for name, error in failures.items())
        return Check("plugin", "failed", detail, "reinstall with `pip install .` in the environment that holds openmm")
    return Check("plugin", "ok", "libraries loaded")


def _platforms() -> Check:
    """On which of OpenMM's platforms the integrator runs: two steps of a particle on a spring."""
    import openmm

    from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator

    working, failing = [], []
    for index in range(openmm.Platform.getNumPlatforms()):
        candidate = openmm.Platform.getPlatform(index)
        try:
            integrator = KStepIntegrator(0.001, 1)
            context = openmm.Context(_spring(), integrator, candidate)
            context.setPositions([[0, 0, 0], [0.11, 0, 0]])
            integrator.step(2)
            working.append(candidate.getName())
        except openmm.OpenMMException as error:
            failing.append(f"{candidate.getName()} ({error})")
    if not working:
        return Check("platforms", "failed", "; ".join(failing), "reinstall with `pip install .`")
    detail = "k-step runs on " + ", ".join(working)
    if failing:
        return Check("platforms", "warning", f"{detail}; not on {'; '.join(failing)}", "use one of those that work")
    return Check("platforms", "ok", detail)


def _spring() -> openmm.System:  # type: ignore[name-defined]  # noqa: F821
    import openmm

    system = openmm.System()
    system.addParticle(12.0)
    system.addParticle(12.0)
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1000.0)
    spring.setForceGroup(2)
    system.addForce(spring)
    return system


def _engines() -> Check:
    from openmmkstep.openmmapi.qmmm_force import QMMMForce

    return Check("QM engines", "ok", ", ".join(QMMMForce.getEngines()))


def _xtb() -> Check:
    """One GFN2 calculation of water: finds libxtb, loads it, and tells what a call costs."""
    import openmm

    from openmmkstep.openmmapi.qmmm_force import QMMMForce

    system = openmm.System()
    for mass in (16.0, 1.0, 1.0):
        system.addParticle(mass)
    system.addForce(QMMMForce([0, 1, 2], [8, 1, 1], "gfn2-xtb"))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0, 0, 0], [0.0958, 0, 0], [-0.024, 0.0927, 0]])
    context.getState(energy=True)
    context.setPositions([[0, 0, 0], [0.0959, 0, 0], [-0.024, 0.0927, 0]])
    begin = time.perf_counter()
    energy = context.getState(energy=True).getPotentialEnergy()._value
    milliseconds = 1000 * (time.perf_counter() - begin)
    return Check("libxtb", "ok", f"GFN2-xTB energy of water {energy:.1f} kJ/mol, {milliseconds:.1f} ms a call")


def _torch() -> Check:
    import torch

    cuda = "with CUDA" if torch.cuda.is_available() else "CPU only"
    return Check("torch", "ok", f"{torch.get_num_threads()} threads, {cuda}; surrogates use one thread unless told")


def _compiler() -> Check:
    from kstep_models.potential.compilation import find_compiler

    compiler = find_compiler()
    if compiler is None:
        return Check("compiler", "warning", "none: surrogates are interpreted, at twice the cost", "install g++")
    return Check("compiler", "ok", f"{compiler}, for compiled surrogates")


def _extra(extra: str, modules: tuple[str, ...], commands: str) -> Check:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        remedy = f"pip install '.[{extra}]' for {commands}"
        return Check(f"{extra} extra", "warning", f"{', '.join(missing)} not installed", remedy)
    return Check(f"{extra} extra", "ok", f"{commands} available")


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        # Whatever goes wrong is a finding here, not a crash.
        return Check(name, "failed", f"{type(error).__name__}: {error}", "see the message")
