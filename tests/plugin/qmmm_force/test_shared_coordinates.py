"""Forces where atoms share coordinates: in flat and linear molecules, along the axes, at the precision of PDB files.

libxtb's own gradient is wrong there. The tolerance of 1e-5 is what it reaches elsewhere.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.plugin.qmmm_force.test_derivatives import TIGHT, check_forces
from tests.support.finite_differences import derivative
from tests.support.qmmm.systems import ETHANOL, ETHANOL_NUMBERS, make_case

RELATIVE = 1e-5

WATER = np.array([[0, 0, 0], [0.0, 0.0957, 0.0132], [0.0926, -0.0239, 0.0201]])
"""The oxygen and one hydrogen share x exactly."""


def ring(radius: float) -> np.ndarray:
    angles = np.pi / 3 * np.arange(6)
    return radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)


MOLECULES = {
    "water, x": ([8, 1, 1], WATER),
    "water, y and z": ([8, 1, 1], WATER[:, [1, 0, 2]] * [1, 1, 0]),
    "carbon dioxide on an axis": ([6, 8, 8], np.array([[0, 0, 0], [0.112, 0, 0], [-0.120, 0, 0]])),
    "carbon dioxide on a diagonal": ([6, 8, 8], np.array([[0, 0, 0], [0.066, 0.066, 0.066], [-0.07, -0.07, -0.07]])),
    "benzene in a plane": ([6] * 6 + [1] * 6, np.round(np.concatenate([ring(0.139), ring(0.248)]), 4)),
    "ethanol in a PDB file": (ETHANOL_NUMBERS, np.round(ETHANOL, 4)),
    "ethanol in a coarse file": (ETHANOL_NUMBERS, np.round(ETHANOL, 2)),
    "almost shared": ([8, 1, 1], WATER + np.array([[0, 0, 0], [3e-11, 0, 0], [0, 0, 0]])),
}


@pytest.mark.parametrize("engine", ["gfn2-xtb", "gfn1-xtb"])
@pytest.mark.parametrize("name", MOLECULES)
def test_molecules(engine, name):
    numbers, positions = MOLECULES[name]
    case = make_case(numbers, positions, engine=engine, settings=TIGHT)
    check_forces(case, list(range(len(numbers))), relative=RELATIVE)


def test_the_value_of_one_of_them():
    """The force along the shared coordinate, from differences of the energy: libxtb's own gradient says -635.1."""
    case = make_case([8, 1, 1], WATER)
    assert case.forces()[1, 0] == pytest.approx(-291.69, abs=0.01)
    assert -derivative(case.energy, case.positions, 1e-4, rows=[1])[0, 0] == pytest.approx(-291.69, abs=0.01)


@pytest.mark.parametrize("angle", [30, 45, 60, 90, 180])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forces_turn_with_the_molecule(angle, axis):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[i, i], rotation[i, j], rotation[j, i], rotation[j, j] = c, -s, s, c
    case = make_case([8, 1, 1], WATER)
    assert case.forces(WATER @ rotation.T) == pytest.approx(case.forces(WATER) @ rotation.T, abs=1e-3)


@pytest.mark.parametrize("engine", ["gfn2-xtb", "gfn1-xtb"])
@pytest.mark.parametrize("switched", [False, True])
def test_charges_that_share_coordinates_with_atoms(engine, switched):
    """Straight above an atom, in the plane of another two, and at the place of one but for x."""
    charges = [[0.0, 0.0, 0.3], [0.0, 0.4, 0.0132], [0.35, 0.0957, 0.0132]]
    case = make_case(
        [8, 1, 1],
        WATER,
        engine=engine,
        settings=TIGHT,
        extra=charges,
        extra_charges=[0.4, -0.5, 0.2],
        cutoff=0.42 if switched else None,
        switching_distance=0.2 if switched else None,
    )
    check_forces(case, list(range(6)), relative=RELATIVE)


def test_a_molecule_that_passes_through_a_plane():
    """Energy and forces are smooth where coordinates meet on the way."""
    case = make_case([8, 1, 1], WATER)
    shifts = np.array([-1e-6, -1e-8, -1e-10, 0.0, 1e-10, 1e-8, 1e-6])
    energies, forces = [], []
    for shift in shifts:
        positions = WATER + np.array([[0, 0, 0], [shift, 0, 0], [0, 0, 0]])
        energies.append(case.energy(positions))
        forces.append(case.forces(positions)[1, 0])
    assert forces == pytest.approx([-291.69] * len(shifts), abs=0.05)
    assert np.array(energies) - energies[3] == pytest.approx(291.69 * shifts, abs=1e-6)
