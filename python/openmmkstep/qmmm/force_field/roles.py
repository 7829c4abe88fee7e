"""What a bonded term describes, judged by the bonds between its particles."""

from __future__ import annotations

from enum import Enum
from itertools import combinations, pairwise

from ..molecule_graph import MoleculeGraph


class Role(Enum):
    """What a term along bonds describes."""

    BOND = "bond"
    SPANNED_ANGLE = "pair across an angle"
    ANGLE = "angle"
    PROPER = "torsion"
    IMPROPER = "improper torsion"
    COUPLED_TORSIONS = "pair of torsions"
    COMPACT = "torsion that follows no bonds, of near neighbours"


def role(particles: tuple[int, ...], graph: MoleculeGraph) -> Role | None:
    """What a term of two, three, four or eight particles describes; None for one that does not run along bonds."""
    if len(particles) == 2:
        return {1: Role.BOND, 2: Role.SPANNED_ANGLE}.get(graph.separation(*particles, limit=2) or 0)
    if len(particles) == 3:
        return Role.ANGLE if _is_chain(particles, graph) else None
    if len(particles) == 4:
        if _is_chain(particles, graph):
            return Role.PROPER
        return Role.IMPROPER if _has_centre(particles, graph) else _compact(particles, graph)
    if len(particles) == 8:
        both = _is_chain(particles[:4], graph) and _is_chain(particles[4:], graph)
        return Role.COUPLED_TORSIONS if both else _compact(particles, graph)
    return None


def coordinate(particles: tuple[int, ...], kind: Role) -> tuple[object, ...]:
    """The internal coordinate of a term: the same for every term that describes the same thing."""
    if kind is Role.ANGLE:
        return ("angle", particles[1], frozenset(particles))
    if kind is Role.PROPER:
        return ("torsion", min(particles, particles[::-1]))
    return (kind.value if len(particles) > 2 else "pair", frozenset(particles))


def _is_chain(particles: tuple[int, ...], graph: MoleculeGraph) -> bool:
    return all(j in graph.neighbours(i) for i, j in pairwise(particles))


def _has_centre(particles: tuple[int, ...], graph: MoleculeGraph) -> bool:
    return any(set(particles) - {centre} <= set(graph.neighbours(centre)) for centre in particles)


def _compact(particles: tuple[int, ...], graph: MoleculeGraph) -> Role | None:
    near = all(graph.separation(i, j) is not None for i, j in combinations(set(particles), 2))
    return Role.COMPACT if near else None
