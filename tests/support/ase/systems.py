"""Small systems of ASE, and forces by differences."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from numpy.typing import NDArray

from tests.support.finite_differences import derivative

OH, ANGLE = 0.9572, np.deg2rad(104.52)
"""Of TIP3P."""


def ethanol() -> Atoms:
    """Off its minimum and without symmetry."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    return atoms


def waters(places: tuple[tuple[float, float, float], ...], box: float = 20.0) -> Atoms:
    """Molecules of water, turned differently, in the middle of a box that is not periodic."""
    one = Atoms("OH2", [[0, 0, 0], [OH, 0, 0], [OH * np.cos(ANGLE), OH * np.sin(ANGLE), 0]])
    everything = Atoms()
    for index, place in enumerate(places):
        copy = one.copy()
        copy.rotate(40 * index + 10, (1, 2, 3))
        copy.translate(place)
        everything += copy
    everything.rattle(0.02, seed=3)
    everything.set_cell([box] * 3)
    everything.center()
    return everything


FOUR_PLACES = ((0.0, 0.0, 0.0), (2.9, 0.3, 0.2), (-0.5, 2.8, 0.4), (0.3, -0.6, -2.9))


def heat(atoms: Atoms, temperature: float, seed: int) -> None:
    """Give the atoms velocities of a temperature in K; along constraints only."""
    noise = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    atoms.set_momenta(noise * np.sqrt(units.kB * temperature * atoms.get_masses())[:, None])


def forces_by_differences(atoms: Atoms, step: float = 1e-4) -> NDArray[np.float64]:
    """Central differences of second order of the energy [n,3], eV/A."""
    moving = atoms.copy()
    moving.calc = atoms.calc

    def energy(positions: NDArray[np.float64]) -> float:
        moving.positions = positions
        return float(moving.get_potential_energy())

    return -derivative(energy, atoms.get_positions(), step, order=2)
