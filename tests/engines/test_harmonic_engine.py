"""The engine of the example keeps every promise of an engine, and its energies are those of its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError
from openmmkstep.engines.registry import create_engine, specification
from tests.suites.engine import EngineProperties
from tests.support.engines.example import register_harmonic_engine


@pytest.fixture(autouse=True)
def harmonic_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_harmonic_engine()


class TestHarmonicEngine(EngineProperties):
    name = "harmonic"

    def settings(self) -> dict[str, Any]:
        return {"bonds": [[0, 1, 4e5, 0.096], [0, 2, 4e5, 0.096]], "charges": [-0.8, 0.4, 0.4]}

    def numbers(self) -> list[int]:
        return [8, 1, 1]

    def geometry(self) -> NDArray[np.float64]:
        return np.array([[0.0, 0.0, 0.0], [0.099, 0.002, 0.0], [-0.024, 0.093, 0.01]])

    def test_energy(self) -> None:
        x, (y, q) = self.geometry(), self.charges()
        bonds = sum(0.5 * 4e5 * (np.linalg.norm(x[i] - x[0]) - 0.096) ** 2 for i in (1, 2))
        coulomb = sum(
            138.93545764438198 * a * b / np.linalg.norm(xa - yb)
            for a, xa in zip([-0.8, 0.4, 0.4], x, strict=True)
            for b, yb in zip(q, y, strict=True)
        )
        assert self.compute().energy == pytest.approx(bonds + coulomb, rel=1e-12)


def test_level_of_theory_and_refusals() -> None:
    bonds: list[list[float]] = [[0, 1, 1000.0, 0.1]]
    assert specification("Harmonic", {"bonds": bonds, "charges": [0.1, -0.1]}).describe() == {
        "method": "harmonic",
        "bonds": bonds,
        "charges": [0.1, -0.1],
    }
    with pytest.raises(EngineError, match="harmonic needs the setting 'charges'"):
        specification("harmonic", {"bonds": bonds})
    with pytest.raises(EngineError, match="harmonic: ValueError: cannot reshape array of size 2"):
        specification("harmonic", {"bonds": [0, 1], "charges": [0.1, -0.1]})
    with pytest.raises(EngineError, match="do not fit a molecule of 2 atoms"):
        specification("harmonic", {"bonds": [[0, -1, 1, 0.1]], "charges": [0.1, -0.1]}).check([1, 1], 0, 1)
    with pytest.raises(EngineError, match="do not fit a molecule of 3 atoms"):
        specification("harmonic", {"bonds": bonds, "charges": [0.1, -0.1]}).check([8, 1, 1], 0, 1)
    with pytest.raises(EngineError, match="do not fit a molecule of 1 atoms"):
        create_engine("harmonic", '{"bonds": [[0, 1, 1, 0.1]], "charges": [0]}', [2], 0, 1)
