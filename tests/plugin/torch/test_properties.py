"""What every force must do, of TorchScriptForce: in vacuum, in the field of charges, in a box, with link atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openmm
from numpy.typing import NDArray

from openmmkstep import EmbeddingCharges, LinkAtom, TorchScriptForce
from tests.plugin.torch.test_torchscript_force import NUMBERS, PARTICLES, environment
from tests.suites.force import ForceProperties, IsolatedForceProperties
from tests.support.models.archives import COUPLED, Coupled, PairEnergy, PairEnergyAndForces, archive, contract

PLAIN = archive(PairEnergyAndForces(), contract())
ENERGY_ONLY = archive(PairEnergy(), contract(outputs=["energy"]))
IN_FIELDS = archive(Coupled(), contract(**COUPLED))


class TorchScriptForceProperties(ForceProperties):
    kind = TorchScriptForce
    relative = 1e-7
    # The first calls of a module are interpreted, later ones may be fused: sums in another order.
    exact = 1e-13
    # Names code to run, and so is no part of a copy: test_compiled_surrogate.py.
    fixed = frozenset({"getCompiledPackage"})

    def force(self) -> TorchScriptForce:
        return TorchScriptForce(PLAIN, PARTICLES, NUMBERS)

    def embedding(self, whole: EmbeddingCharges, cut: EmbeddingCharges) -> EmbeddingCharges | None:
        """Which of environment()'s charges the model is in the field of."""
        return None

    def create(self) -> tuple[openmm.System, openmm.Force, NDArray[np.float64]]:
        system, positions, whole, cut = environment()
        force, charges = self.force(), self.embedding(whole, cut)
        if charges is not None:
            force.setEmbeddingCharges(charges)
        system.addForce(force)
        return system, force, positions

    def plain(self) -> openmm.Force:
        return TorchScriptForce(PLAIN, PARTICLES, NUMBERS)

    def everything(self) -> openmm.Force:
        force = TorchScriptForce(IN_FIELDS, [2, 0, 1], [8, 6, 1], [LinkAtom(0, 3, 0.7)], [(0, 2)])
        force.setEmbeddingCharges(environment()[3])
        force.setNumThreads(2)
        force.setForceGroup(7)
        force.setName("surrogate")
        return force


class TestVacuum(IsolatedForceProperties, TorchScriptForceProperties):
    """Particles that the model does not know are left alone."""

    def particles(self, positions: NDArray[np.float64]) -> Sequence[int]:
        return PARTICLES


class TestEnergyAlone(TestVacuum):
    """Forces by automatic differentiation."""

    def force(self) -> TorchScriptForce:
        return TorchScriptForce(ENERGY_ONLY, PARTICLES, NUMBERS)


class InFields(TorchScriptForceProperties):
    def force(self) -> TorchScriptForce:
        return TorchScriptForce(IN_FIELDS, PARTICLES, NUMBERS)


class TestAllCharges(IsolatedForceProperties, InFields):
    def embedding(self, whole: EmbeddingCharges, cut: EmbeddingCharges) -> EmbeddingCharges | None:
        return whole


class TestInABox(InFields):
    def embedding(self, whole: EmbeddingCharges, cut: EmbeddingCharges) -> EmbeddingCharges | None:
        return cut


class TestLinkAtom(IsolatedForceProperties, TorchScriptForceProperties):
    """The last of the four atoms stands on a bond to particle 6."""

    def force(self) -> TorchScriptForce:
        return TorchScriptForce(IN_FIELDS, PARTICLES[:3], NUMBERS[:3], [LinkAtom(3, 6, 0.7)])

    def embedding(self, whole: EmbeddingCharges, cut: EmbeddingCharges) -> EmbeddingCharges | None:
        return whole
