"""The suite for engines finds what it is there for: engines with one fault each, which raise nothing themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError, QMOutput
from tests.suites.engine import EngineProperties
from tests.support.engines.example import register_harmonic_engine
from tests.support.engines.polarizable import Polarizable

Array = NDArray[np.float64]


class Faulty:
    """The engine of the example, whose answers a function changes.

    Args:
        fault: Name of the function in FAULTS; none for a sound engine.
        settings: Of the example's engine.
    """

    calls_of_all: ClassVar[int] = 0

    def __init__(self, fault: str = "", **settings: Any) -> None:
        self.fault = fault
        self.sound: Any = registry._registered["harmonic"](**settings)
        self.calls = self.resets = self.described = 0
        self.last: QMOutput | None = None
        self.buffer: Any = None

    def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
        self.sound.check(numbers, charge, multiplicity)

    def describe(self) -> dict[str, Any]:
        self.described += 1
        counted = {"count": self.described} if self.fault == "describes calls" else {}
        return {**self.sound.describe(), **counted}

    def reset(self) -> None:
        self.resets += 1
        self.calls = 0

    def compute(self, x: Array, y: Array, q: Array, needed: NDArray[np.bool_]) -> QMOutput:
        output: QMOutput = self.sound.compute(x, y, q, needed)
        answer = FAULTS[self.fault][1](self, output, x, y, q, needed) if self.fault in FAULTS else output
        self.calls += 1
        Faulty.calls_of_all += 1
        self.last = output
        return answer


def _hartree(_: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    names = ("energy", "gradient", "charge_gradient", "potential_at_charges")
    return replace(out, **{name: getattr(out, name) / 2625.4996 for name in names})


def _angstrom(_: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, dipole=10 * out.dipole)


def _laboratory(_: Faulty, out: QMOutput, x: Array, *__: Any) -> QMOutput:
    """A tensor that does not turn along, with the right gradient."""
    gradient = out.gradient.copy()
    height = x[0, 2] - x[1, 2]
    gradient[0, 2] += 2e3 * height
    gradient[1, 2] -= 2e3 * height
    return replace(out, energy=out.energy + 1e3 * height**2, gradient=gradient)


def _more_charge(_: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, atomic_charges=out.atomic_charges + 1e-6)


def _handed(_: Faulty, out: QMOutput, x: Array, *__: Any) -> QMOutput:
    return replace(out, dipole=out.dipole + np.cross(x[1] - x[0], x[2] - x[0]))


def _numbered_atoms(_: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, atomic_charges=out.atomic_charges + np.array([0, 1e-6, -1e-6]))


def _numbered_charges(_: Faulty, out: QMOutput, x: Array, y: Array, q: Array, needed: Any) -> QMOutput:
    """Every charge counts a little more than the one before, in energy and all derivatives of it."""
    weight = 1e-6 * np.arange(len(q))
    potential = out.potential_at_charges + 2 * weight * q
    return replace(out, energy=out.energy + (weight * q**2).sum(), potential_at_charges=potential)


def _before(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return out if self.last is None else replace(out, gradient=self.last.gradient)


def _charges_before(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return out if self.last is None else replace(out, charge_gradient=self.last.charge_gradient)


def _only_all(_: Faulty, out: QMOutput, x: Array, y: Array, q: Array, needed: NDArray[np.bool_]) -> QMOutput:
    potential = out.potential_at_charges
    return out if needed.all() else replace(out, potential_at_charges=np.compress(needed, potential, axis=0))


def _first_asked(_: Faulty, out: QMOutput, x: Array, y: Array, q: Array, needed: NDArray[np.bool_]) -> QMOutput:
    """Those that were asked for stand at the beginning."""
    potential = np.full(len(q), np.nan)
    potential[: needed.sum()] = out.potential_at_charges[needed]
    potential[needed & np.isnan(potential)] = 0
    return replace(out, potential_at_charges=potential)


def _fields_when_asked(_: Faulty, out: QMOutput, x: Array, y: Array, q: Array, needed: NDArray[np.bool_]) -> QMOutput:
    return out if needed.any() else replace(out, charge_gradient=0 * out.charge_gradient)


def _remembers_energy(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, energy=out.energy + 1e-12 * self.resets)


def _remembers_dipole(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, dipole=out.dipole + 1e-15 * self.resets)


def _remembers_iterations(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, iterations=9 - min(self.resets, 1))


def _shares_state(_: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, atomic_charges=out.atomic_charges + 1e-14 * Faulty.calls_of_all * np.array([1, -1, 0]))


def _keeps_buffer(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    if self.buffer is None:
        self.buffer = out.gradient
    self.buffer[...] = out.gradient
    return replace(out, gradient=self.buffer)


def _gives_own_away(self: Faulty, out: QMOutput, *__: Any) -> QMOutput:
    return replace(out, atomic_charges=self.sound.charges)


def _writes(name: str) -> Callable[..., QMOutput]:
    def write(_: Faulty, out: QMOutput, x: Array, y: Array, q: Array, needed: Any) -> QMOutput:
        {"positions": x, "places": y, "charges": q, "needed": needed}[name][...] = 0
        return out

    return write


def _times(name: str, factor: float) -> Callable[..., QMOutput]:
    return lambda _, out, *__: replace(out, **{name: factor * getattr(out, name)})


FAULTS: dict[str, tuple[str, Callable[..., QMOutput]]] = {
    "forces for a gradient": ("gradient", _times("gradient", -1)),
    "a gradient a millionth too long": ("gradient", _times("gradient", 1 + 1e-6)),
    "no gradient on the charges": ("gradient_on_the_charges", _times("charge_gradient", 0)),
    "potential of the wrong sign": ("potential_at_the_charges", _times("potential_at_charges", -1)),
    "energies in hartree": ("dipole_and_units", _hartree),
    "dipole in e angstrom": ("dipole_and_units", _angstrom),
    "dipole of the wrong sign": ("dipole_and_units", _times("dipole", -1)),
    "no dipole": ("dipole_and_units", _times("dipole", 0)),
    "charges that do not add up": ("atomic_charges_sum_to_the_charge_of_the_molecule", _more_charge),
    "a frame of its own": ("rotation[1]", _laboratory),
    "one hand only": ("rotation[-1]", _handed),
    "atoms by number": ("permutation_of_equal_atoms", _numbered_atoms),
    "charges by number": ("permutation_of_the_charges", _numbered_charges),
    "the gradient before": ("one_geometry_after_another", _before),
    "the number of charges before": ("another_number_of_charges", _charges_before),
    "only the potentials that are asked for": ("potentials_are_where_they_are_asked_for[3]", _only_all),
    "those asked for first": ("potentials_are_where_they_are_asked_for[3]", _first_asked),
    "gradients with potentials only": ("potentials_are_where_they_are_asked_for[0]", _fields_when_asked),
    "energy not reset": ("nothing_is_left_after_a_reset", _remembers_energy),
    "dipole not reset": ("nothing_is_left_after_a_reset", _remembers_dipole),
    "iterations not reset": ("nothing_is_left_after_a_reset", _remembers_iterations),
    "state of the class": ("engines_share_nothing", _shares_state),
    "one buffer": ("answers_are_not_taken_back", _keeps_buffer),
    "an array of its own": ("answers_are_not_taken_back", _gives_own_away),
    "writes positions": ("arguments_are_only_read", _writes("positions")),
    "writes places of charges": ("arguments_are_only_read", _writes("places")),
    "writes charges": ("arguments_are_only_read", _writes("charges")),
    "writes needs": ("arguments_are_only_read", _writes("needed")),
    "describes calls": ("description", _times("energy", 1)),
}
"""Name of a fault: the test that finds it, and what it does to an answer."""


class OfWater(EngineProperties):
    def numbers(self) -> list[int]:
        return [8, 1, 1]

    def geometry(self) -> Array:
        return np.array([[0.0, 0.0, 0.0], [0.099, 0.002, 0.0], [-0.024, 0.093, 0.01]])


class Suite(OfWater):
    """With one of the faults."""

    name = "faulty"

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def settings(self) -> dict[str, Any]:
        bonds = [[0, 1, 4e5, 0.096], [0, 2, 4e5, 0.096]]
        return {"fault": self.fault, "bonds": bonds, "charges": [-0.8, 0.4, 0.4]}


class TestASoundEngineThatIterates(OfWater):
    """It is not accused of its memory, nor of NaN where nobody asks."""

    name = "Polarizable"

    def settings(self) -> dict[str, Any]:
        return {"stiffness": 3e5}

    def test_it_remembers_and_is_polarised(self) -> None:
        engine = self.engine()
        first, again = self.compute(engine=engine), self.compute(engine=engine)
        assert again.iterations < first.iterations
        alone = self.compute(places=np.zeros((0, 3)), values=np.zeros(0))
        assert np.abs(alone.dipole - first.dipole).max() > 1e-4


class TestACation(TestASoundEngineThatIterates):
    charge = 1
    multiplicity = 2


@pytest.fixture(autouse=True)
def faulty_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_harmonic_engine()
    registry.register("faulty", Faulty)
    registry.register("polarizable", Polarizable)


def run(fault: str, test: str) -> None:
    name, _, argument = test.rstrip("]").partition("[")
    getattr(Suite(fault), f"test_{name}")(*([int(argument)] if argument else []))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    test = FAULTS[fault][0]
    run("", test)
    with pytest.raises((AssertionError, EngineError)):
        run(fault, test)
