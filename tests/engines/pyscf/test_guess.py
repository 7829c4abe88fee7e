"""Guessed densities: projectors on whole orbitals, learned from earlier geometries wherever the molecule turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from kstep_models.units import NM_PER_BOHR
from openmmkstep.engines.protocol import EngineError
from openmmkstep.engines.pyscf.guess import MOST_GEOMETRIES, DensityGuess, Surroundings
from tests.engines.pyscf.test_properties import FORMALDEHYDE

Array = NDArray[np.float64]
pyscf = pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")
KINDS = ("last", "learned")


def shaken(seed: int, number: int, turned: bool = False, width: float = 0.003) -> list[Array]:
    """Geometries of formaldehyde [4,3], bohr."""
    random = np.random.default_rng(seed)
    geometries = FORMALDEHYDE + random.normal(scale=width, size=(number, 4, 3))
    turns = Rotation.random(number, random_state=seed).as_matrix() if turned else [np.eye(3)] * number
    return [x @ turn / NM_PER_BOHR for x, turn in zip(geometries, turns, strict=True)]


def solved(positions: Array, charges: Array | None = None, spin: int = 0) -> tuple[Surroundings, Array]:
    """Hartree-Fock, with d functions on both heavy atoms, and charges [m,4] (bohr, e) at will."""
    atoms = [*zip("OCHH", positions, strict=True)]
    mol = pyscf.gto.M(atom=atoms, unit="Bohr", basis="6-31g*", charge=spin, spin=spin, verbose=0)
    method = pyscf.scf.RHF(mol) if not spin else pyscf.scf.UHF(mol)
    potential = None
    if charges is not None:
        potential = -np.einsum("kmn,k->mn", mol.intor("int1e_grids", grids=charges[:, :3]), charges[:, 3])
        core = method.get_hcore() + potential
        method.get_hcore = lambda *_: core
    method.kernel()
    surroundings = Surroundings(mol.atom_coords(), method.get_ovlp(), potential, mol.ao_rotation_matrix)
    return surroundings, np.asarray(method.make_rdm1())


def distance(surroundings: Surroundings, first: Any, second: Array) -> float:
    """Norm of the difference between orthogonal functions."""
    change = (first - second) @ surroundings.overlap
    return float(np.sqrt(np.abs(np.vdot(change, np.swapaxes(change, -1, -2)))))


def after(kind: str, known: list[tuple[Surroundings, Array]]) -> DensityGuess:
    guess = DensityGuess(kind)
    for one in known:
        guess.remember(*one)
    return guess


@pytest.fixture(scope="module")
def turning() -> list[tuple[Surroundings, Array]]:
    return [solved(x) for x in shaken(1, 24, turned=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [1, 2, 12])
@pytest.mark.parametrize("spin", [0, 1])
def test_guesses_are_projectors_with_all_electrons(kind: str, known: int, spin: int) -> None:
    *past, (here, _) = [solved(x, spin=spin) for x in shaken(2, known + 1)]
    predicted = after(kind, past).predict(here)
    assert predicted is not None
    occupation = 2 - spin
    np.testing.assert_allclose(predicted @ here.overlap @ predicted, occupation * predicted, atol=1e-11)
    electrons = np.einsum("...mn,nm->...", predicted, here.overlap)
    np.testing.assert_allclose(electrons, [8, 7] if spin else 16, atol=1e-11)


def test_much_is_known_of_a_molecule_that_turns(turning: list[tuple[Surroundings, Array]]) -> None:
    (here, density), *past = turning
    found, last = (distance(here, after(kind, past).predict(here), density) for kind in ("learned", "last"))
    assert found < 0.1 * last
    few = distance(here, after("learned", past[:6]).predict(here), density)
    assert found < 0.5 * few


def test_a_turned_molecule_has_the_turned_density() -> None:
    geometries = shaken(3, 9)
    turn = Rotation.random(random_state=4).as_matrix()
    past = [solved(x) for x in geometries[1:]]
    turned = solved(geometries[0] @ turn)[0]
    straight = solved(geometries[0])[0]
    rotation = turned.rotate(turn.T)
    expected = after("learned", past).predict(straight)
    np.testing.assert_allclose(rotation @ turned.overlap @ rotation.T, straight.overlap, atol=1e-10)
    predicted = after("learned", past).predict(turned)
    np.testing.assert_allclose(rotation @ predicted @ rotation.T, expected, atol=1e-6)


def test_charges_around_are_a_part_of_what_is_known() -> None:
    random = np.random.default_rng(5)
    places = np.array([[6.0, 0, 0], [0, 7.0, 0], [-5.0, -5.0, 2.0]])
    fields = [np.c_[places, random.normal(scale=0.4, size=3)] for _ in range(16)]
    (here, density), *past = [solved(x, field) for x, field in zip(shaken(6, 16, width=0.0005), fields, strict=True)]
    blind = [(Surroundings(one.positions, one.overlap, None, one.rotate), known) for one, known in past]
    unseen = Surroundings(here.positions, here.overlap, None, here.rotate)
    without = distance(here, after("learned", blind).predict(unseen), density)
    assert distance(here, after("learned", past).predict(here), density) < 0.1 * without


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_geometry_again_and_again(kind: str, turning: list[tuple[Surroundings, Array]]) -> None:
    here, density = turning[0]
    guess = after(kind, [(here, density)] * 3)
    np.testing.assert_allclose(guess.predict(here), density, atol=1e-7)
    assert distance(turning[1][0], guess.predict(turning[1][0]), turning[1][1]) < 2


def test_far_from_all_that_is_known_the_nearest_is_taken(turning: list[tuple[Surroundings, Array]]) -> None:
    far = FORMALDEHYDE.copy()
    far[3] += 0.25
    here = solved(far / NM_PER_BOHR)[0]
    predicted = after("learned", turning).predict(here)
    np.testing.assert_allclose(predicted @ here.overlap @ predicted, 2 * predicted, atol=1e-11)


def test_no_more_than_fits(monkeypatch: pytest.MonkeyPatch, turning: list[tuple[Surroundings, Array]]) -> None:
    from openmmkstep.engines.pyscf import guess as module

    assert len(after("learned", turning[:1] * (MOST_GEOMETRIES + 3))._known) == MOST_GEOMETRIES
    monkeypatch.setattr(module, "_MOST_BYTES", 1e5)
    assert 2 <= len(after("learned", turning)._known) < 24


@pytest.mark.parametrize("kind", [*KINDS, "fresh"])
def test_nothing_is_predicted_of_nothing(kind: str, turning: list[tuple[Surroundings, Array]]) -> None:
    guess = after(kind, turning[:3])
    guess.forget()
    assert guess.predict(turning[3][0]) is None


@pytest.mark.parametrize("number", [0, 1, 5])
def test_memory_in_another_process(number: int, turning: list[tuple[Surroundings, Array]]) -> None:
    guess, other = after("learned", turning[:number]), after("learned", turning[8:])
    functions = len(turning[0][1])
    other.from_bytes(guess.to_bytes(), 4, functions)
    for one in turning[5:8]:
        first, second = guess.predict(one[0]), other.predict(one[0])
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            np.testing.assert_array_equal(first, second)
        guess.remember(*one)
        other.remember(*one)


def test_memory_that_cannot_be_used(turning: list[tuple[Surroundings, Array]]) -> None:
    memory, functions = after("learned", turning[:3]).to_bytes(), len(turning[0][1])
    for wrong, atoms, size, words in (
        (memory[:-50], 4, functions, "cannot be read"),
        (memory, 5, functions, "another molecule"),
        (memory, 4, functions + 1, "another basis set"),
    ):
        guess = after("learned", turning)
        with pytest.raises(EngineError, match=words):
            guess.from_bytes(wrong, atoms, size)
        assert guess.predict(turning[0][0]) is None
