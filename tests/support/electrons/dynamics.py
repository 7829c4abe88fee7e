"""A short propagation with a kick and a pulse, for tests of trajectories."""

from __future__ import annotations

from typing import Any

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    GaussianEnvelope,
    LevelOfTheory,
    Magnus2,
    Pulse,
)
from tests.support.electrons.systems import HYDROXYL, WATER

PULSE = Pulse(0.02, GaussianEnvelope(3.0, 1.0), (1, 1, 0), frequency=0.4)
KICK = DeltaKick(0.01, (1, 1, 1))
HF = LevelOfTheory("rhf", "sto-3g")


def dynamics(scheme: str = "cfm4", level: LevelOfTheory = HF, **options: Any) -> ElectronDynamics:
    propagator = {"cfm4": CFM4, "magnus2": Magnus2}[scheme](0.2)
    settings = {"kick": KICK, "field": PULSE, **options}
    molecule = settings.pop("molecule", WATER if level.is_restricted else HYDROXYL)
    return ElectronDynamics(molecule, level, settings.pop("propagator", propagator), **settings)
