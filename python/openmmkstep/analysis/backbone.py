"""Backbone dihedrals of peptides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from openmm import app


@dataclass(frozen=True)
class BackboneResidue:
    """A residue with both backbone dihedrals.

    Attributes:
        name: such as "ALA 2".
        phi: atom indices C(i-1), N, CA, C.
        psi: atom indices N, CA, C, N(i+1).
    """

    name: str
    phi: tuple[int, int, int, int]
    psi: tuple[int, int, int, int]


def backbone_residues(topology: app.Topology) -> list[BackboneResidue]:
    """Residues with N, CA and C that are bonded to a C before and an N after."""
    neighbours: dict[int, list[app.topology.Atom]] = {}
    for first, second in topology.bonds():
        neighbours.setdefault(first.index, []).append(second)
        neighbours.setdefault(second.index, []).append(first)
    found = []
    for residue in topology.residues():
        atoms = {atom.name: atom for atom in residue.atoms()}
        if not {"N", "CA", "C"} <= atoms.keys():
            continue
        n, ca, c = (atoms[name].index for name in ("N", "CA", "C"))
        before = [a.index for a in neighbours.get(n, []) if a.name == "C" and a.residue != residue]
        after = [a.index for a in neighbours.get(c, []) if a.name == "N" and a.residue != residue]
        if before and after:
            name = f"{residue.name} {residue.id}"
            found.append(BackboneResidue(name, (before[0], n, ca, c), (n, ca, c, after[0])))
    return found


def dihedrals(positions: NDArray[np.floating], atoms: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """Dihedral angle in degrees, from -180 to 180 (IUPAC sign).

    Args:
        positions: [T,N,3].
        atoms: the four atoms.

    Returns:
        [T].
    """
    a, b, c, d = (np.asarray(positions[:, index], dtype=np.float64) for index in atoms)
    axis = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
    first = (a - b) - np.sum((a - b) * axis, axis=1, keepdims=True) * axis
    second = (d - c) - np.sum((d - c) * axis, axis=1, keepdims=True) * axis
    x = np.sum(first * second, axis=1)
    y = np.sum(np.cross(axis, first) * second, axis=1)
    return np.degrees(np.arctan2(y, x))
