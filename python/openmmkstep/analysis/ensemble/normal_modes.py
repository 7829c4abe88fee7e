"""Kinetic energies of normal modes.

The modes are those of a Hessian at a minimum, not of a covariance: they have sharp frequencies and no noise of
sampling, and are the same for all runs. A covariance of positions needs a run of many times the slowest period, and
where a methyl group turns or a torsion flips it mixes stiff modes with what moves them around.

That the molecule leaves the minimum costs resolution only, never truth. In the canonical ensemble mass-weighted
velocities are independent of positions and all alike, so that their components along any orthonormal vectors, turned
with the molecule by whatever depends on positions alone, have kT each. In another conformation a "stretch" is mixed
with other motions, and still has kT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPEED_OF_LIGHT = 0.0299792458
"""cm/ps."""


@dataclass(frozen=True)
class NormalModes:
    """Normal modes of some atoms, all 3 n of them.

    Attributes:
        wave_numbers: ascending [3n], cm-1; those of unstable modes are negative.
        vectors: orthonormal, of mass-weighted displacements [3n,n,3].
        positions: of the minimum [n,3], nm.
    """

    wave_numbers: Array
    vectors: Array
    positions: Array


def normal_modes(hessian: Array, masses: Array, positions: Array) -> NormalModes:
    """Diagonalise a mass-weighted Hessian.

    Args:
        hessian: [3n,3n] kJ/mol/nm^2; it is made symmetric.
        masses: [n] amu.
        positions: where it belongs [n,3], nm.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    number = len(masses)
    if hessian.shape != (3 * number, 3 * number) or positions.shape != (number, 3):
        raise ValueError(
            f"a Hessian of shape {hessian.shape} and positions of shape {positions.shape} do not fit {number} masses"
        )
    roots = np.repeat(np.sqrt(masses), 3)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T) / np.outer(roots, roots))
    # kJ/mol/nm^2/amu is 1/ps^2.
    wave_numbers = np.sign(values) * np.sqrt(np.abs(values)) / (2 * math.pi * SPEED_OF_LIGHT)
    return NormalModes(wave_numbers, vectors.T.reshape(-1, number, 3), np.array(positions, dtype=np.float64))


def doubled_kinetic_of_modes(modes: NormalModes, masses: Array, positions: Array, velocities: Array) -> Array:
    """Twice the kinetic energy of each mode, in a frame that turns with the molecule.

    Args:
        modes: normal modes of the atoms.
        masses: [n] amu.
        positions: [T,n,3] nm.
        velocities: at the same times [T,n,3], nm/ps.

    Returns:
        [T,3n] kJ/mol.
    """
    turned = np.einsum("tij,tnj->tni", best_fit_rotations(positions, modes.positions, masses), velocities)
    components = np.einsum("mni,tni->tm", modes.vectors, turned * np.sqrt(masses)[:, None])
    return np.asarray(components**2)


def best_fit_rotations(positions: Array, reference: Array, masses: Array) -> Array:
    """The rotations that bring positions closest to a reference, weighted by masses (Kabsch, Acta Cryst. A 32, 922).

    Args:
        positions: [T,n,3].
        reference: [n,3].
        masses: [n].

    Returns:
        [T,3,3], proper, to be applied to vectors from the left.
    """
    weights = masses / masses.sum()
    centred = positions - np.einsum("n,tni->ti", weights, positions)[:, None]
    target = reference - weights @ reference
    left, _, right = np.linalg.svd(np.einsum("n,ni,tnj->tij", weights, target, centred))
    right = right.copy()
    right[:, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[:, None]
    return np.asarray(left @ right)
