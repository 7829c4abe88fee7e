"""What every force must do, of QMMMForce: in vacuum, among charges, in a box, with link atoms, of every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from kstep_models.units import COULOMB
from openmmkstep import FarFieldForce, QMMMForce
from openmmkstep.engines import registry
from tests.suites.force import ForceProperties, IsolatedForceProperties
from tests.support.engines.example import register_harmonic_engine
from tests.support.platforms import Accuracy
from tests.support.qmmm.systems import ANALYTIC, ENGINES, ETHANOL, TRICLINIC, full_force, make_system

LINKED_CHARGES = [-0.1, 0.1, -0.6, 0.1, 0.1, 0.2, 0.1, 0.3, -0.2]


class QMMMForceProperties(ForceProperties):
    kind = QMMMForce
    fixed = frozenset({"getEngines"})

    def options(self) -> dict[str, Any]:
        """What make_system() makes it of."""
        return dict(ANALYTIC)

    def create(self) -> tuple[openmm.System, openmm.Force, NDArray[np.float64]]:
        return make_system(**self.options())

    def plain(self) -> openmm.Force:
        return QMMMForce([0], [2])

    def everything(self) -> openmm.Force:
        return full_force()


class XTBProperties(QMMMForceProperties):
    # What self-consistency leaves: energies are of second order in the error of the density, forces of first.
    symmetry = Accuracy(1e-9, 1e-7)
    engine = "gfn2"

    def options(self) -> dict[str, Any]:
        return dict(ENGINES[self.engine])


class TestVacuum(IsolatedForceProperties, QMMMForceProperties):
    pass


class TestVacuumWithGFN2(IsolatedForceProperties, XTBProperties):
    pass


class TestVacuumWithGFN1(IsolatedForceProperties, XTBProperties):
    engine = "gfn1"


class TestAmongCharges(IsolatedForceProperties, QMMMForceProperties):
    """Whole molecules fade out between 0.4 and 0.7 nm."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "num_waters": 40, "cutoff": 0.7, "switching_distance": 0.4}


class TestAmongChargesWithGFN2(IsolatedForceProperties, XTBProperties):
    def options(self) -> dict[str, Any]:
        return {**super().options(), "num_waters": 12, "cutoff": 0.6, "switching_distance": 0.4}


class TestInABox(QMMMForceProperties):
    def options(self) -> dict[str, Any]:
        box = {"box": TRICLINIC, "cutoff": 0.95, "switching_distance": 0.6, "spacing": 0.33}
        return {**super().options(), "num_waters": 40, **box}


class FarField(QMMMForceProperties):
    """The Ewald sum of other charges of the force field acts on the method, in a box that is not a cube."""

    # Of the charges on the surface, whose equations are badly conditioned.
    symmetry = Accuracy(1e-8, 1e-6)
    noise = 1e-3

    def create(self) -> tuple[openmm.System, openmm.Force, NDArray[np.float64]]:
        box = {"box": TRICLINIC, "cutoff": 0.7, "switching_distance": 0.5, "num_waters": 30}
        system, alone, positions = make_system(**self.options(), **box)
        numbers, embedding = alone.getAtomicNumbers().tolist(), alone.getEmbeddingCharges()
        beside = FarFieldForce(range(9), numbers, embedding, dict(enumerate(np.linspace(-0.4, 0.3, 9))))
        force = QMMMForce(
            range(9),
            numbers,
            alone.getEngine(),
            settings=alone.getEngineSettings(),
            embeddingCharges=embedding,
            farField=beside,
        )
        system.removeForce(0)
        system.addForce(force)
        return system, force, positions

    def test_its_charges_are_among_those_that_are_seen(self, reference: openmm.Platform) -> None:
        system, force, positions = self.create()
        context = self.place(system, reference, positions)
        self.evaluate(context)
        result = force.getLastResult(context)
        far = result.environmentParticles < 0
        assert np.all(np.diff(far.astype(int)) >= 0) and 100 < np.count_nonzero(far) <= 9 * 32
        delta = result.positions[:, None] - result.environmentPositions[None]
        distances = np.linalg.norm(delta, axis=2)
        assert distances[:, far].min() > 0.3
        potential = COULOMB * (result.environmentCharges / distances).sum(axis=1)
        np.testing.assert_allclose(result.potential, potential, rtol=1e-10)


class TestFarField(FarField):
    pass


class TestFarFieldWithGFN2(FarField, XTBProperties):
    symmetry = Accuracy(1e-8, 1e-6)


class TestEngineInPython(IsolatedForceProperties, QMMMForceProperties):
    """The example's, among charges that fade out."""

    @pytest.fixture(autouse=True)
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "_registered", {})
        register_harmonic_engine()

    def options(self) -> dict[str, Any]:
        bonds = [[0, 1, 3e5, 0.15], [1, 2, 3e5, 0.14], [2, 3, 4e5, 0.1], [0, 6, 3e5, 0.11]]
        settings = {"bonds": bonds, "charges": ANALYTIC["settings"]["charges"]}
        return {"engine": "harmonic", "settings": settings, "num_waters": 12, "cutoff": 0.6, "switching_distance": 0.3}


class LinkAtoms(QMMMForceProperties):
    """The hydroxyl hydrogen and one of the methyl hydrogens stand on bonds to MM carbons."""

    def options(self) -> dict[str, Any]:
        return {
            **super().options(),
            "numbers": [6, 6, 8, 1, 1, 1, 1],
            "solute": ETHANOL[[0, 1, 2, 4, 5, 7, 8]],
            "extra": [[-0.2393, 0.0805, -0.0065], [0.2585, 0.0458, 0.0010]],
            "extra_charges": [0.05, -0.05],
            "num_waters": 20,
            "spacing": 0.36,
            "link_atoms": [(2, 7, 0.66), (0, 8, 0.71)],
            "cutoff": 0.7,
        }

    def test_the_engine_sees_them(self, reference: openmm.Platform) -> None:
        system, force, positions = self.create()
        context = self.place(system, reference, positions)
        self.evaluate(context)
        assert force.getLastResult(context).numbers.tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1]


class TestLinkAtoms(IsolatedForceProperties, LinkAtoms):
    def options(self) -> dict[str, Any]:
        options = super().options()
        return {**options, "settings": {**options["settings"], "charges": LINKED_CHARGES}}


class TestLinkAtomsWithGFN2(IsolatedForceProperties, LinkAtoms, XTBProperties):
    """All charges of the environment are seen."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "cutoff": None}
