"""The checks of ``kstep doctor``: what is installed and what works."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openmmkstep._libraries import found_first

from .check import Check, guarded

if TYPE_CHECKING:
    import openmm

_RUNTIME_PACKAGES = ("openmm-kstep", "openmm", "torch", "numpy", "h5py", "matplotlib")
# Their versions must be those that the plugin is built for.
_LIBRARIES = ("openmm", "torch")
# extra -> its modules, and the commands that need them
_EXTRAS = {
    "training": (("lightning",), "kstep train and kstep export"),
    "pyscf": (("pyscf", "threadpoolctl"), "the QM engine pyscf"),
    "rttddft": (("pyscf", "ase", "distributed", "threadpoolctl"), "kstep spectrum"),
}
_LOAD = "import openmmkstep; print(openmmkstep.pluginLoadFailures)"


def check_installation() -> Iterator[Check]:
    """All checks, in the order in which they depend on each other; none raises, and none ends the process."""
    yield Check("Python", "ok", f"{platform.python_version()} on {platform.platform()}")
    packages = list(_packages())
    yield from packages
    if any(check.status == "failed" for check in packages):
        return
    plugin = guarded("plugin", _plugin)
    yield plugin
    if plugin.status == "failed":
        return
    yield guarded("platforms", _platforms)
    yield guarded("QM engines", _engines)
    yield from _broken_engines()
    yield guarded("libxtb", _xtb)
    yield guarded("torch", _torch)
    yield _compiler()
    for extra, (modules, commands) in _EXTRAS.items():
        yield _extra(extra, modules, commands)


def _packages() -> Iterator[Check]:
    for package in _RUNTIME_PACKAGES:
        found = list(found_first(package)) if package in _LIBRARIES else []
        for library in found:
            if library.fits:
                yield Check(package, "ok", f"{library.version} in {library.path}")
            else:
                detail, remedy = library.problem.rsplit(": ", 1)
                yield Check(package, "failed", detail, remedy)
        if not found:
            yield _installed(package)


def _installed(package: str) -> Check:
    try:
        return Check(package, "ok", importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        if package == "openmm-kstep":
            return Check(package, "warning", "not installed, running from a source tree", "pip install .")
        return Check(package, "failed", "not installed", f"pip install {package}")


def _plugin() -> Check:
    """Whether the plugin loads: first in a process of its own, because symbols that do not fit end the process."""
    remedy = "reinstall with `pip install .` in the environment that holds openmm"
    tried = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, timeout=300, check=False)
    if tried.returncode:
        lines = tried.stderr.strip().splitlines()
        how = signal.Signals(-tried.returncode).name if tried.returncode < 0 else f"exit code {tried.returncode}"
        return Check("plugin", "failed", f"loading it ends with {how}: {lines[-1] if lines else 'no message'}", remedy)
    import openmmkstep

    failures = openmmkstep.pluginLoadFailures
    if failures:
        return Check("plugin", "failed", "; ".join(f"{name}: {error}" for name, error in failures.items()), remedy)
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


def _spring() -> openmm.System:
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
    from openmmkstep.engines.registry import problems
    from openmmkstep.openmmapi.qmmm_force import QMMMForce

    broken = problems()
    return Check("QM engines", "ok", ", ".join(name for name in QMMMForce.getEngines() if name not in broken))


def _broken_engines() -> Iterator[Check]:
    """Engines of installed packages that nobody can use; each is loaded for this, as a run would."""
    from openmmkstep.engines.registry import problems

    for name, problem in problems().items():
        detail, remedy = problem.rsplit(": ", 1)
        yield Check(f"QM engine {name}", "warning", detail, remedy)


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
