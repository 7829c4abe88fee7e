"""Bonded terms of a force: those wholly inside a region, and all others.

Works on OpenMM's XML form of a force, because that is the one interface under which every bonded force looks the same
and nothing (names, periodicity, global parameters, tabulated functions) is lost.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection
from copy import deepcopy

import openmm

_CMAP_PARTICLES = ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4")

# type -> (element that holds the terms, attributes that name particles; None: every p1, p2, ...)
_BONDED: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "HarmonicBondForce": ("Bonds", None),
    "HarmonicAngleForce": ("Angles", None),
    "PeriodicTorsionForce": ("Torsions", None),
    "RBTorsionForce": ("Torsions", None),
    "CMAPTorsionForce": ("Torsions", _CMAP_PARTICLES),
    "CustomBondForce": ("Bonds", None),
    "CustomAngleForce": ("Angles", None),
    "CustomTorsionForce": ("Torsions", None),
    "CustomCompoundBondForce": ("Bonds", None),
}


def is_bonded(force: openmm.Force) -> bool:
    """Whether split_terms() knows this kind of force."""
    return type(force).__name__ in _BONDED


def split_terms(force: openmm.Force, region: Collection[int]) -> tuple[openmm.Force | None, openmm.Force | None]:
    """The terms of a bonded force outside the region or across its border, and those wholly inside.

    Args:
        force: one for which is_bonded() is true; it is not changed.
        region: particle indices.

    Returns:
        (outside, inside), each a new force with everything but the other's terms, or None where it has no terms.
    """
    container, attributes = _BONDED[type(force).__name__]
    outside = ET.fromstring(openmm.XmlSerializer.serialize(force))
    inside = deepcopy(outside)
    members = set(region)
    for root, keep_inside in ((outside, False), (inside, True)):
        terms = root.find(container)
        if terms is None:
            continue
        for term in list(terms):
            if (_particles(term, attributes) <= members) != keep_inside:
                terms.remove(term)
    return _deserialized(outside, container), _deserialized(inside, container)


def _particles(term: ET.Element, attributes: tuple[str, ...] | None) -> set[int]:
    if attributes is not None:
        return {int(term.attrib[name]) for name in attributes}
    return {int(value) for name, value in term.attrib.items() if re.fullmatch(r"p\d+", name)}


def _deserialized(root: ET.Element, container: str) -> openmm.Force | None:
    terms = root.find(container)
    if terms is None or len(terms) == 0:
        return None
    force: openmm.Force = openmm.XmlSerializer.deserialize(ET.tostring(root, encoding="unicode"))
    return force
