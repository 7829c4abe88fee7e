"""Conservative potentials with geometry-dependent charges: what they have in common, and the networks.

Loaded when asked for: a contract is read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kstep_models.potential.network import KStepPotential, PotentialConfig
    from kstep_models.potential.statistics import PairStatistics
    from kstep_models.potential.topology import Topology, TopologyError

_MODULES = {
    "KStepPotential": "network",
    "PairStatistics": "statistics",
    "PotentialConfig": "network",
    "Topology": "topology",
    "TopologyError": "topology",
}

__all__ = ["KStepPotential", "PairStatistics", "PotentialConfig", "Topology", "TopologyError"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
