"""Where bonds of the molecular graph break, regressions know distances alone: on a proton between two fluoride ions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kstep_models.elements import covalent_radius
from kstep_models.regression.connectivity import Connectivity
from kstep_models.regression.fitting import fit_regression
from kstep_models.regression.kernel import pair_weights
from kstep_models.regression.labels import Labels
from kstep_models.regression.permutations import symmetries
from kstep_models.units import MEV_PER_ANGSTROM

Array = NDArray[np.float64]

# F-H...F: the molecular graph gives the proton to the first.
NUMBERS, BONDS = np.array([9, 1, 9]), np.array([[0, 1]])
MALONALDEHYDE = np.array([8, 6, 6, 6, 8, 1, 1, 1, 1])
ENOL = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [1, 6], [2, 7], [3, 8]])


def energy_and_forces(x: Array) -> tuple[Array, Array]:
    """Of Morse potentials between the proton and either ion, and of a spring between the ions, kJ/mol and nm."""
    energies, forces = np.zeros(len(x)), np.zeros_like(x)
    for i, j, morse in ((0, 1, True), (2, 1, True), (0, 2, False)):
        vector = x[:, i] - x[:, j]
        r = np.linalg.norm(vector, axis=1)
        if morse:
            decay = np.exp(-20 * (r - 0.095))
            energies += 500 * (1 - decay) ** 2
            slope = 2 * 500 * 20 * (1 - decay) * decay
        else:
            energies += 2e4 * (r - 0.245) ** 2
            slope = 4e4 * (r - 0.245)
        along = (slope / r)[:, None] * vector
        forces[:, i] -= along
        forces[:, j] += along
    return energies, forces


def labels(count: int, seed: int, sides: tuple[int, ...] = (0, 1)) -> Labels:
    """The proton near one ion or the other, or between them."""
    random = np.random.default_rng(seed)
    x = np.zeros((count, 3, 3))
    x[:, 2, 0] = 0.245
    x[:, 1, 0] = 0.095
    x += random.normal(scale=0.006, size=x.shape)
    turned = np.flatnonzero(random.choice(sides, count) == 1)
    x[turned] = x[turned][:, [2, 1, 0]] * np.array([-1, 1, 1])
    return Labels(NUMBERS, BONDS, 0.0, x, *energy_and_forces(x))


def test_bonds_that_hold_and_bonds_that_do_not() -> None:
    rest = Connectivity.of(NUMBERS, BONDS, labels(50, 1, (0,)).positions)
    assert not rest.changes and rest.lasting.tolist() == [[0, 1]] and not len(rest.formed)
    moved = labels(200, 2)
    found = Connectivity.of(NUMBERS, BONDS, moved.positions)
    assert found.changes and found.broken.tolist() == [[0, 1]] and found.formed.tolist() == [[1, 2]]
    assert not len(found.lasting) and sorted(found.everything.tolist()) == [[0, 1], [1, 2]]
    share = np.mean(np.linalg.norm(moved.positions[:, 0] - moved.positions[:, 1], axis=1) > 1.5 * (0.057 + 0.031))
    assert 0.3 < share < 0.7 and found.share == pytest.approx([share])
    assert str(found) == f"F0-H1 is open in {share:.0%} of the geometries, H1-F2 formed"


def test_covalent_radii() -> None:
    """Cordero et al. 2008, and one value for all beyond their use here."""
    for number, radius in ((1, 0.031), (6, 0.076), (8, 0.066), (17, 0.102), (30, 0.122), (53, 0.139), (54, 0.14)):
        assert covalent_radius(number) == pytest.approx(radius)
    assert covalent_radius(79) == 0.15


def test_a_transfer_has_the_symmetry_of_both_its_ends() -> None:
    """Of malonaldehyde all that its two forms have: the mirror that exchanges them."""
    changing = Connectivity(MALONALDEHYDE, np.delete(ENOL, 4, axis=0), ENOL[4:5], np.array([0.5]), np.array([[0, 5]]))
    group = symmetries(changing, 12)
    assert group.tolist() == [list(range(9)), [4, 3, 2, 1, 0, 5, 8, 7, 6]]
    lasting = Connectivity(MALONALDEHYDE, ENOL, ENOL[:0], np.zeros(0), ENOL[:0])
    assert symmetries(lasting, 12).tolist() == [list(range(9))]


def test_too_many_symmetries_are_those_of_the_ends() -> None:
    """Ammonia and chloromethane that react have 36, of which rotations of both ends are 9."""
    numbers = np.array([7, 1, 1, 1, 6, 1, 1, 1, 17])
    bonds = np.array([[0, 1], [0, 2], [0, 3], [4, 5], [4, 6], [4, 7]])
    reacting = Connectivity(numbers, bonds, np.array([[4, 8]]), np.array([0.5]), np.array([[0, 4]]))
    assert len(symmetries(reacting, 36)) == 36
    few = symmetries(reacting, 12)
    assert len(few) == 9
    assert {tuple(a[b]) for a in few for b in few} == {tuple(row) for row in few.tolist()}


def test_a_proton_that_changes_sides_has_no_bond() -> None:
    assert pair_weights(NUMBERS, BONDS).tolist() == [0.3, 1.0, 1.0]
    # What exchanges of like atoms would not leave as it is is left alone.
    assert pair_weights(NUMBERS, BONDS, np.array([[0, 1, 2], [2, 1, 0]])).tolist() == [1.0, 1.0, 1.0]
    assert pair_weights(np.array([1, 8, 1]), np.array([[0, 1], [1, 2]]), np.array([[0, 1, 2], [2, 1, 0]])).tolist() == [
        0.3,
        1.0,
        0.3,
    ]


def test_terms_of_a_graph_that_changes_are_left_out() -> None:
    messages: list[str] = []
    result = fit_regression(labels(100, 3), log=messages.append)
    assert result.regression.parts == "kernel" and set(result.errors) == {"kernel"}
    assert "bonds change (F0-H1 is open" in messages[0]
    assert result.regression.error(labels(50, 4)) < 0.02 * result.size
    still = fit_regression(labels(100, 3, (0,)), log=messages.append)
    assert set(still.errors) == {"bonded", "kernel", "both"}
    # Who asks for them gets them, and sees why not.
    asked = fit_regression(labels(100, 3), "bonded")
    assert asked.errors["bonded"] > 5 * result.errors["kernel"]


def test_one_label_of_the_other_side_tells_of_all_of_it() -> None:
    """The exchange makes labels of one side labels of the other; without any the regression cannot know."""
    one, other = labels(60, 5, (0,)), labels(50, 6, (1,))
    joined = [
        np.concatenate([getattr(one, name), getattr(other, name)[:1]]) for name in ("positions", "energies", "forces")
    ]
    both = fit_regression(Labels(NUMBERS, BONDS, 0.0, *joined)).regression
    blind = fit_regression(one, "kernel").regression
    size = MEV_PER_ANGSTROM * np.sqrt(np.mean(other.forces**2))
    assert both.error(other) < 0.05 * size < 0.5 * size < blind.error(other)
