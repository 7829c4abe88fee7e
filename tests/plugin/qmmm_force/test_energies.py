"""Energies of QMMMForce against other programs, and what must not change them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.engines.libxtb import single_point
from tests.support.platforms import accuracy
from tests.support.qmmm.systems import ETHANOL, ETHANOL_NUMBERS, make_case

BOHR = 0.0529177210903  # nm, CODATA 2018
HARTREE = 2625.4996394798254  # kJ/mol
TOLERANCE = 1e-8 * HARTREE


@pytest.mark.parametrize("method", ["GFN2", "GFN1"])
@pytest.mark.parametrize("charge, multiplicity", [(0, 1), (1, 2), (-1, 2), (0, 3)])
def test_vacuum_agrees_with_libxtb(method, charge, multiplicity):
    case = make_case(engine=f"{method.lower()}-xtb", charge=charge, multiplicity=multiplicity)
    energy, gradient, _, charges = single_point(
        ETHANOL_NUMBERS, ETHANOL / BOHR, charge, multiplicity - 1, method=method
    )
    assert case.energy() == pytest.approx(energy * HARTREE, abs=TOLERANCE)
    assert case.forces() == pytest.approx(-gradient * HARTREE / BOHR, abs=1e-3)
    assert case.result().charges == pytest.approx(charges, abs=1e-6)


@pytest.mark.parametrize("method", ["GFN2", "GFN1"])
def test_embedded_agrees_with_libxtb(method, force_platform):
    case = make_case(engine=f"{method.lower()}-xtb", num_waters=334, platform=force_platform.getName())
    energy, result = case.energy(), case.result()
    charges = case.force.getEmbeddingCharges().getCharges()[1]
    # What the platform stores in single precision is the geometry, so the comparison is at that geometry.
    assert result.positions == pytest.approx(ETHANOL, abs=1e-7)
    reference, gradient, charge_gradient, _ = single_point(
        ETHANOL_NUMBERS,
        result.positions / BOHR,
        charges=charges,
        charge_positions=result.environmentPositions / BOHR,
        method=method,
    )
    assert result.energy == pytest.approx(reference * HARTREE, abs=TOLERANCE)
    # Energies of GPUs pass through sums in single precision.
    in_double = accuracy(force_platform).energy < 1e-9
    assert energy == pytest.approx(reference * HARTREE, abs=TOLERANCE if in_double else 1e-2)
    assert result.forces == pytest.approx(-gradient * HARTREE / BOHR, abs=1e-3)
    assert result.environmentForces == pytest.approx(-charge_gradient * HARTREE / BOHR, abs=1e-3)
    forces = case.forces()
    single = 1e-3 if in_double else 1e-2
    assert forces[:9] == pytest.approx(result.forces, abs=single)
    assert forces[9:] == pytest.approx(result.environmentForces, abs=single)


def test_vacuum_agrees_with_python_interface_of_xtb():
    interface = pytest.importorskip("xtb.interface")
    calculator = interface.Calculator(interface.Param.GFN2xTB, np.array(ETHANOL_NUMBERS), ETHANOL / BOHR)
    calculator.set_verbosity(0)
    calculator.set_accuracy(0.01)
    result = calculator.singlepoint()
    case = make_case()
    assert case.energy() == pytest.approx(result.get_energy() * HARTREE, abs=TOLERANCE)
    assert case.result().dipole == pytest.approx(result.get_dipole() * BOHR, abs=1e-7)


def test_potential_of_the_environment():
    case = make_case(num_waters=50)
    case.energy()
    result = case.result()
    coulomb = 138.93545764438198
    delta = result.positions[:, None] - result.environmentPositions[None]
    distance = np.linalg.norm(delta, axis=2)
    assert result.potential == pytest.approx(coulomb * (result.environmentCharges / distance).sum(axis=1), rel=1e-9)
    gradient = -coulomb * ((result.environmentCharges / distance**3)[..., None] * delta).sum(axis=1)
    assert result.potentialGradient == pytest.approx(gradient, rel=1e-9)


def test_dipole_of_an_ion_follows_the_origin():
    ion = make_case(numbers=[8, 1], solute=np.array([[0.0, 0.0, 0.0], [0.097, 0.0, 0.0]]), charge=-1)
    ion.energy()
    before = ion.result().dipole
    ion.energy(ion.positions + 1.0)
    assert ion.result().dipole == pytest.approx(before - 1.0, abs=1e-6)


@pytest.mark.parametrize("engine", ["gfn2-xtb", "gfn1-xtb"])
def test_response_to_a_uniform_field(engine):
    """Two far charges make a nearly uniform field; to first order the energy changes by -dipole * field.

    libxtb couples point charges to the Mulliken charges alone, so the dipole that responds is theirs and not the dipole
    moment that it reports.
    """
    far, charge = 40.0, 500.0
    direction = np.array([0.6, 0.64, 0.48])
    energies = [
        make_case(
            engine=engine, extra=[far * direction, -far * direction], extra_charges=[-sign * charge, sign * charge]
        ).energy()
        for sign in (1, -1)
    ]
    case = make_case(engine=engine)
    case.energy()
    result = case.result()
    field = 2 * 138.93545764438198 * charge / far**2 * direction
    response = (energies[0] - energies[1]) / 2
    assert response == pytest.approx(-result.charges @ result.positions @ field, rel=2e-3)


def test_images_do_not_matter():
    """Moving waters by box vectors, or breaking molecules at the box, leaves energy and forces alone."""
    box = np.array([[2.0, 0.0, 0.0], [0.3, 2.1, 0.0], [-0.4, 0.5, 1.95]])
    case = make_case(num_waters=220, cutoff=0.9, box=box, spacing=0.33)
    energy, forces = case.energy(), case.forces()
    rng = np.random.default_rng(5)
    waters = case.positions.copy()
    waters[9:] += np.repeat(rng.integers(-3, 4, (220, 3)), 3, axis=0) @ box
    atoms = case.positions + rng.integers(-3, 4, case.positions.shape) @ box
    for moved in (waters, atoms):
        assert case.energy(moved) == pytest.approx(energy, abs=TOLERANCE)
        assert case.forces(moved) == pytest.approx(forces, abs=1e-3)


def test_energy_is_continuous_where_images_come_and_go():
    """A water that crosses the box changes its nearest image without a jump, even in a box too small for one image."""
    solute = np.stack([np.linspace(0, 0.9, 8), np.zeros(8), np.zeros(8)], axis=1) + 0.3
    settings = {"charges": [0.5, 0, 0, 0, 0, 0, 0, -0.5]}
    case = make_case(
        numbers=[6] * 8,
        solute=solute,
        extra=[[0.0, 0.3, 0.3]],
        extra_charges=[0.8],
        box=np.eye(3) * 1.8,
        cutoff=0.85,
        switching_distance=0.6,
        engine="test-analytic",
        settings=settings,
    )
    energies, forces = [], []
    step = 1e-3
    for place in np.arange(0.0, 1.8, step):
        positions = case.positions.copy()
        positions[8, :2] = place, 0.6
        energies.append(case.energy(positions))
        forces.append(case.forces(positions)[8, 0])
    work = -step * (np.array(forces[1:]) + np.array(forces[:-1])) / 2
    assert np.diff(energies) == pytest.approx(work, abs=1e-4)


def test_warm_and_cold_start_agree():
    case = make_case(num_waters=50)
    rng = np.random.default_rng(2)
    for _ in range(5):
        case.positions += rng.normal(scale=0.002, size=case.positions.shape)
        warm, warm_forces = case.energy(), case.forces()
        case.force.reset(case.context)
        assert case.energy() == pytest.approx(warm, abs=TOLERANCE)
        assert case.forces() == pytest.approx(warm_forces, abs=2e-3)


def test_reset_makes_results_independent_of_the_past():
    case, other = make_case(num_waters=20), make_case(num_waters=20)
    case.energy(case.positions * 1.02)
    case.force.reset(case.context)
    assert case.energy() == other.energy()
    assert np.array_equal(case.forces(), other.forces())


def test_repeated_questions_cost_no_calculation(force_platform):
    case = make_case(num_waters=20, box=np.eye(3) * 2.5, cutoff=1.0, platform=force_platform.getName())
    case.energy()
    for _ in range(3):
        case.energy()
        case.forces()
    assert case.force.getNumCalls(case.context) == 1
    assert case.force.getTime(case.context)._value > 0
    moved = case.positions.copy()
    moved[0, 0] += 1e-4
    case.energy(moved)
    assert case.force.getNumCalls(case.context) == 2
    case.context.setPeriodicBoxVectors([2.6, 0, 0], [0, 2.6, 0], [0, 0, 2.6])
    case.energy(moved)
    assert case.force.getNumCalls(case.context) == 3


def test_no_embedding_is_mechanical_embedding():
    case = make_case()
    case.energy()
    result = case.result()
    assert result.environmentParticles.size == 0 and result.environmentForces.shape == (0, 3)
    assert np.all(result.potential == 0)


def test_contexts_in_several_threads():
    """libxtb is not made for threads; the plugin lets one in at a time, also with more OpenMP threads of its own."""
    expected = make_case(num_waters=20).energy()
    cases = [make_case(num_waters=20, settings={"threads": threads}) for threads in (1, 2, 1)]

    def run(case):
        for _ in range(10):
            case.force.reset(case.context)
            assert case.energy() == pytest.approx(expected, abs=TOLERANCE)
        return case.force.getNumCalls(case.context)

    with ThreadPoolExecutor(len(cases)) as pool:
        assert list(pool.map(run, cases)) == [10, 10, 10]
