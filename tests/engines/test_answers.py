"""Answers of engines in Python, as C++ takes them: which are refused, and how the others are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from openmmkstep import EmbeddingCharges, QMMMForce
from openmmkstep.engines.protocol import EngineError
from openmmkstep.engines.registry import create_engine
from tests.support.engines.spy import FADING, Spy, context_of, energy_of, engine, forces_of

pytestmark = pytest.mark.usefixtures("spy")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gradient", np.zeros((3, 3)), r"gradient must have the shape \[2, 3\], got \[3, 3\]"),
        ("gradient", np.zeros(6), r"gradient must have the shape \[2, 3\], got \[6\]"),
        ("gradient", np.zeros((3, 2)), r"gradient must have the shape \[2, 3\], got \[3, 2\]"),
        ("charge_gradient", np.zeros((2, 3)), r"charge_gradient must have the shape \[0, 3\]"),
        ("potential_at_charges", np.zeros(1), r"potential_at_charges must have the shape \[0\]"),
        ("atomic_charges", [0.0], r"atomic_charges must have the shape \[2\]"),
        ("dipole", 0.0, r"dipole must have the shape \[3\]"),
        ("gradient", [["a", "b", "c"]] * 2, "gradient must hold real numbers, got <U1"),
        ("gradient", np.full((2, 3), 1j), "gradient must hold real numbers, got complex128"),
        ("gradient", [[0.0, 0.0, 0.0], [0.0]], "gradient is no array"),
        ("gradient", None, "gradient must hold real numbers, got object"),
        ("energy", "much", "energy must hold real numbers"),
        ("energy", None, "energy must hold real numbers"),
        ("energy", [1.0, 2.0], r"energy must be one number, got \[2\]"),
        ("iterations", "many", "iterations must hold real numbers"),
    ],
)
def test_answers_of_a_wrong_form_are_refused(
    reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    context = context_of(reference)
    monkeypatch.setattr(Spy, "spoil", {name: value})
    with pytest.raises(openmm.OpenMMException, match=rf"the region: engine 'spy': {message}"):
        energy_of(context)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("energy", np.nan, "nan"),
        ("energy", -np.inf, "-inf"),
        ("gradient", [[0, 0, 0], [0, np.inf, np.nan]], r"inf at \[1, 1\]"),
        ("charge_gradient", [[0, 0, np.nan], [0, 0, 0]], r"nan at \[0, 2\]"),
        ("potential_at_charges", [0, np.nan], r"nan at \[1\]"),
        ("atomic_charges", [np.nan, 0], r"nan at \[0\]"),
        ("dipole", np.array([0, 0, np.inf], dtype=np.float32), r"inf at \[2\]"),
        ("iterations", np.nan, "nan"),
    ],
)
def test_answers_that_are_not_finite_are_refused(
    reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, where: str
) -> None:
    context = context_of(reference, **FADING)
    monkeypatch.setattr(Spy, "spoil", {name: value})
    with pytest.raises(openmm.OpenMMException, match=rf"the region: engine 'spy': {name} is not finite, got {where}$"):
        energy_of(context)


def test_a_potential_that_nobody_reads_may_be_anything(
    reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a charge is there in full; of the same shape all the same."""
    nearer = EmbeddingCharges([2, 3], [0.3, -0.2], [0, 1], 0.7, 0.52)
    context = context_of(reference, embeddingCharges=nearer)
    expected = energy_of(context), forces_of(context)
    assert engine().arguments[3].tolist() == [False, True]
    force = QMMMForce.cast(context.getSystem().getForce(0))
    for potential, message in (([np.nan, 0.0], None), ([0.0, np.nan], r"nan at \[1\]"), ([0.0], r"shape \[2\]")):
        force.reset(context)
        monkeypatch.setattr(Spy, "spoil", {"potential_at_charges": potential})
        if message is None:
            assert energy_of(context) == expected[0]
            np.testing.assert_array_equal(forces_of(context), expected[1])
        else:
            with pytest.raises(openmm.OpenMMException, match=f"potential_at_charges .*{message}"):
                energy_of(context)


def test_answers_in_other_memory_layouts_are_read_right(
    reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    layouts = (
        np.asfortranarray(gradient),
        gradient.astype(np.float32),
        gradient.astype(int),
        gradient.tolist(),
        np.repeat(gradient, 2, axis=1)[:, ::2],
        gradient.astype(">f8"),
    )
    for layout in layouts:
        monkeypatch.setattr(Spy, "spoil", {"gradient": layout})
        forces = context_of(reference).getState(forces=True).getForces(asNumpy=True)._value
        np.testing.assert_array_equal(forces[:2], -gradient)


def test_a_memory_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spy, "memory", lambda self: "much", raising=False)
    made = create_engine("spy", "{}", [1, 1], 0, 1)
    with pytest.raises(EngineError, match=r"engine 'spy': memory\(\) must return bytes, got str"):
        made.memory()


def test_of_a_memory_that_cannot_be_used_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def recall(self: Spy, memory: bytes) -> None:
        seen.append(memory)
        raise KeyError("mine")

    monkeypatch.setattr(Spy, "recall", recall, raising=False)
    monkeypatch.setattr(Spy, "reset", lambda self: seen.append("reset"))
    made = create_engine("spy", "{}", [1, 1], 0, 1)
    made.recall(b"something")
    assert seen == ["reset", b"something", "reset"]
