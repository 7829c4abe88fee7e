"""Properties that every QM engine in Python must have, as a suite to inherit from."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.engines.protocol import QMEngine, QMOutput
from openmmkstep.engines.registry import create_engine
from tests.support.finite_differences import derivative


class EngineProperties(ABC):
    """Inherit, name the engine and its molecule, and every property is tested.

    ``derivative`` is the relative tolerance of central differences, ``step`` their step in nm and in e.
    """

    derivative = 1e-7
    step = 1e-5
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
    def geometry(self) -> NDArray[np.float64]:
        """A geometry [n,3] off its minimum, nm."""

    def engine(self) -> QMEngine:
        return create_engine(self.name, json.dumps(self.settings()), self.numbers(), self.charge, self.multiplicity)

    def charges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions [m,3] and values [m] of point charges around the molecule."""
        random = np.random.default_rng(6)
        directions = random.normal(size=(5, 3))
        places = self.geometry().mean(axis=0) + 0.7 * directions / np.linalg.norm(directions, axis=1)[:, None]
        return places, random.normal(scale=0.4, size=5)

    def compute(self, positions: Any = None, places: Any = None, values: Any = None) -> QMOutput:
        own_places, own_values = self.charges()
        x = self.geometry() if positions is None else positions
        y = own_places if places is None else places
        q = own_values if values is None else values
        return self.engine().compute(x, y, q, np.ones(len(q), dtype=bool))

    def assert_derivative(self, analytic: NDArray[np.float64], argument: str, start: NDArray[np.float64]) -> None:
        # Of second order: a calculation may cost seconds.
        expected = derivative(lambda moved: self.compute(**{argument: moved}).energy, start, self.step, order=2)
        assert np.abs(expected).max() > 0
        assert np.abs(analytic - expected).max() < self.derivative * np.abs(expected).max()

    def test_gradient(self) -> None:
        self.assert_derivative(self.compute().gradient, "positions", self.geometry())

    def test_gradient_on_the_charges(self) -> None:
        self.assert_derivative(self.compute().charge_gradient, "places", self.charges()[0])

    def test_potential_at_the_charges(self) -> None:
        self.assert_derivative(self.compute().potential_at_charges, "values", self.charges()[1])

    def test_translation(self) -> None:
        here, shift = self.compute(), np.array([0.3, -1.2, 2.0])
        there = self.compute(self.geometry() + shift, self.charges()[0] + shift)
        assert abs(there.energy - here.energy) < 1e-9 * max(1.0, abs(here.energy))
        np.testing.assert_allclose(there.dipole - here.dipole, self.charge * shift, atol=1e-8)

    def test_atomic_charges_sum_to_the_charge_of_the_molecule(self) -> None:
        assert abs(self.compute().atomic_charges.sum() - self.charge) < 1e-9

    def test_without_charges(self) -> None:
        output = self.compute(places=np.zeros((0, 3)), values=np.zeros(0))
        assert output.charge_gradient.shape == (0, 3) and output.potential_at_charges.shape == (0,)
        np.testing.assert_allclose(output.gradient.sum(axis=0), 0, atol=1e-7)

    def test_nothing_is_left_after_a_reset(self) -> None:
        engine = self.engine()
        (x, (y, q)), needed = (self.geometry(), self.charges()), np.ones(len(self.charges()[1]), dtype=bool)
        first = engine.compute(x, y, q, needed)
        engine.compute(x + 0.003, y, q, needed)
        engine.reset()
        again = engine.compute(x, y, q, needed)
        assert again.energy == first.energy and np.array_equal(again.gradient, first.gradient)
