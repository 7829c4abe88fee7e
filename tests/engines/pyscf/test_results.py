"""Energies and gradients against PySCF's own modules, and in a Context against the engine by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import openmm
import pytest

from kstep_models.units import KJ_MOL_PER_HARTREE, NM_PER_BOHR
from openmmkstep import EmbeddingCharges, QMMMForce
from openmmkstep.engines.protocol import QMEngine, QMOutput
from openmmkstep.engines.registry import create_engine
from tests.engines.pyscf.test_properties import FORMALDEHYDE
from tests.support.finite_differences import assert_close_vectors, derivative

pyscf = pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")

NUMBERS = [8, 6, 1, 1]
RANDOM = np.random.default_rng(5)
PLACES = FORMALDEHYDE.mean(axis=0) + 0.45 * (lambda d: d / np.linalg.norm(d, axis=1)[:, None])(
    RANDOM.normal(size=(40, 3))
)
CHARGES = RANDOM.normal(scale=0.3, size=40)


def engine(numbers: list[int] = NUMBERS, charge: int = 0, multiplicity: int = 1, **settings: Any) -> QMEngine:
    return create_engine("pyscf", json.dumps({"conv_tol": 1e-12, **settings}), numbers, charge, multiplicity)


def compute(made: QMEngine, positions: Any = FORMALDEHYDE, places: Any = PLACES, charges: Any = CHARGES) -> QMOutput:
    return made.compute(np.array(positions), np.array(places), np.array(charges), np.ones(len(charges), dtype=bool))


@pytest.mark.parametrize(("xc", "density_fit"), [("hf", True), ("hf", False), ("pbe0", True)])
def test_in_charges_against_pyscf_qmmm(xc: str, density_fit: bool) -> None:
    import pyscf.qmmm

    # Lengths in bohr on both sides: PySCF's own ratio to the angstrom is of another year.
    places = [*zip("OCHH", FORMALDEHYDE / NM_PER_BOHR, strict=True)]
    mol = pyscf.gto.M(atom=places, basis="6-31g", unit="Bohr", verbose=0)
    mean_field = pyscf.scf.RHF(mol) if xc == "hf" else pyscf.dft.RKS(mol, xc=xc)
    if density_fit:
        mean_field = mean_field.density_fit()
    mean_field = pyscf.qmmm.mm_charge(mean_field, PLACES / NM_PER_BOHR, CHARGES, unit="Bohr")
    mean_field.conv_tol = 1e-12
    mean_field.small_rho_cutoff = 0
    expected = mean_field.kernel()
    gradients = mean_field.nuc_grad_method()
    gradients.verbose = 0
    if xc != "hf":
        gradients.grid_response = True
    on_atoms = gradients.kernel()
    on_charges = gradients.grad_hcore_mm(mean_field.make_rdm1()) + gradients.grad_nuc_mm()
    output = compute(engine(xc=xc, basis="6-31g", density_fit=density_fit))
    assert output.energy / KJ_MOL_PER_HARTREE == pytest.approx(expected, abs=1e-9)
    factor = KJ_MOL_PER_HARTREE / NM_PER_BOHR
    np.testing.assert_allclose(output.gradient / factor, on_atoms, atol=1e-7)
    np.testing.assert_allclose(output.charge_gradient / factor, on_charges, atol=1e-7)
    dipole = pyscf.scf.hf.dip_moment(mol, mean_field.make_rdm1(), unit="AU", verbose=0)
    np.testing.assert_allclose(output.dipole / NM_PER_BOHR, dipole, atol=1e-6)
    mulliken = pyscf.scf.hf.mulliken_pop(mol, mean_field.make_rdm1(), mean_field.get_ovlp(), verbose=0)[1]
    np.testing.assert_allclose(output.atomic_charges, mulliken, atol=1e-6)


def test_many_charges_in_blocks() -> None:
    whole = compute(engine(xc="hf", basis="sto-3g"))
    small = engine(xc="hf", basis="sto-3g", max_memory=1)
    blocks = compute(small)
    assert blocks.energy == pytest.approx(whole.energy, abs=1e-8)
    np.testing.assert_allclose(blocks.charge_gradient, whole.charge_gradient, atol=1e-6)
    np.testing.assert_allclose(blocks.potential_at_charges, whole.potential_at_charges, atol=1e-8)


def test_what_else_the_process_holds_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compute(engine(xc="pbe", basis="6-31g"))
    monkeypatch.setattr(pyscf.lib, "current_memory", lambda: (9000.0, 9000.0))
    second = compute(engine(xc="pbe", basis="6-31g"))
    assert second.energy == first.energy
    np.testing.assert_array_equal(second.gradient, first.gradient)


def test_effective_core_potential() -> None:
    """Hydrogen iodide: the basis set's own potential, and forces through it."""
    x = np.array([[0.001, 0.0, 0.002], [0.01, 0.161, -0.004]])
    made = engine([53, 1], xc="hf", basis="def2-svp")
    output = compute(made, x)
    # The core of 28 electrons is not there.
    all_electrons = engine([53, 1], xc="hf", basis={"I": "sto-3g", "H": "sto-3g"})
    assert output.energy / KJ_MOL_PER_HARTREE == pytest.approx(-297.5, abs=1.0)
    assert compute(all_electrons, x).energy / KJ_MOL_PER_HARTREE < -6000
    slope = derivative(lambda moved: compute(made, moved).energy, x, 1e-4, rows=[1])[0]
    np.testing.assert_allclose(output.gradient[1], slope, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("guess", ["last", "learned"])
def test_the_guess_saves_iterations_and_changes_nothing(guess: str) -> None:
    fresh, other = (engine(xc="hf", basis="6-31g", conv_tol=1e-10, initial_guess=name) for name in ("fresh", guess))
    motion = RANDOM.normal(scale=0.0004, size=(4, 3))
    calls = [[compute(each, FORMALDEHYDE + step * motion) for step in range(8)] for each in (fresh, other)]
    for one, two in zip(*calls, strict=True):
        assert one.energy == pytest.approx(two.energy, abs=1e-5)
        np.testing.assert_allclose(one.gradient, two.gradient, atol=0.05)
    assert sum(c.iterations for c in calls[1][3:]) < {"last": 0.95, "learned": 0.6}[guess] * sum(
        c.iterations for c in calls[0][3:]
    )


@pytest.mark.parametrize("xc", ["hf", "pbe0"])
def test_in_a_context_as_by_hand(xc: str) -> None:
    """With charges that are switched off."""
    settings = {"xc": xc, "basis": "sto-3g"}
    system = openmm.System()
    for _ in range(4 + len(CHARGES)):
        system.addParticle(10.0)
    embedding = EmbeddingCharges(range(4, 44), CHARGES, cutoff=0.7, switchingDistance=0.3)
    force = QMMMForce(range(4), NUMBERS, "pyscf", settings={"conv_tol": 1e-12, **settings}, embeddingCharges=embedding)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    positions = np.concatenate([FORMALDEHYDE, PLACES])
    context.setPositions(positions)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    result = force.getLastResult(context)
    by_hand = engine(**settings).compute(
        result.positions,
        result.environmentPositions,
        result.environmentCharges,
        np.ones(len(result.environmentCharges), dtype=bool),
    )
    assert abs(energy - by_hand.energy) / KJ_MOL_PER_HARTREE < 1e-8
    np.testing.assert_allclose(result.forces, -by_hand.gradient, atol=1e-2)
    np.testing.assert_allclose(result.environmentForces, -by_hand.charge_gradient, atol=1e-2)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value

    def energy_at(moved: np.ndarray) -> float:
        context.setPositions(moved)
        return float(context.getState(energy=True).getPotentialEnergy()._value)

    some = [0, 10] if xc == "hf" else [2]
    expected = -derivative(energy_at, positions, 1e-4, rows=some)
    assert_close_vectors(forces[some], expected, 1e-5, 1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"xc": "pbe", "dispersion": "d3bj"},
        {"xc": "hf", "dispersion": "d4"},
        # Range separation, kinetic energy density, and non-local correlation on a grid of its own.
        pytest.param({"xc": "wb97m-v"}, marks=pytest.mark.slow),
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_forces_of_dispersion_are_derivatives(settings: dict[str, Any]) -> None:
    if "dispersion" in settings:
        pytest.importorskip("pyscf.dispersion", reason="not installed: pip install 'openmm-kstep[pyscf]'")
    made = engine([8, 1, 1], basis="sto-3g", grid_level=0, **settings)
    x = np.array([[0.001, 0.002, 0.0117], [0.0765, 0.003, -0.0469], [-0.0757, 0.0012, -0.0472]])
    output = compute(made, x)
    slope = derivative(lambda moved: compute(made, moved).energy, x, 1e-4, rows=[1])[0]
    # To the threshold of the orbital gradient, 1e-7 hartree/bohr.
    np.testing.assert_allclose(output.gradient[1], slope, rtol=1e-5, atol=1e-2)


def test_dispersion_is_that_of_its_program() -> None:
    dispersion = pytest.importorskip(
        "pyscf.dispersion.dftd3", reason="not installed: pip install 'openmm-kstep[pyscf]'"
    )
    mol = pyscf.gto.M(atom=list(zip("OCHH", FORMALDEHYDE * 10, strict=True)), basis="sto-3g", verbose=0)
    expected = dispersion.DFTD3Dispersion(mol, "hf", "d3bj").get_dispersion()["energy"]
    bare, corrected = (compute(engine(xc="hf", basis="sto-3g", dispersion=name)).energy for name in (None, "d3bj"))
    # PySCF's bohr is of another year.
    assert (corrected - bare) / KJ_MOL_PER_HARTREE == pytest.approx(expected, abs=1e-8)
