"""TorchScriptForce: energies, forces on atoms and charges, contract, serialization, bad input."""

from __future__ import annotations

import copy

import numpy as np
import openmm
import pytest
import torch

from openmmkstep import EmbeddingCharges, TorchScriptForce
from tests.support.models.archives import (
    COUPLED,
    Coupled,
    PairEnergy,
    PairEnergyAndForces,
    Raises,
    Returns,
    archive,
    contract,
)
from tests.support.platforms import accuracy

NUMBERS = [6, 1, 8, 1]
PARTICLES = [1, 0, 3, 6]
BOX = 2.4


def environment(seed: int = 0) -> tuple[openmm.System, np.ndarray, EmbeddingCharges, EmbeddingCharges]:
    """Ten particles, four of them atoms of the model, six charges in two groups; all charges, and cut off in a box."""
    random = np.random.default_rng(seed)
    system = openmm.System()
    for _ in range(10):
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * BOX))
    positions = random.uniform(0, 0.3, size=(10, 3))
    mm = [2, 4, 5, 7, 8, 9]
    positions[mm[:3]] += [0.6, 0.2, 0.1]
    positions[mm[3:]] += [-0.3, 0.65, 0.2]
    charges = random.normal(size=6) * 0.4
    groups = [0, 0, 0, 1, 1, 1]
    return (
        system,
        positions,
        EmbeddingCharges(mm, charges, groups),
        EmbeddingCharges(mm, charges, groups, cutoff=1.0, switchingDistance=0.3, periodic=True),
    )


def context_of(
    system: openmm.System, force: openmm.Force, platform: openmm.Platform, positions: np.ndarray
) -> openmm.Context:
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context


def energy_of(context: openmm.Context, positions: np.ndarray) -> float:
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy()._value


@pytest.mark.parametrize(
    ("module", "document"),
    [
        (PairEnergy(), contract(outputs=["energy"])),
        (PairEnergyAndForces(), contract()),
        (Coupled(), contract(**COUPLED)),
    ],
    ids=["energy", "energy and forces", "with charges"],
)
def test_in_vacuum(force_platform, module, document):
    """Equals the module called from Python, on a subset of particles in another order."""
    system, positions, _, _ = environment()
    force = TorchScriptForce(archive(module, document), PARTICLES, NUMBERS)
    context = context_of(system, force, force_platform, positions)
    state = context.getState(energy=True, forces=True)
    x = torch.tensor(positions[PARTICLES], requires_grad=True)
    reference = PairEnergy()(x)
    (gradient,) = torch.autograd.grad(reference, x)
    forces = np.zeros((10, 3))
    forces[PARTICLES] = -gradient.numpy()
    assert state.getPotentialEnergy()._value == pytest.approx(reference.item(), rel=accuracy(force_platform).energy)
    found, scale = state.getForces(asNumpy=True)._value, abs(forces).max()
    np.testing.assert_allclose(found / scale, forces / scale, atol=accuracy(force_platform).forces)


def test_coupling_energy(reference):
    """The coupling is sum_i q_i phi_i with Coulomb's law."""
    system, positions, every, _ = environment()
    data = archive(Coupled(), contract(**COUPLED))
    alone = energy_of(
        context_of(copy.deepcopy(system), TorchScriptForce(data, PARTICLES, NUMBERS), reference, positions), positions
    )
    force = TorchScriptForce(data, PARTICLES, NUMBERS)
    force.setEmbeddingCharges(every)
    coupled = energy_of(context_of(system, force, reference, positions), positions)
    q = Coupled()(torch.tensor(positions[PARTICLES]))[2].numpy()
    particles, charges, _ = every.getCharges()
    distance = np.linalg.norm(positions[PARTICLES][:, None] - positions[particles][None], axis=-1)
    expected = 138.93545764438198 * (q[:, None] * charges[None] / distance).sum()
    assert coupled - alone == pytest.approx(expected, rel=1e-7)


def test_images(reference):
    """Whole groups moved by box vectors change nothing."""
    system, positions, _, cut = environment()
    force = TorchScriptForce(archive(Coupled(), contract(**COUPLED)), PARTICLES, NUMBERS)
    force.setEmbeddingCharges(cut)
    context = context_of(system, force, reference, positions)
    energy = energy_of(context, positions)
    moved = positions.copy()
    moved[[2, 4, 5]] += [2 * BOX, -BOX, 0]
    assert energy_of(context, moved) == pytest.approx(energy, abs=1e-9)
    assert context.getSystem().usesPeriodicBoundaryConditions()


