"""Bonded forces as lists of terms, of which some can be taken out.

Works on OpenMM's XML form of a force, because that is the one interface under which every bonded force looks the same
and nothing (names, periodicity, global parameters, tabulated functions) is lost.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection

import openmm

_CMAP_PARTICLES = ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4")

# type -> element that holds the terms
_CONTAINERS = {
    "HarmonicBondForce": "Bonds",
    "HarmonicAngleForce": "Angles",
    "PeriodicTorsionForce": "Torsions",
    "RBTorsionForce": "Torsions",
    "CMAPTorsionForce": "Torsions",
    "CustomBondForce": "Bonds",
    "CustomAngleForce": "Angles",
    "CustomTorsionForce": "Torsions",
    "CustomCompoundBondForce": "Bonds",
}


def is_bonded(force: openmm.Force) -> bool:
    """Whether BondedForce knows this kind of force."""
    return type(force).__name__ in _CONTAINERS


class BondedForce:
    """A bonded force, term by term.

    Args:
        force: A force for which is_bonded() is true; it is not changed.

    Attributes:
        terms: The particle indices of each term, in the order that the kind of force defines.
    """

    def __init__(self, force: openmm.Force) -> None:
        self._force = force
        self._root = ET.fromstring(openmm.XmlSerializer.serialize(force))
        container = self._root.find(_CONTAINERS[type(force).__name__])
        self._container = container if container is not None else ET.Element("none")
        names = _particle_names(self._container[0]) if len(self._container) else ()
        self.terms = [tuple(int(term.attrib[name]) for name in names) for term in self._container]

    def inside(self, members: Collection[int]) -> list[int]:
        """The terms of which all particles are among some, by their place in the list."""
        inside = set(members)
        return [place for place, particles in enumerate(self.terms) if inside.issuperset(particles)]

    def split(self, places: Collection[int]) -> tuple[openmm.Force | None, openmm.Force | None]:
        """The force without some terms, and with these alone.

        Args:
            places: The terms to take out, by their place in the list.

        Returns:
            (rest, taken), each a new force with everything but the other's terms, or None where it has no terms.
        """
        chosen = set(places)
        if not chosen:
            return (openmm.XmlSerializer.clone(self._force) if self.terms else None), None
        elements = list(self._container)
        rest = [element for place, element in enumerate(elements) if place not in chosen]
        taken = [element for place, element in enumerate(elements) if place in chosen]
        return self._with(rest), self._with(taken)

    def _with(self, elements: list[ET.Element]) -> openmm.Force | None:
        if not elements:
            return None
        everything = list(self._container)
        self._container[:] = elements
        force: openmm.Force = openmm.XmlSerializer.deserialize(ET.tostring(self._root, encoding="unicode"))
        self._container[:] = everything
        return force


def _particle_names(term: ET.Element) -> tuple[str, ...]:
    """The attributes that hold the particles of a term, the same for all terms of a force."""
    if "a1" in term.attrib:
        return _CMAP_PARTICLES
    numbered = [name for name in term.attrib if re.fullmatch(r"p\d+", name)]
    return tuple(sorted(numbered, key=lambda name: int(name[1:])))
