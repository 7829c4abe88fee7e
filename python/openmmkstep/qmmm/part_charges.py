"""The charge that a region has in a force field, where it holds parts of residues."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from .molecule_graph import MoleculeGraph


def charge_of_parts(particles: Sequence[int], charges: Sequence[float], graph: MoleculeGraph) -> float:
    """Sum of charges, of which those of parts of residues are whole.

    Force fields give whole residues whole charges as a rule, and a part of one the fraction that its atoms happen to
    have; the QM region has the nearest whole charge there.

    Args:
        particles: Particle indices of the region.
        charges: Their charges in the force field, e.
        graph: The molecular graph of the system.
    """
    residues = graph.residues
    sizes = Counter(residues)
    parts: dict[int, list[float]] = defaultdict(list)
    for particle, charge in zip(particles, charges, strict=True):
        parts[residues[particle]].append(float(charge))
    return sum(
        sum(values) if len(values) == sizes[residue] else float(round(sum(values))) for residue, values in parts.items()
    )
