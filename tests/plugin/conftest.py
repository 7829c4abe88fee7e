"""Fixtures of tests that run the compiled plugin: the platforms of this machine, and data beside the project."""

from __future__ import annotations

import openmm
import pytest

import openmmkstep  # noqa: F401  (loads the plugin)
from tests.support.qmmm.fixtures import chorismate_mutase
from tests.support.signals import usual_handler

__all__ = ["chorismate_mutase", "usual_handler"]


def _platforms() -> list[str]:
    """Platforms with double precision state that can run the integrator here."""
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    return [name for name in ("Reference", "CPU") if name in names]


@pytest.fixture(params=_platforms())
def platform(request: pytest.FixtureRequest) -> openmm.Platform:
    """Every platform with double precision state, one after the other; the CPU platform with one thread."""
    chosen = openmm.Platform.getPlatformByName(request.param)
    if request.param == "CPU":
        chosen.setPropertyDefaultValue("Threads", "1")
    return chosen


@pytest.fixture
def reference() -> openmm.Platform:
    """The Reference platform, double precision throughout."""
    return openmm.Platform.getPlatformByName("Reference")
