"""The engines in C++, called without a Context, keep the promises of an engine; xTB as libxtb itself computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import unit

from kstep_models.units import COULOMB, EV_PER_HARTREE, KJ_MOL_PER_EV
from openmmkstep import EmbeddingCharges, QMMMForce, SinglePoint
from openmmkstep.engines.checked import CheckedEngine
from openmmkstep.engines.protocol import EngineError, Orbitals
from openmmkstep.engines.xtb import use_library
from tests.suites.engine import FAR, EngineProperties
from tests.support.engines import libxtb

Array = NDArray[np.float64]

NM_PER_BOHR = 0.0529177210903
KJ_MOL_PER_HARTREE = EV_PER_HARTREE * KJ_MOL_PER_EV
WATER = np.array([[0.0, 0.0, 0.0], [0.099, 0.002, 0.003], [-0.024, 0.093, 0.01]])
CHARGES = np.array([[0.3, 0.11, 0.2], [-0.21, -0.2, 0.33]]), np.array([0.5, -0.4])


class NativeEngineProperties(EngineProperties):
    def settings(self) -> dict[str, Any]:
        return {}

    def numbers(self) -> list[int]:
        return [8, 1, 1]

    def geometry(self) -> Array:
        return WATER

    def engine(self) -> CheckedEngine:
        alone = SinglePoint(self.name, self.numbers(), self.charge, self.multiplicity, **self.settings())
        assert isinstance(alone._engine, CheckedEngine)
        return alone._engine


class TestGFN2(NativeEngineProperties):
    """Converged as tightly as libxtb does; what two calculations of one geometry leave is 1e-7 of the largest entry."""

    name = "gfn2-xtb"
    derivative = 5e-6
    step = 2e-5
    symmetry = 1e-6
    start = 1e-6

    def settings(self) -> dict[str, Any]:
        return {"accuracy": 1e-4}

    def test_dipole_and_units(self) -> None:
        """Point charges act on atomic charges alone in these methods, the dipole has atomic dipoles besides."""
        output = self.compute(places=FAR * np.concatenate([np.eye(3), -np.eye(3)]), values=np.ones(6))
        there, opposite = output.potential_at_charges[:3], output.potential_at_charges[3:]
        self.assert_same((there + opposite) / 2, np.full(3, COULOMB * self.charge / FAR), self.far, "charge")
        expected = output.atomic_charges @ self.geometry()
        np.testing.assert_allclose((there - opposite) / 2 * FAR**2 / COULOMB, expected, rtol=0, atol=1e-4 * 0.05)


class TestGFN1(TestGFN2):
    name = "gfn1-xtb"


class TestACationRadical(TestGFN2):
    charge = 1
    multiplicity = 2


class TestAnalytic(NativeEngineProperties):
    name = "test-analytic"

    def settings(self) -> dict[str, Any]:
        bonds = [{"atoms": [0, i], "k": 4e5, "length": 0.096} for i in (1, 2)]
        flux = [{"atoms": [0, i], "slope": 1.5, "length": 0.096} for i in (1, 2)]
        return {"harmonic": bonds, "flux": flux, "charges": [-0.8, 0.4, 0.4]}


@pytest.mark.parametrize("method", ["gfn2-xtb", "gfn1-xtb"])
def test_numbers_are_those_of_libxtb(method: str) -> None:
    places, values = CHARGES
    energy, gradient, charge_gradient, atomic_charges = libxtb.single_point(
        [8, 1, 1],
        WATER / NM_PER_BOHR,
        charges=values,
        charge_positions=places / NM_PER_BOHR,
        method=method[:4].upper(),
    )
    result = SinglePoint(method, [8, 1, 1]).compute(WATER, places, values)
    # Self-consistent to an accuracy of 0.01: 1e-8 hartree, and charges to 1e-6 e.
    force = KJ_MOL_PER_HARTREE / NM_PER_BOHR
    assert result.energy == pytest.approx(energy * KJ_MOL_PER_HARTREE, abs=1e-8 * KJ_MOL_PER_HARTREE)
    np.testing.assert_allclose(result.forces, -gradient * force, rtol=0, atol=1e-6 * force)
    np.testing.assert_allclose(result.charge_forces, -charge_gradient * force, rtol=0, atol=1e-6 * force)
    np.testing.assert_allclose(result.atomic_charges, atomic_charges, rtol=0, atol=1e-6)
    assert result.potential is None and result.iterations == -1


def test_orbitals_and_dipole_are_those_of_the_python_package_of_xtb() -> None:
    interface = pytest.importorskip("xtb.interface", reason="pip install xtb==22.1")
    from xtb.libxtb import VERBOSITY_MUTED

    calculator = interface.Calculator(interface.Param.GFN2xTB, np.array([8, 1, 1]), WATER / NM_PER_BOHR)
    calculator.set_verbosity(VERBOSITY_MUTED)
    calculator.set_accuracy(0.01)
    expected = calculator.singlepoint()
    result = SinglePoint("gfn2-xtb", [8, 1, 1]).compute(WATER)
    np.testing.assert_allclose(result.dipole, expected.get_dipole() * NM_PER_BOHR, rtol=0, atol=1e-7)
    orbitals = result.orbitals
    assert orbitals is not None
    energies = expected.get_orbital_eigenvalues() * KJ_MOL_PER_HARTREE
    np.testing.assert_allclose(orbitals.energies, [energies], rtol=0, atol=1e-6 * KJ_MOL_PER_HARTREE)
    np.testing.assert_allclose(orbitals.occupations, [expected.get_orbital_occupations()], atol=1e-9)
    assert orbitals.homo == orbitals.energies[0, 3] and orbitals.lumo == orbitals.energies[0, 4]
    # Published for GFN2-xTB: the highest occupied orbital of water is at -12.1 to -12.2 eV.
    assert -12.3 < orbitals.homo / KJ_MOL_PER_EV < -12.0
    assert orbitals.gap == pytest.approx(energies[4] - energies[3])


def test_frontier_orbitals_of_two_spins() -> None:
    orbitals = Orbitals(np.array([[-5.0, -2.0, 1.0], [-4.5, -1.0, 2.0]]), np.array([[1.0, 1, 0], [1, 0, 0]]))
    assert (orbitals.homo, orbitals.lumo, orbitals.gap) == (-2.0, -1.0, 1.0)


def test_nothing_is_left_after_a_flat_molecule() -> None:
    """At which the plugin turns libxtb's coordinates: the turn is forgotten with the density."""
    water = SinglePoint("gfn2-xtb", [8, 1, 1])
    first = water.compute(WATER)
    water.compute(WATER * [1, 1, 0])
    water.reset()
    again = water.compute(WATER)
    assert again.energy == first.energy
    np.testing.assert_array_equal(again.forces, first.forces)


