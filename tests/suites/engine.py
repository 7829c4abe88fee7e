"""Properties that every QM engine in Python must have, as a suite to inherit from.

From another package: put the folder of this repository into ``PYTHONPATH``, and register the engine in the test module,
by importing what registers it, before a test asks for it by name.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from kstep_models.units import COULOMB
from openmmkstep.engines.checked import CheckedEngine
from openmmkstep.engines.protocol import QMOutput
from openmmkstep.engines.registry import create_engine, specification
from tests.support.finite_differences import derivative

Array = NDArray[np.float64]

FAR = 100.0
"""nm; of the potential of a molecule there, what the dipole leaves is smaller by (size / FAR)^2, a millionth."""


class EngineProperties(ABC):
    """Inherit, name the engine and its molecule, and every property is tested.

    Choose a polar molecule, of which some atoms are of one element, at a geometry without symmetry. Tolerances of
    arrays are relative to their largest entry, or to 1 in the engine's units where that is more. They suit an engine
    whose only error is rounding; one that iterates, or integrates on a grid, needs larger ones, for a reason that
    stands beside them. Hartree-Fock of PySCF, converged to 1e-12 hartree, passes with 1e-5, 1e-8 and 1e-6 for
    derivative, symmetry and start.

    Attributes:
        derivative: Tolerance of central differences, relative to the largest entry.
        step: Their step, nm and e.
        symmetry: Tolerance of what rotation, translation and the order of atoms leave as it is.
        start: Tolerance of a calculation that starts from what another one left.
        far: Tolerance of the dipole moment that a potential in the distance shows, relative to it.
        name: Name of the engine.
        charge: Charge of the molecule, e.
        multiplicity: Its spin multiplicity.
    """

    derivative = 1e-7
    step = 1e-5
    symmetry = 1e-9
    start = 1e-9
    far = 1e-4
    name: str
    charge = 0
    multiplicity = 1

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Settings of the engine."""

    @abstractmethod
    def numbers(self) -> list[int]:
        """Atomic numbers [n]."""

    @abstractmethod
    def geometry(self) -> Array:
        """A geometry [n,3] off its minimum, nm."""

    def charges(self) -> tuple[Array, Array]:
        """Positions [m,3] and values [m] of point charges around the molecule."""
        random = np.random.default_rng(6)
        directions = random.normal(size=(5, 3))
        places = self.geometry().mean(axis=0) + 0.7 * directions / np.linalg.norm(directions, axis=1)[:, None]
        return places, random.normal(scale=0.4, size=5)

    def engine(self) -> CheckedEngine:
        made = create_engine(self.name, json.dumps(self.settings()), self.numbers(), self.charge, self.multiplicity)
        assert isinstance(made, CheckedEngine)
        return made

    def compute(
        self, positions: Any = None, places: Any = None, values: Any = None, needed: Any = None, engine: Any = None
    ) -> QMOutput:
        """A calculation of an engine, or else of a new one, with arrays that nobody else has."""
        own_places, own_values = self.charges()
        x = self.geometry() if positions is None else positions
        y = own_places if places is None else places
        q = own_values if values is None else values
        asked = np.ones(len(q), dtype=bool) if needed is None else needed
        output = (engine or self.engine()).compute(*(np.array(each) for each in (x, y, q, asked)))
        assert isinstance(output, QMOutput)
        return output

    def another(self, seed: int) -> tuple[Array, Array, Array]:
        """Another geometry, and the charges elsewhere."""
        random = np.random.default_rng(seed)
        places, values = self.charges()
        x = self.geometry() + random.normal(scale=0.002, size=self.geometry().shape)
        return (
            x,
            places + random.normal(scale=0.02, size=places.shape),
            values + random.normal(scale=0.1, size=values.shape),
        )

    def assert_derivative(self, analytic: Array, argument: str, start: Array) -> None:
        # Of second order: a calculation may cost seconds.
        expected = derivative(lambda moved: self.compute(**{argument: moved}).energy, start, self.step, order=2)
        largest = np.abs(expected).max()
        assert largest > 0
        error = np.abs(analytic - expected).max() / largest
        assert error < self.derivative, f"{argument}: differs from differences by {error:.1e} of {largest:g}"

    @staticmethod
    def assert_same(actual: ArrayLike, expected: ArrayLike, tolerance: float, what: str) -> None:
        a, b = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=what)

    def assert_alike(self, actual: QMOutput, expected: QMOutput, tolerance: float) -> None:
        for name in ("energy", "gradient", "charge_gradient", "potential_at_charges", "atomic_charges", "dipole"):
            self.assert_same(getattr(actual, name), getattr(expected, name), tolerance, name)

    @staticmethod
    def assert_equal(actual: QMOutput, expected: QMOutput) -> None:
        for field in fields(QMOutput):
            np.testing.assert_array_equal(getattr(actual, field.name), getattr(expected, field.name), field.name)

    # What it calculates.

    def test_gradient(self) -> None:
        self.assert_derivative(self.compute().gradient, "positions", self.geometry())

    def test_gradient_on_the_charges(self) -> None:
        self.assert_derivative(self.compute().charge_gradient, "places", self.charges()[0])

    def test_potential_at_the_charges(self) -> None:
        self.assert_derivative(self.compute().potential_at_charges, "values", self.charges()[1])

    def test_dipole_and_units(self) -> None:
        """Six unit charges far away, whose fields cancel: their potentials show charge, dipole and unit of energy."""
        output = self.compute(places=FAR * np.concatenate([np.eye(3), -np.eye(3)]), values=np.ones(6))
        there, opposite = output.potential_at_charges[:3], output.potential_at_charges[3:]
        self.assert_same((there + opposite) / 2, np.full(3, COULOMB * self.charge / FAR), self.far, "charge")
        shown = (there - opposite) / 2 * FAR**2 / COULOMB
        largest = np.abs(shown).max()
        assert largest > 1e-4, "this molecule has no dipole moment: choose another"
        np.testing.assert_allclose(output.dipole, shown, rtol=0, atol=self.far * largest)

    def test_atomic_charges_sum_to_the_charge_of_the_molecule(self) -> None:
        assert abs(self.compute().atomic_charges.sum() - self.charge) < 1e-9

    def test_without_charges(self) -> None:
        output = self.compute(places=np.zeros((0, 3)), values=np.zeros(0))
        assert output.charge_gradient.shape == (0, 3) and output.potential_at_charges.shape == (0,)
        np.testing.assert_allclose(output.gradient.sum(axis=0), 0, atol=1e-7)

    # What it must not depend on.

    def test_translation(self) -> None:
        here, shift = self.compute(), np.array([0.3, -1.2, 2.0])
        there = self.compute(self.geometry() + shift, self.charges()[0] + shift)
        self.assert_same(there.dipole - here.dipole, self.charge * shift, 10 * self.symmetry, "dipole")
        for name in ("energy", "gradient", "charge_gradient", "potential_at_charges", "atomic_charges"):
            self.assert_same(getattr(there, name), getattr(here, name), self.symmetry, name)

    @pytest.mark.parametrize("handedness", [1, -1], ids=["rotation", "mirror"])
    def test_rotation(self, handedness: int) -> None:
        turn, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))
        turn *= handedness * np.linalg.det(turn)
        here = self.compute()
        there = self.compute(self.geometry() @ turn.T, self.charges()[0] @ turn.T)
        for name in ("energy", "potential_at_charges", "atomic_charges"):
            self.assert_same(getattr(there, name), getattr(here, name), self.symmetry, name)
        for name in ("gradient", "charge_gradient", "dipole"):
            self.assert_same(getattr(there, name), getattr(here, name) @ turn.T, self.symmetry, name)

    def test_permutation_of_equal_atoms(self) -> None:
        numbers = np.array(self.numbers())
        order = np.arange(len(numbers))
        for number in set(numbers.tolist()):
            order[numbers == number] = np.flatnonzero(numbers == number)[::-1]
        if np.array_equal(order, np.arange(len(numbers))):
            pytest.skip("no two atoms of this molecule are of one element")
        here, there = self.compute(), self.compute(self.geometry()[order])
        for name in ("energy", "charge_gradient", "potential_at_charges", "dipole"):
            self.assert_same(getattr(there, name), getattr(here, name), self.symmetry, name)
        for name in ("gradient", "atomic_charges"):
            self.assert_same(getattr(there, name), getattr(here, name)[order], self.symmetry, name)

    def test_permutation_of_the_charges(self) -> None:
        places, values = self.charges()
        order = np.roll(np.arange(len(values))[::-1], 1)
        here, there = self.compute(), self.compute(places=places[order], values=values[order])
        for name in ("energy", "gradient", "atomic_charges", "dipole"):
            self.assert_same(getattr(there, name), getattr(here, name), self.symmetry, name)
        for name in ("charge_gradient", "potential_at_charges"):
            self.assert_same(getattr(there, name), getattr(here, name)[order], self.symmetry, name)

    # What it may keep.

    def test_one_geometry_after_another(self) -> None:
        """The derivatives are those of the geometry that was asked for, not of the one before."""
        engine, random = self.engine(), np.random.default_rng(9)
        self.compute(engine=engine)
        for seed in (1, 2):
            x, y, q = self.another(seed)
            output = self.compute(x, y, q, engine=engine)
            self.assert_alike(output, self.compute(x, y, q), self.start)
            atoms, charges = random.normal(size=x.shape), random.normal(size=y.shape)
            length = self.step / np.sqrt((atoms**2).sum() + (charges**2).sum())
            energies = [
                self.compute(x + sign * length * atoms, y + sign * length * charges, q).energy for sign in (1, -1)
            ]
            slope = (output.gradient * atoms).sum() + (output.charge_gradient * charges).sum()
            scale = np.abs(output.gradient).max() * np.abs(atoms).sum()
            assert abs(slope - (energies[0] - energies[1]) / (2 * length)) < self.derivative * scale

    def test_another_number_of_charges(self) -> None:
        engine, (places, values) = self.engine(), self.charges()
        everything = list(range(len(values)))
        for chosen in (everything, [0], [], everything[1::2], everything):
            given = places[chosen], values[chosen]
            output = self.compute(None, *given, engine=engine)
            self.assert_alike(output, self.compute(None, *given), self.start)

    @pytest.mark.parametrize("period", [3, 0], ids=["some", "none"])
    def test_potentials_are_where_they_are_asked_for(self, period: int) -> None:
        needed = np.zeros(len(self.charges()[1]), dtype=bool)
        if period:
            needed[::period] = True
        everywhere, asked = self.compute(), self.compute(needed=needed)
        for name in ("energy", "gradient", "charge_gradient", "atomic_charges", "dipole"):
            self.assert_same(getattr(asked, name), getattr(everywhere, name), self.start, name)
        potentials = asked.potential_at_charges[needed], everywhere.potential_at_charges[needed]
        self.assert_same(*potentials, self.start, "potential_at_charges")

    def test_nothing_is_left_after_a_reset(self) -> None:
        """Every field is the same to the last bit, whatever came before: checkpoints rely on it."""
        engine = self.engine()
        first = self.compute(engine=engine)
        self.compute(*self.another(3), engine=engine)
        self.compute(None, np.zeros((0, 3)), np.zeros(0), engine=engine)
        engine.reset()
        self.assert_equal(self.compute(engine=engine), first)

    def test_an_engine_goes_on_from_the_memory_of_another(self) -> None:
        """To the last bit, whatever the other one did before; without a memory both start anew."""
        engine, other = self.engine(), self.engine()
        self.compute(engine=engine)
        self.compute(*self.another(3), engine=engine)
        self.compute(*self.another(4), engine=other)
        other.recall(engine.memory())
        for seed in (5, 6):
            expected = self.compute(*self.another(seed), engine=engine)
            self.assert_equal(self.compute(*self.another(seed), engine=other), expected)
        other.recall(b"no memory at all")
        self.assert_equal(self.compute(engine=other), self.compute())

    def test_engines_share_nothing(self) -> None:
        first = self.compute()
        self.compute(*self.another(4))
        self.assert_equal(self.compute(), first)

    def test_description(self) -> None:
        """It can be had before a molecule is given, is plain JSON, and is that of a file, whatever was calculated."""
        before = specification(self.name, self.settings()).describe()
        engine = self.engine()
        for act in (lambda: None, lambda: self.compute(engine=engine), engine.reset):
            act()
            assert before == {"method": self.name.lower(), **engine.describe()}
        assert json.loads(json.dumps(before, allow_nan=False)) == before

    def test_arguments_are_only_read(self) -> None:
        places, values = self.charges()
        arguments = [self.geometry(), places, values, np.arange(len(values)) % 2 == 0]
        copies = [argument.copy() for argument in arguments]
        # The engine itself, because what is around it copies.
        self.engine().engine.compute(*arguments)  # type: ignore[arg-type]
        for argument, copy in zip(arguments, copies, strict=True):
            np.testing.assert_array_equal(argument, copy)

    def test_answers_are_not_taken_back(self) -> None:
        """What was returned once stays as it is, and who changes it changes nothing of the engine's."""
        engine, needed = self.engine().engine, np.ones(len(self.charges()[1]), dtype=bool)
        first = engine.compute(self.geometry(), *self.charges(), needed)
        arrays = [value for value in vars(first).values() if isinstance(value, np.ndarray)]
        copies = [array.copy() for array in arrays]
        engine.compute(*self.another(5), needed)
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
        for array in arrays:
            array[...] = np.nan
        self.assert_alike(engine.compute(self.geometry(), *self.charges(), needed), self.compute(), self.start)
