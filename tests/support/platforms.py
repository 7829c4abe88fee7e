"""The platforms and precisions that tests run on, and what each can promise: the one list of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import openmm
import pytest

import openmmkstep  # noqa: F401  (loads the plugin)

INTEGRATOR_KERNEL = "KStepPropagation"
EVERYWHERE = ("Reference", "CPU")
"""Platforms that every build has: if they do not answer, tests must fail and not vanish."""


@dataclass(frozen=True)
class Setting:
    """A platform, with a precision where it has a choice of several."""

    platform: str
    precision: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.platform, self.precision)))

    @property
    def properties(self) -> dict[str, str]:
        """Properties of a Context. One thread: other tests run beside this one."""
        threads = {"Threads": "1"} if self.platform == "CPU" else {}
        return {**threads, **({"Precision": self.precision} if self.precision else {})}

    @contextmanager
    def chosen(self) -> Iterator[openmm.Platform]:
        """The platform, whose new Contexts have these properties."""
        platform = openmm.Platform.getPlatformByName(self.platform)
        before = {name: platform.getPropertyDefaultValue(name) for name in self.properties}
        try:
            for name, value in self.properties.items():
                platform.setPropertyDefaultValue(name, value)
            yield platform
        finally:
            for name, value in before.items():
                platform.setPropertyDefaultValue(name, value)

    def answers(self) -> bool:
        """Whether there is a device for it, which can calculate in this precision."""
        system = openmm.System()
        system.addParticle(1.0)
        platform = openmm.Platform.getPlatformByName(self.platform)
        try:
            openmm.Context(system, openmm.VerletIntegrator(0.001), platform, self.properties)
        except openmm.OpenMMException:
            return False
        return True


@cache
def force_settings() -> tuple[Setting, ...]:
    """Where forces run: they need no kernel of the plugin, so on every platform that answers."""
    found = []
    for index in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(index)
        precisions = ("single", "mixed", "double") if "Precision" in platform.getPropertyNames() else ("",)
        settings = [Setting(platform.getName(), precision) for precision in precisions]
        found += [setting for setting in settings if setting.platform in EVERYWHERE or setting.answers()]
    missing = set(EVERYWHERE) - {setting.platform for setting in found}
    assert not missing, f"OpenMM lacks the platforms {missing}"
    return tuple(found)


@cache
def integrator_settings() -> tuple[Setting, ...]:
    """Where KStepIntegrator runs: those of them for which the plugin has a kernel."""
    return tuple(
        setting
        for setting in force_settings()
        if setting.platform in EVERYWHERE
        or openmm.Platform.getPlatformByName(setting.platform).supportsKernels([INTEGRATOR_KERNEL])
    )


@dataclass(frozen=True)
class Accuracy:
    """Relative errors, for positions near the origin, that come with a platform's digits.

    Attributes:
        energy: Of energies.
        forces: Of forces in general.
        state: Of positions and velocities, and of forces along bonds and to places.
    """

    energy: float
    forces: float
    state: float = 1e-15


def accuracy(platform: openmm.Platform) -> Accuracy:
    """What a platform's digits allow.

    Reference differs by the order of sums at most. CPU keeps state and energies in double precision and hands over in
    single precision the forces that are its own (between all pairs), and those of plugins. On platforms with a choice:
    what the project asks of double and of single precision; mixed keeps positions in double, but adds energies up in
    single precision.
    """
    if platform.getName() == "Reference":
        return Accuracy(1e-12, 1e-12)
    if platform.getName() == "CPU":
        return Accuracy(1e-12, 1e-6)
    if platform.getPropertyDefaultValue("Precision") == "double":
        return Accuracy(1e-10, 1e-10)
    return Accuracy(1e-5, 1e-5, 1e-7)


@pytest.fixture(params=integrator_settings(), ids=str)
def platform(request: pytest.FixtureRequest) -> Iterator[openmm.Platform]:
    """Every platform and precision that runs KStepIntegrator, one after the other."""
    with request.param.chosen() as chosen:
        yield chosen


@pytest.fixture(params=force_settings(), ids=str)
def force_platform(request: pytest.FixtureRequest) -> Iterator[openmm.Platform]:
    """Every platform and precision that runs forces, one after the other."""
    with request.param.chosen() as chosen:
        yield chosen


@pytest.fixture
def reference() -> openmm.Platform:
    """The Reference platform, double precision throughout."""
    return openmm.Platform.getPlatformByName("Reference")