def test_threads_of_the_user_are_left_alone(reference):
    before = torch.get_num_threads()
    system, positions, _, _ = environment()
    force = TorchScriptForce(archive(PairEnergy(), contract(outputs=["energy"])), PARTICLES, NUMBERS)
    with torch.no_grad():
        context = context_of(system, force, reference, positions)
        assert np.isfinite(energy_of(context, positions))
    assert torch.get_num_threads() == before


def test_from_file(tmp_path, reference):
    path = tmp_path / "model.pt"
    path.write_bytes(archive(PairEnergy(), contract(outputs=["energy"])))
    assert TorchScriptForce(path, PARTICLES, NUMBERS).getContract()["kind"] == "potential"
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        TorchScriptForce(tmp_path / "absent.pt", PARTICLES, NUMBERS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "no contract"),
        ("{not json", "not valid JSON"),
        ({"a": 1}, "not that of a kstep model"),
        (contract(version=2), "version 2; this version of the plugin understands version 1"),
        (contract(kind="jump"), "kind 'jump'"),
        (contract(kind="fxc"), "model of kind 'fxc', but TorchScriptForce needs one of kind 'potential'"),
        (
            contract(units={"length": "angstrom", "energy": "kJ/mol", "time": "ps", "mass": "amu", "charge": "e"}),
            'length as "angstrom"',
        ),
        (contract(units={"length": "nm"}), "unit of time as nothing"),
        (contract(inputs=["charges"]), "inputs"),
        (contract(outputs=["forces"]), "outputs"),
        (contract(inputs=["positions", "potential"]), "no.* forces on the embedding charges"),
        (contract(elements=None), "lacks the field 'elements'"),
        (contract(elements="HCO"), "unusable field 'elements'"),
        (contract(elements=[1, 6]), r"atom 2 has the atomic number 8, but the model covers the elements \[1,6\]"),
        (contract(atomic_numbers=[6, 1, 8]), "molecule of 3 atoms, but there are 4"),
        (contract(atomic_numbers=[6, 8, 1, 1]), "atom 1 has the atomic number 1.*has 8"),
    ],
)
def test_contract_refused(document, message):
    with pytest.raises(openmm.OpenMMException, match=message):
        TorchScriptForce(archive(PairEnergyAndForces(), document), PARTICLES, NUMBERS)


def test_not_an_archive():
    with pytest.raises(openmm.OpenMMException, match="not a TorchScript archive"):
        TorchScriptForce(b"something else", PARTICLES, NUMBERS)


@pytest.mark.parametrize(
    ("particles", "numbers", "message"),
    [([], [], "no particles"), ([0, 1], [6], "2 particles but 1"), ([0, 1, 1], [6, 1, 1], "particle 1 is given twice")],
)
def test_bad_particles(particles, numbers, message):
    with pytest.raises((openmm.OpenMMException, ValueError), match=message):
        TorchScriptForce(archive(PairEnergyAndForces(), contract()), particles, numbers)


def test_particle_outside_the_system(reference):
    system, positions, _, _ = environment()
    force = TorchScriptForce(archive(PairEnergyAndForces(), contract()), [0, 1, 99], [6, 1, 1])
    with pytest.raises(openmm.OpenMMException, match="particle 99 does not exist"):
        context_of(system, force, reference, positions)


def test_uncoupled_model_refuses_charges():
    force = TorchScriptForce(archive(PairEnergyAndForces(), contract()), PARTICLES, NUMBERS)
    with pytest.raises(openmm.OpenMMException, match="cannot be coupled"):
        force.setEmbeddingCharges(environment()[2])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Returns(float("nan"), torch.zeros(4, 3, dtype=torch.float64)), "energies that are not finite"),
        (Returns(0.0, torch.full((4, 3), torch.nan, dtype=torch.float64)), "forces that are not finite"),
        (Returns(0.0, torch.zeros(5, 3, dtype=torch.float64)), r"shape \[5, 3\] instead of \[4, 3\]"),
    ],
)
def test_nonsense_from_the_model(reference, module, message):
    system, positions, _, _ = environment()
    with pytest.raises(openmm.OpenMMException, match=message):
        context_of(system, TorchScriptForce(archive(module, contract()), PARTICLES, NUMBERS), reference, positions)


def test_failing_model(reference):
    system, positions, _, _ = environment()
    force = TorchScriptForce(archive(Raises(), contract(outputs=["energy"])), PARTICLES, NUMBERS)
    with pytest.raises(openmm.OpenMMException, match=r"(?s)the model failed.*out of its depth"):
        context_of(system, force, reference, positions)


def test_cast_refuses_other_forces():
    with pytest.raises(TypeError, match="TorchScriptForce"):
        TorchScriptForce.cast(openmm.HarmonicBondForce())
