"""Networks that kstep exports, as the plugin evaluates them: in vacuum and in the field of charges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import export
from kstep_models.potential.interface import PotentialModel, create_model
from kstep_models.units import COULOMB
from openmmkstep import EmbeddingCharges, TorchScriptForce
from tests.support.models import methanol
from tests.support.models.toy_network import ToyConfig
from tests.support.platforms import accuracy

ATOMS = list(range(6))
SITES = np.array([[0.3, 0.2, 0.1], [-0.35, 0.1, -0.2], [0.1, -0.4, 0.25]])
CHARGES = np.array([0.5, -0.8, 0.3])


@pytest.fixture(params=[methanol.SMALL, ToyConfig()], ids=["kstep", "toy"])
def model(request: pytest.FixtureRequest) -> PotentialModel:
    torch.manual_seed(4)
    return create_model(request.param, methanol.data()).double().eval()


@pytest.fixture
def archive(model: PotentialModel, tmp_path: Path) -> Path:
    contract = PotentialContract(
        elements=(1, 6, 8),
        atomic_numbers=tuple(methanol.NUMBERS),
        cutoff=model.cutoff,
        dtype="float64",
        charge=0,
        multiplicity=1,
        level_of_theory={"method": "analytic"},
        training_data={"digest": "sha256:0"},
    )
    export(model, contract, tmp_path / "m.pt", methanol.geometries(1, 7))
    return tmp_path / "m.pt"


@pytest.mark.parametrize("embedded", [False, True])
def test_the_plugin_gives_what_the_network_gives(
    model: PotentialModel, archive: Path, force_platform: openmm.Platform, embedded: bool
) -> None:
    atoms = methanol.geometries(1, 8)[0]
    distance = np.linalg.norm(atoms[:, None] - SITES, axis=-1)
    potential = COULOMB * (CHARGES / distance).sum(1) if embedded else np.zeros(6)
    energy, _, charges = model(torch.as_tensor(atoms)[None], torch.as_tensor(potential)[None])

    system = openmm.System()
    for _ in range(9):
        system.addParticle(10.0)
    force = TorchScriptForce(archive, ATOMS, methanol.NUMBERS)
    if embedded:
        force.setEmbeddingCharges(EmbeddingCharges([6, 7, 8], list(CHARGES), [0, 1, 2]))
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), force_platform)
    context.setPositions(np.concatenate([atoms, SITES]))
    state = context.getState(energy=True, forces=True)
    found = state.getForces(asNumpy=True)._value
    expected_energy = float(energy) + model.energy_mean
    assert state.getPotentialEnergy()._value == pytest.approx(
        expected_energy, rel=max(1e-9, accuracy(force_platform).energy)
    )
    # On the charges: Coulomb's law with the network's charges.
    apart = SITES[:, None] - atoms
    pull = charges[0].numpy()[:, None] * apart / np.linalg.norm(apart, axis=-1, keepdims=True) ** 3
    expected = COULOMB * CHARGES[:, None] * pull.sum(1) if embedded else np.zeros((3, 3))
    # The CPU platform hands forces over in single precision.
    assert np.abs(found[6:] - expected).max() < 1e-5 * max(np.abs(found).max(), 1.0)
    # In all: no force from outside.
    assert np.abs(found.sum(0)).max() < 1e-5 * np.abs(found).max()
