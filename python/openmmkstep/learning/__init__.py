"""Learning between levels: from nothing to a surrogate and a k, with every QM call counted.

Five lines make a script learn::

    learner = Learner(
        lambda surrogate: potential.createMixedSystem(topology, system, atoms, surrogate=surrogate),
        topology, "learning", start=["gfn2-xtb"], temperature=300)
    learned = learner.learn(positions)
    integrator = createIntegrator(learned.system, 300, 1.0, 0.0005, learned.k)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .learner import Learned, Learner
    from .settings import LearningError, LearningSettings, NetworkSettings

__all__ = ["Learned", "Learner", "LearningError", "LearningSettings", "NetworkSettings"]

# Configurations need the settings alone, without torch.
_MODULES = {
    "Learned": "learner",
    "Learner": "learner",
    "LearningError": "settings",
    "LearningSettings": "settings",
    "NetworkSettings": "settings",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
