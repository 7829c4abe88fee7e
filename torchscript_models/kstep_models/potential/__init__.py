"""The conservative E(3)-equivariant potential with geometry-dependent charges."""

from kstep_models.potential.network import KStepPotential, PotentialConfig
from kstep_models.potential.statistics import PairStatistics
from kstep_models.potential.topology import Topology, TopologyError

__all__ = ["KStepPotential", "PairStatistics", "PotentialConfig", "Topology", "TopologyError"]
