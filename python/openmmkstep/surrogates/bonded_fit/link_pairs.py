"""Pair terms of a bonded fit that end at link atoms, which are no particles."""

from __future__ import annotations

from collections.abc import Sequence

import openmm

from openmmkstep.openmmapi.region import LinkAtom


class LinkPairs:
    """Polynomials of the distance from an atom to a link atom, or between two, as forces on the particles behind them.

    Args:
        particles: Particle index of each atom of the region.
        links: Its link atoms, which are numbered after the atoms.
        order: Order of the polynomials in r - r0.
    """

    def __init__(self, particles: Sequence[int], links: Sequence[LinkAtom], order: int) -> None:
        self._particles = list(particles)
        self._links = list(links)
        self._order = order
        self._forces: dict[str, openmm.CustomCompoundBondForce] = {}

    @property
    def forces(self) -> dict[str, openmm.Force]:
        """The forces that have terms, by name."""
        return dict(self._forces)

    def add(self, i: int, j: int, parameters: Sequence[float]) -> None:
        """Add the term of two sites of which one at least is a link atom.

        Args:
            i: A site.
            j: Another one.
            parameters: r0 (nm) and the coefficients of the powers 1, 2, .. of r - r0, kJ/mol/nm^n.
        """
        atom, link = sorted((i, j))
        if atom < len(self._particles):
            force = self._force("BaseLinkPairs", 3, "pointdistance(x1,y1,z1, {l23})")
            force.addBond([self._particles[atom], *self._ends(link)], [self._ratio(link), *parameters])
        else:
            force = self._force("BasePairsOfLinks", 4, "pointdistance({l12}, {m34})")
            ends = [*self._ends(atom), *self._ends(link)]
            force.addBond(ends, [self._ratio(atom), self._ratio(link), *parameters])

    def _ends(self, site: int) -> tuple[int, int]:
        link = self._links[site - len(self._particles)]
        return link.qmParticle, link.mmParticle

    def _ratio(self, site: int) -> float:
        return self._links[site - len(self._particles)].ratio

    def _force(self, name: str, particles: int, distance: str) -> openmm.CustomCompoundBondForce:
        if name not in self._forces:
            places = {"l23": _on_bond(2, 3, "g"), "l12": _on_bond(1, 2, "g"), "m34": _on_bond(3, 4, "h")}
            terms = " + ".join(f"a{n}*u^{n}" for n in range(1, self._order + 1))
            force = openmm.CustomCompoundBondForce(particles, f"{terms}; u = {distance.format(**places)} - x0")
            ratios = ("g",) if particles == 3 else ("g", "h")
            for parameter in (*ratios, "x0", *(f"a{n}" for n in range(1, self._order + 1))):
                force.addPerBondParameter(parameter)
            self._forces[name] = force
        return self._forces[name]


def _on_bond(first: int, second: int, ratio: str) -> str:
    """Coordinates of the point at x_first + ratio (x_second - x_first)."""
    return ", ".join(f"{axis}{first} + {ratio}*({axis}{second} - {axis}{first})" for axis in "xyz")