def test_orbitals_belong_to_a_calculation() -> None:
    water = SinglePoint("gfn2-xtb", [8, 1, 1])
    assert water._engine.orbitals() is None
    water.compute(WATER)
    assert water._engine.orbitals() is not None
    water.reset()
    assert water._engine.orbitals() is None
    assert SinglePoint("test-analytic", [2]).compute([[0, 0, 0]]).orbitals is None


def test_quantities_and_potentials() -> None:
    water, (places, values) = SinglePoint("GFN2-xTB", [8, 1, 1]), CHARGES
    angstrom = unit.Quantity(10 * WATER, unit.angstrom)
    result = water.compute(angstrom, unit.Quantity(places, unit.nanometer), values, potential=True)
    water.reset()
    assert water.compute(WATER, places, values).energy == pytest.approx(result.energy, abs=1e-5)
    assert result.potential is not None and result.potential.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WATER[:2],), r"positions must have the shape \[3, 3\], got \[2, 3\]"),
        ((WATER * np.nan,), "positions are not finite"),
        (([["a", 0, 0]] * 3,), "positions are no array of numbers"),
        ((WATER, CHARGES[0]), "belong together"),
        ((WATER, CHARGES[0], [0.5]), r"charge_positions must have the shape \[1, 3\], got \[2, 3\]"),
        ((WATER, WATER[:1], [0.5]), "a point charge stands on an atom"),
    ],
)
def test_bad_arrays(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        SinglePoint("gfn2-xtb", [8, 1, 1]).compute(*arguments)


@pytest.mark.parametrize(
    ("molecule", "message"),
    [
        (([],), "at least one atom"),
        (([8, 0],), r"\[0\] are no atomic numbers"),
        (([8.5],), "atomic numbers must be integers"),
        (([8, 1],), "9 electrons cannot have 0 unpaired. With this charge the multiplicity must be even"),
        (([1], 2), "impossible with -1 electrons"),
        (([8], 0.0), "charge must be an integer, got 0.0"),
        (([8], 0, 0), "multiplicity must be at least 1"),
        (([92],), "xTB covers the elements up to Z = 86"),
        (([60], 0, 1), "f electrons of element 60"),
    ],
)
def test_impossible_molecules(molecule: tuple[Any, ...], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        SinglePoint("gfn2-xtb", *molecule)


def test_unknown_engines_and_settings() -> None:
    with pytest.raises(EngineError, match="did you mean 'gfn2-xtb'"):
        SinglePoint("gfn2xtb", [8, 1, 1])
    with pytest.raises(EngineError, match="has no setting 'acuracy': did you mean 'accuracy'"):
        SinglePoint("gfn2-xtb", [8, 1, 1], acuracy=1)


def test_failures_are_told() -> None:
    with pytest.raises(EngineError, match=r"engine 'gfn2-xtb': OpenMMException: gfn2-xtb: the calculation failed"):
        SinglePoint("gfn2-xtb", [8, 1, 1], max_iterations=1, accuracy=1e-4).compute(WATER)


def test_another_libxtb_is_too_late_once_one_is_in_use() -> None:
    SinglePoint("gfn2-xtb", [8, 1, 1])
    with pytest.raises(openmm.OpenMMException, match="libxtb is in use already"):
        use_library("/nowhere")


@pytest.mark.parametrize("method", ["gfn2-xtb", "gfn1-xtb"])
def test_alone_as_in_a_context(method: str, reference: openmm.Platform) -> None:
    places, values = CHARGES
    system = openmm.System()
    for _ in range(5):
        system.addParticle(1.0)
    system.addForce(QMMMForce(range(3), [8, 1, 1], method, embeddingCharges=EmbeddingCharges([3, 4], values)))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(np.concatenate([WATER, places]))
    state = context.getState(energy=True, forces=True)
    alone = SinglePoint(method, [8, 1, 1]).compute(WATER, places, values)
    assert alone.energy == pytest.approx(state.getPotentialEnergy()._value, abs=1e-8 * KJ_MOL_PER_HARTREE)
    forces = state.getForces(asNumpy=True)._value
    np.testing.assert_allclose(np.concatenate([alone.forces, alone.charge_forces]), forces, rtol=0, atol=1e-6)
