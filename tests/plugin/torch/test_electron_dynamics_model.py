"""ElectronDynamicsModel: the response network and the electrons' time steps from an archive alone, in C++."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from kstep_models.rttddft import propagation
from kstep_models.rttddft.export import ExportedResponse, export_response, load_response
from openmmkstep._openmmkstep import ElectronDynamicsModel
from openmmkstep.rttddft import CFM4, DeltaKick, GaussianEnvelope, LevelOfTheory, Magnus2, Molecule, Pulse
from openmmkstep.rttddft.electronic_structure.ground_state import solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.propagation.linear_dynamics import create_linear_system, pair_response, sampled_field
from openmmkstep.rttddft.propagation.propagators import Propagator
from tests.support.models.archives import PairEnergyAndForces, Raises, archive, contract
from tests.support.models.response_network import BASIS, PEROXIDE, WATER, network, response_contract

PULSE = Pulse(0.03, GaussianEnvelope(4.0, 2.0), (1, 0.5, -2), frequency=0.4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archives") / "water.pt"
    export_response([network()], response_contract(), path, [WATER])
    return path


@pytest.fixture
def model(exported: Path) -> ElectronDynamicsModel:
    return ElectronDynamicsModel(exported.read_bytes())


class Electrons:
    """Water by Hartree-Fock, which is linear in the density without any model, or without exact exchange."""

    def __init__(self, functional: str = "") -> None:
        molecule = Molecule.create("OHH", WATER[1] * 0.0529177210903)
        level = (
            LevelOfTheory("rks", "sto-3g", functional, grid_level=0) if functional else LevelOfTheory("rhf", "6-31g")
        )
        mean_field = create_mean_field(molecule, level)
        self.hamiltonian = Hamiltonian(mean_field)
        self.ground = solve_ground_state(mean_field, self.hamiltonian)

    def arguments(self) -> dict[str, Any]:
        hamiltonian, orbitals = self.hamiltonian, self.ground.orbitals
        real, imaginary = pair_response(hamiltonian, None)
        return {
            "fock": hamiltonian.evaluate(orbitals).fock[0].real,
            "orbitals": orbitals[0],
            "position": np.stack([hamiltonian.coupling(axis) for axis in np.eye(3)]),
            "realResponse": real,
            "imaginaryResponse": imaginary,
            "energy": self.ground.energy,
            "dipole": hamiltonian.dipole(orbitals),
        }


@pytest.fixture(scope="module")
def electrons() -> Electrons:
    return Electrons()


def kicked(electrons: Electrons) -> np.ndarray:
    return DeltaKick(0.01, (1, 2, 3)).apply(electrons.hamiltonian, electrons.ground.orbitals)[0]


@pytest.mark.parametrize("geometry", [WATER, PEROXIDE])
def test_response_is_that_of_the_network(model, exported, geometry):
    numbers, positions = geometry
    response, density = model.computeResponse(list(numbers), positions)
    size = BASIS.size(numbers)
    assert response.shape == (size, size) and density.shape == (size,)
    expected = load_response(exported)[0](torch.as_tensor(numbers), torch.as_tensor(positions))
    np.testing.assert_array_equal(response, expected[0].numpy())
    np.testing.assert_array_equal(density, expected[1].numpy())
    assert json.loads(model.getContract())["auxiliary_basis"]["name"] == BASIS.name


@pytest.mark.parametrize("scheme", [Magnus2, CFM4])
def test_same_trajectory_as_the_reference_propagator(model, electrons, scheme: type[Propagator]):
    """Hartree-Fock: the reference propagator with its integrals, no Torch, no model."""
    propagator = scheme(0.1, tolerance=1e-12)
    hamiltonian = electrons.hamiltonian
    state = propagator.start(hamiltonian, (kicked(electrons),))
    model.setGroundState(**electrons.arguments())
    orbitals, history = model.start(kicked(electrons))
    np.testing.assert_allclose(history, state.history[0], atol=1e-12)
    dipoles, energies = [], []
    for _ in range(30):
        state = propagator.advance(hamiltonian, PULSE, state)
        dipoles.append(hamiltonian.dipole(state.orbitals))
        energies.append(state.energy)
    fields = sampled_field(PULSE, propagator.name, 0.1, 30).numpy()
    orbitals, history, own_dipoles, own_energies, builds = model.advance(
        orbitals, history, propagator.name, fields, 0.1, tolerance=1e-12
    )
    assert np.ptp(dipoles, axis=0).max() > 1e-2
    # Round-off of the integrals' transformation; against the same steps in Python it is less, see below.
    np.testing.assert_allclose(orbitals, state.orbitals[0], atol=1e-11)
    np.testing.assert_allclose(own_dipoles, dipoles, atol=1e-11)
    np.testing.assert_allclose(own_energies, energies, atol=1e-11)
    assert builds.shape == (30,) and builds.min() >= 2


@pytest.mark.parametrize("scheme", ["magnus2", "cfm4"])
@pytest.mark.parametrize("functional", ["", "pbe"])
def test_same_trajectory_as_in_python(model, electrons, scheme: str, functional: str):
    system = Electrons(functional) if functional else electrons
    start = kicked(system)
    linear = create_linear_system(system.hamiltonian, system.ground, None)
    fields = sampled_field(PULSE, scheme, 0.2, 40)
    first = propagation.start(linear, torch.from_numpy(start))
    expected = propagation.advance(linear, scheme, first.orbitals, first.history, fields, 0.2, 1e-9, 30)
    model.setGroundState(**system.arguments())
    orbitals, history = model.start(start)
    fractions = model.getFieldFractions(scheme)
    assert fields.shape[1] == len(fractions)
    dipoles = []
    for piece in np.split(fields.numpy(), [1, 7, 7]):
        orbitals, history, part, energies, _ = model.advance(orbitals, history, scheme, piece, 0.2)
        dipoles.append(part)
    np.testing.assert_allclose(orbitals, expected.orbitals.numpy(), atol=1e-12)
    np.testing.assert_allclose(history, expected.history.numpy(), atol=1e-12)
    np.testing.assert_allclose(np.concatenate(dipoles), expected.dipoles.numpy(), atol=1e-12)
    assert energies[-1] == pytest.approx(float(expected.energies[-1]), abs=1e-12)


def test_pieces_are_the_whole_to_the_last_bit(model, electrons):
    model.setGroundState(**electrons.arguments())
    start = model.start(kicked(electrons))
    fields = sampled_field(PULSE, "cfm4", 0.2, 10).numpy()
    whole = model.advance(*start, "cfm4", fields, 0.2)
    half = model.advance(*start, "cfm4", fields[:4], 0.2)
    rest = model.advance(half[0], half[1], "cfm4", fields[4:], 0.2)
    np.testing.assert_array_equal(rest[0], whole[0])
    np.testing.assert_array_equal(rest[1], whole[1])
    np.testing.assert_array_equal(np.concatenate([half[2], rest[2]]), whole[2])


def test_a_step_that_does_not_converge_is_reported(model, electrons):
    model.setGroundState(**electrons.arguments())
    start = model.start(kicked(electrons))
    with pytest.raises(openmm.OpenMMException, match=r"(?s)step 1 did not become self-consistent"):
        model.advance(*start, "magnus2", np.zeros((2, 1, 3)), 0.2, maxIterations=1)


def test_threads_of_the_user_are_left_alone(model):
    before = torch.get_num_threads()
    model.setNumThreads(before + 1)
    assert model.getNumThreads() == before + 1
    model.computeResponse([8, 1, 1], WATER[1])
    assert torch.get_num_threads() == before
    with pytest.raises(openmm.OpenMMException, match="at least 1, not 0"):
        model.setNumThreads(0)


def test_impossible_arguments(model, electrons):
    with pytest.raises(openmm.OpenMMException, match="call setGroundState"):
        model.start(kicked(electrons))
    arguments = electrons.arguments()
    with pytest.raises(openmm.OpenMMException, match="fock must have 169 elements, not 168"):
        model.setGroundState(**{**arguments, "fock": arguments["fock"].ravel()[1:]})
    with pytest.raises(openmm.OpenMMException, match="imaginaryResponse must have 6084 elements, not 4"):
        model.setGroundState(**{**arguments, "imaginaryResponse": np.eye(2)})
    model.setGroundState(**arguments)
    orbitals, history = model.start(kicked(electrons))
    with pytest.raises(openmm.OpenMMException, match="orbitals must have 65 elements"):
        model.start(orbitals[:-1])
    with pytest.raises(openmm.OpenMMException, match="unknown scheme leapfrog"):
        model.advance(orbitals, history, "leapfrog", np.zeros((1, 1, 3)), 0.2)
    with pytest.raises(openmm.OpenMMException, match="3 fields were given, but each step of cfm4 needs 4"):
        model.advance(orbitals, history, "cfm4", np.zeros((1, 3, 3)), 0.2)
    with pytest.raises(openmm.OpenMMException, match="history must be one to three matrices"):
        model.advance(orbitals, history[:0], "magnus2", np.zeros((1, 1, 3)), 0.2)
    with pytest.raises(openmm.OpenMMException, match="must be positive"):
        model.advance(orbitals, history, "magnus2", np.zeros((1, 1, 3)), -0.2)
    with pytest.raises(openmm.OpenMMException, match="fields must be finite"):
        model.advance(orbitals, history, "magnus2", np.full((1, 1, 3), np.nan), 0.2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [([8, 1, 6], r"atom 2 has the atomic number 6, but the model covers the elements \[1,8\]"), ([8, 1], "2 atomic")],
)
def test_atoms_that_are_not_covered(model, numbers, message):
    with pytest.raises(openmm.OpenMMException, match=f"ElectronDynamicsModel: .*{message}"):
        model.computeResponse(numbers, WATER[1])


def test_fixed_atom_order(tmp_path):
    path = tmp_path / "fixed.pt"
    export_response([network()], response_contract(atomic_numbers=(8, 1, 1)), path, [WATER])
    fixed = ElectronDynamicsModel(path.read_bytes())
    with pytest.raises(openmm.OpenMMException, match="the order of the atoms must be the same"):
        fixed.computeResponse([1, 8, 1], WATER[1])


def document(**changes: Any) -> dict[str, Any]:
    data = {**json.loads(response_contract().to_json()), **changes}
    return {name: value for name, value in data.items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (None, "no contract"),
        (contract(), "model of kind 'potential', but ElectronDynamicsModel needs one of kind 'fxc'"),
        (document(version=2), "version 2"),
        (document(units=contract()["units"]), 'unit of length as "nm", but it must be "bohr"'),
        (document(inputs=["positions"]), "inputs"),
        (document(outputs=["density", "response"]), "outputs"),
        (document(charge=1), "neutral closed shells"),
        (document(auxiliary_basis=None), "lacks the field 'auxiliary_basis'"),
        (document(auxiliary_basis={"name": "none"}), "unusable field 'auxiliary_basis'"),
        (document(elements=[1, 6, 8]), "unusable field 'auxiliary_basis'"),
        (document(auxiliary_basis={"name": "x", "elements": {"1": [], "8": []}}), "element 1 has no shells"),
        (document(), "no time steps"),
    ],
)
def test_archives_that_are_refused(changed, message):
    with pytest.raises(openmm.OpenMMException, match=message):
        ElectronDynamicsModel(archive(PairEnergyAndForces(), changed))


class WrongOutputs(torch.nn.Module):
    """Of another size than the auxiliary basis asks for, or not finite."""

    def __init__(self, size: int, value: float) -> None:
        super().__init__()
        self.size, self.value = size, value

    def forward(self, numbers: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full([self.size, self.size], self.value), torch.zeros([self.size])


class Fails(torch.nn.Module):
    """Raises in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Raises()

    def forward(self, numbers: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inner(positions), positions


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (WrongOutputs(17, 1.0), r"responses of shape \[17, 17\] instead of \[18, 18\]"),
        (WrongOutputs(18, float("nan")), "responses that are not finite"),
        (Fails(), r"(?s)the model failed.*out of its depth"),
    ],
)
def test_models_that_fail(module, message):
    data = archive(ExportedResponse([module], torch.float64), document())
    with pytest.raises(openmm.OpenMMException, match=message):
        ElectronDynamicsModel(data).computeResponse([8, 1, 1], WATER[1])


def test_damaged_file(exported):
    content = exported.read_bytes()
    with pytest.raises(openmm.OpenMMException, match="not a TorchScript archive"):
        ElectronDynamicsModel(content[: len(content) // 2])
    with pytest.raises(openmm.OpenMMException, match="not a TorchScript archive"):
        ElectronDynamicsModel(b"something else")
