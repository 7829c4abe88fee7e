"""An engine in Python that tells what it was asked, and small systems around it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep import EmbeddingCharges, QMMMForce
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError, QMOutput

POSITIONS = np.array([[0.0, 0.0, 0.0], [0.11, 0.0, 0.0], [0.6, 0.1, 0.0], [0.0, 0.5, 0.2]])
FADING = {"embeddingCharges": EmbeddingCharges([2, 3], [0.3, -0.2], [0, 1], 0.7, 0.4)}


class Spy:
    """A spring between two atoms that tells what it was asked, and does what the test says before it answers."""

    made: ClassVar[list[weakref.ref[Spy]]] = []
    act: ClassVar[Callable[[Spy], Any] | None] = None
    spoil: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, stiffness: float = 4e4) -> None:
        self.stiffness = stiffness
        self.asked: list[str] = []
        self.molecule: Any = None
        self.arguments: Any = None
        Spy.made.append(weakref.ref(self))

    def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
        self.asked.append("check")
        self.molecule = (list(numbers), charge, multiplicity)
        if 54 in list(numbers):
            raise EngineError("xenon is beyond this engine")

    def describe(self) -> dict[str, Any]:
        return {"stiffness": self.stiffness}

    def reset(self) -> None:
        self.asked.append("reset")
        if Spy.act is not None:
            Spy.act(self)

    def compute(self, positions: Any, charge_positions: Any, charges: Any, needs_potential: Any) -> QMOutput:
        self.asked.append("compute")
        self.arguments = [positions, charge_positions, charges, needs_potential]
        if Spy.act is not None:
            Spy.act(self)
        apart = positions[0] - positions[1]
        length = float(np.linalg.norm(apart))
        slope = self.stiffness * (length - 0.1) * apart / length
        gradient = np.zeros_like(positions)
        gradient[:2] = slope, -slope
        answer = {
            "energy": 0.5 * self.stiffness * (length - 0.1) ** 2,
            "gradient": gradient,
            "charge_gradient": np.zeros((len(charges), 3)),
            "potential_at_charges": np.zeros(len(charges)),
            "atomic_charges": np.zeros(len(positions)),
            "dipole": np.zeros(3),
        }
        return QMOutput(**{**answer, **Spy.spoil})


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only engine there is, with nothing asked yet."""
    monkeypatch.setattr(registry, "_registered", {"spy": Spy})
    monkeypatch.setattr(Spy, "made", [])
    monkeypatch.setattr(Spy, "act", None)
    monkeypatch.setattr(Spy, "spoil", {})


def system_of(**options: Any) -> openmm.System:
    """Two atoms and two charges; the engine stands in group 2."""
    system = openmm.System()
    for _ in POSITIONS:
        system.addParticle(1.0)
    force = QMMMForce([0, 1], [1, 1], "spy", **options)
    force.setForceGroup(2)
    force.setName("the region")
    system.addForce(force)
    return system


def context_of(
    platform: openmm.Platform, integrator: openmm.Integrator | None = None, **options: Any
) -> openmm.Context:
    context = openmm.Context(system_of(**options), integrator or openmm.VerletIntegrator(0.001), platform)
    context.setPositions(POSITIONS)
    return context


def energy_of(context: openmm.Context) -> float:
    return context.getState(energy=True, forces=True).getPotentialEnergy()._value


def forces_of(context: openmm.Context) -> NDArray[np.float64]:
    forces: NDArray[np.float64] = context.getState(forces=True).getForces(asNumpy=True)._value
    return forces


def engine(index: int = -1) -> Spy:
    """One that is alive."""
    found = Spy.made[index]()
    assert found is not None
    return found


def raising(error: BaseException) -> Callable[[Spy], None]:
    def act(_: Spy) -> None:
        raise error

    return act
