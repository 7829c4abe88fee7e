"""Responses that are known beforehand: what they save, what their error costs, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.io
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kstep_models.archive import write_archive
from kstep_models.configuration import parse_config
from kstep_models.potential.contract import PotentialContract
from kstep_models.provenance import MODEL_PACKAGES, software_versions
from kstep_models.rttddft.contract import ResponseContract
from kstep_models.rttddft.export import export_response, load_response
from kstep_models.rttddft.network import ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet
from kstep_training.rttddft.checkpoint import new_network
from kstep_training.rttddft.last_layer_ridge import LastLayer
from kstep_training.rttddft.targets import effective_kernels
from openmmkstep.rttddft import (
    DeltaKick,
    ElectronDynamics,
    ElectronDynamicsError,
    GaussianEnvelope,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Observables,
    Pulse,
    Reduction,
    TrajectoryError,
    simulation,
)
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import local_auxiliary_basis
from openmmkstep.rttddft.learned.initial_guess import predicted_density
from openmmkstep.rttddft.learned.response_data import displaced, response_record
from openmmkstep.rttddft.observables.agreement import dipole_error
from openmmkstep.rttddft.reduction.response_sources import known_xc_response
from openmmkstep.rttddft.units import NM_PER_BOHR
from openmmkstep.workflows.config.bench_spectrum import SpectrumBenchConfig
from openmmkstep.workflows.spectra.bench.benchmark import run_spectrum_benchmark
from tests.support.electrons.systems import WATER, WATER_CATION

LEVEL = LevelOfTheory("rks", "sto-3g", "pbe0", grid_level=1)
KICK = DeltaKick(1e-3, (0, 1, 1))
PROPAGATOR = Magnus2(0.2, tolerance=1e-7)
# A ridge that leaves hardly more than the mean of every block.
POOR = 10.0
STEPS = 150


def run(reduction: Reduction | None, level: LevelOfTheory = LEVEL, molecule: Molecule = WATER) -> Observables:
    return ElectronDynamics(molecule, level, PROPAGATOR, KICK, reduction=reduction).run(STEPS)


@lru_cache(maxsize=4)
def reference(basis: str) -> NDArray[np.float64]:
    return run(None, dataclasses.replace(LEVEL, basis=basis)).dipole


class Archives(NamedTuple):
    """A trained archive of two networks, and changes of it."""

    trained: Path
    write: Callable[..., Path]


@pytest.fixture(scope="session")
def archives(small_size: ResponseNetworkConfig, tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Two networks with one encoder, one of them with a stronger ridge, learned from twelve distorted waters."""
    folder = tmp_path_factory.mktemp("archives")
    basis, random = local_auxiliary_basis("def2-svp-ri", [1, 8]), np.random.default_rng(2)
    records = [response_record(displaced(WATER, 0.06, random), LEVEL, basis) for _ in range(12)]
    arrays = {
        entry.name: np.stack([getattr(each, entry.name) for each in records])
        for entry in dataclasses.fields(ResponseRecord)
    }
    molecule = ResponseSet("H2O", WATER.numbers, ResponseRecord(**arrays))
    network = new_network(basis, small_size, 1)
    layer = LastLayer(network, [molecule], [effective_kernels(molecule.records, 0.01)])
    layer.solve(1e-8)
    contract = ResponseContract.of(
        basis=basis,
        cutoff=small_size.cutoff,
        dtype="float64",
        level_of_theory=LEVEL.describe(),
        training_data={"digest": "sha256:0", "geometries": {"H2O": 12}},
        validation={"molecules": {"H2O": {"response": 0.005}}},
        versions=software_versions(MODEL_PACKAGES),
    )
    trained = folder / "trained.pt"
    export_response([network], contract, trained, [(WATER.numbers, WATER.positions)])

    def write(name: str, regularisation: float = 0.0, noise: float = 0.0, **changes: Any) -> Path:
        """The archive with another last layer, or noise in it, and with changes of its contract."""
        module, own = load_response(trained)
        generator = torch.Generator().manual_seed(7)
        if regularisation:
            layer.solve(regularisation)
        for key, value in module.named_parameters():  # type: ignore[attr-defined]
            if regularisation:
                value.data.copy_(network.get_parameter(key.removeprefix("ensemble.members.0.")))
            value.data.add_(noise * torch.randn(value.shape, generator=generator, dtype=value.dtype))
        write_archive(module, dataclasses.replace(own, **changes), folder / f"{name}.pt")
        return folder / f"{name}.pt"

    return Archives(trained, write)


@pytest.mark.parametrize("basis", ["sto-3g", "6-31g"])
def test_computed_response_needs_no_evaluation_in_a_weak_field(basis: str) -> None:
    level = dataclasses.replace(LEVEL, basis=basis)
    observables = run(Reduction(response="computed"), level)
    # Those that only compare.
    assert observables.fock_builds[1:].sum() <= 3
    assert dipole_error(observables.dipole, reference(basis)) < 0.01
    assert run(Reduction(), level).fock_builds.sum() > 5


def test_computed_response_is_not_trusted_in_a_strong_field() -> None:
    strong = ElectronDynamics(
        WATER, LEVEL, PROPAGATOR, DeltaKick(0.3, (0, 1, 1)), reduction=Reduction(response="computed")
    )
    assert strong.run(40).fock_builds[1:].sum() > 0


def test_computed_response_in_a_resonant_pulse() -> None:
    """All components of the potential's first-order change are known, so that what is left is of second order: fewer
    evaluations than without, and no loss of accuracy."""
    level = dataclasses.replace(LEVEL, basis="6-31g")
    pulse = Pulse(0.03, GaussianEnvelope(10.0, 3.0), (0, 0, 1), frequency=0.3)

    def driven(reduction: Reduction | None) -> Observables:
        return ElectronDynamics(WATER, level, PROPAGATOR, field=pulse, reduction=reduction).run(100)

    full, known, plain = driven(None), driven(Reduction(response="computed")), driven(Reduction())
    assert 1 < known.fock_builds.sum() < plain.fock_builds.sum()
    assert dipole_error(known.dipole, full.dipole) < 0.01


def test_trained_response(archives: Archives) -> None:
    """Better than a hundredth of the dipole, with no evaluations but those that check the network."""
    observables = run(Reduction(response=str(archives.trained)))
    assert observables.fock_builds[1:].sum() <= 3
    assert dipole_error(observables.dipole, reference("sto-3g")) < 0.01


def test_trained_response_in_a_benchmark(archives: Archives, tmp_path: Path) -> None:
    """The path of the archive is relative to the configuration; it is measured beside the others."""
    shutil.copy(archives.trained, tmp_path / "model.pt")
    ase.io.write(tmp_path / "water.xyz", ase.Atoms("OHH", WATER.positions * NM_PER_BOHR * 10))
    case = {
        "geometry": "water.xyz",
        "level": {"functional": "pbe0", "basis": "sto-3g", "grid_level": 1},
        "kick": 1e-3,
        "directions": ["z"],
        "reductions": {"learned": {"response": "model.pt"}, "nothing known": {}},
    }
    config = parse_config({"cases": {"water": case}, "steps": STEPS}, SpectrumBenchConfig, "test", tmp_path)
    saved: list[dict[str, Any]] = []
    methods = run_spectrum_benchmark(config, lambda _: None, saved.append)["cases"]["water"]["methods"]
    # The ground state, and at least one check.
    assert 1 < methods["learned"]["fock_builds"] < methods["nothing known"]["fock_builds"]
    assert methods["learned"]["dipole_error"] < 0.01
    assert saved[-1]["configuration"]["cases"]["water"]["reductions"]["learned"]["response"] == "model.pt"


def test_response_learned_in_one_orbital_basis_serves_another(archives: Archives) -> None:
    """What the network gives does not depend on the orbital basis: learned from STO-3G, used in 6-31G, where it is
    better than no response by far."""
    level = dataclasses.replace(LEVEL, basis="6-31g")
    trusted = archives.write("trusted")
    with_prior = run(Reduction(tolerance=0.9, response=str(trusted)), level)
    without = run(Reduction(tolerance=0.9), level)
    errors = [dipole_error(each.dipole, reference("6-31g")) for each in (with_prior, without)]
    assert with_prior.fock_builds[1:].sum() <= 3
    assert errors[0] < 0.3 * errors[1]


def prior(source: Path | str) -> Any:
    dynamics = ElectronDynamics(WATER, LEVEL, PROPAGATOR)
    ground = dynamics.ground_state
    return known_xc_response(str(source), dynamics._mean_field, WATER, dynamics.hamiltonian, ground)


def test_both_sources_agree(archives: Archives) -> None:
    """The trained response is within a few per cent of the computed one, which it was not trained on."""
    computed, learned = prior("computed"), prior(archives.trained)
    assert np.linalg.norm(learned.matrix - computed.matrix) < 0.03 * np.linalg.norm(computed.matrix)
    assert (computed.uncertainty, learned.uncertainty) == (0.001, 0.005)
    np.testing.assert_array_equal(learned.matrix, learned.matrix.T)


def test_predicted_density(archives: Archives) -> None:
    """Of the ground state: the right number of electrons, and the Coulomb energy of the true one."""
    dynamics = ElectronDynamics(WATER, LEVEL, PROPAGATOR)
    density = dynamics.ground_state.density
    fit, coefficients = predicted_density(str(archives.trained), dynamics._mean_field, WATER)
    true = fit.coefficients(density)[:, 0]
    error = coefficients - true
    assert error @ fit.metric @ error < (0.02**2) * (true @ fit.metric @ true)


class Disagreeing(torch.nn.Module):
    """A response and members that are wrong in a known way, scripted around an archive."""

    def __init__(self, module: Any, spread: float) -> None:
        super().__init__()
        self.module, self.spread = module, spread

    def forward(self, numbers: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.module(numbers, positions)  # type: ignore[no-any-return]

    @torch.jit.export
    def members(self, numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        response = self.module(numbers, positions)[0]
        return torch.stack([(1.0 + self.spread) * response, (1.0 - self.spread) * response])


def test_uncertainty_is_twice_the_spread_of_the_ensemble(archives: Archives, tmp_path: Path) -> None:
    module, contract = load_response(archives.trained)
    for spread, expected in ((0.001, 0.005), (0.04, 0.08), (0.9, 1.0)):
        write_archive(torch.jit.script(Disagreeing(module, spread)), contract, tmp_path / "d.pt")
        assert prior(tmp_path / "d.pt").uncertainty == pytest.approx(expected, rel=1e-6)
    # Errors of which nothing is known are taken for as large as the response.
    write_archive(module, dataclasses.replace(contract, validation={}), tmp_path / "d.pt")
    assert prior(tmp_path / "d.pt").uncertainty == 1.0


def test_spread_and_checks_lead_to_evaluations_and_to_the_right_answer(
    archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last layer that learned little. Trusted, it needs no evaluation and is wrong; with an ensemble that disagrees,
    or where a check finds it out, the functional is evaluated where the trajectory is new, and the dipole is right."""
    poor = archives.write("poor", regularisation=POOR)
    checked = run(Reduction(response=str(poor)))
    assert checked.fock_builds[1:].sum() > 3
    monkeypatch.setattr("openmmkstep.rttddft.reduction.response_sources._CHECK_INTERVAL", None)
    trusting = run(Reduction(response=str(poor)))
    assert trusting.fock_builds[1:].sum() == 0
    assert dipole_error(checked.dipole, reference("sto-3g")) < 0.05 < dipole_error(trusting.dipole, reference("sto-3g"))
    module, contract = load_response(poor)
    write_archive(torch.jit.script(Disagreeing(module, 0.2)), contract, tmp_path / "d.pt")
    knowing = run(Reduction(response=str(tmp_path / "d.pt")))
    assert knowing.fock_builds[1:].sum() > 3
    assert dipole_error(knowing.dipole, reference("sto-3g")) < 0.01


def test_untrained_networks_do_no_harm(archives: Archives, tmp_path: Path) -> None:
    """Random weights, a response of any size: the members disagree, and the run is as good as one without."""
    module, contract = load_response(archives.write("noise", noise=1.0))
    write_archive(torch.jit.script(Disagreeing(module, 0.8)), contract, tmp_path / "d.pt")
    own, plain = (run(reduction) for reduction in (Reduction(response=str(tmp_path / "d.pt")), Reduction()))
    assert plain.fock_builds[1:].sum() > 3
    # One of them may be the check.
    assert abs(own.fock_builds[1:].sum() - plain.fock_builds[1:].sum()) <= 1
    assert dipole_error(own.dipole, reference("sto-3g")) < 0.01


def test_files_go_on_with_the_same_response_only(archives: Archives, tmp_path: Path) -> None:
    """Another archive is another response, and so is none; the same archive elsewhere is the same."""

    def dynamics(reduction: Reduction) -> ElectronDynamics:
        return ElectronDynamics(WATER, LEVEL, PROPAGATOR, KICK, reduction=reduction)

    dynamics(Reduction(response=str(archives.trained))).run(3, tmp_path / "t.h5")
    other = archives.write("other", training_data={"digest": "sha256:1", "geometries": {"H2O": 12}})
    for reduction in (Reduction(response=str(other)), Reduction(response="computed"), Reduction()):
        with pytest.raises(TrajectoryError, match="cannot be continued with another level_of_theory"):
            dynamics(reduction).run(6, tmp_path / "t.h5", resume=True)
    moved = tmp_path / "moved.pt"
    moved.write_bytes(archives.trained.read_bytes())
    assert len(dynamics(Reduction(response=str(moved))).run(6, tmp_path / "t.h5", resume=True).time) == 7


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integrals and SCF raise."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("expensive work was begun")

    monkeypatch.setattr(simulation, "create_mean_field", refuse)


@pytest.mark.usefixtures("no_work")
def test_what_does_not_suit_is_refused_before_any_work(archives: Archives, tmp_path: Path) -> None:
    good, dication = str(archives.trained), Molecule(WATER.numbers, WATER.positions, charge=2)
    ammonia = Molecule.create("NHHH", [[0, 0, 0.01], [0, 0.09, -0.03], [0.08, -0.05, -0.03], [-0.08, -0.05, -0.03]])
    pbe, uks = dataclasses.replace(LEVEL, functional="pbe"), dataclasses.replace(LEVEL, method="uks")
    text = tmp_path / "text.pt"
    text.write_text("no archive")
    potential = tmp_path / "potential.pt"
    contract = PotentialContract(
        elements=(1, 8),
        atomic_numbers=(8, 1, 1),
        cutoff=0.5,
        dtype="float32",
        charge=0,
        multiplicity=1,
        level_of_theory={"method": "analytic"},
        training_data={"digest": "sha256:0"},
        versions=software_versions(MODEL_PACKAGES),
    )
    write_archive(torch.jit.script(torch.nn.Identity()), contract, potential)
    for source, molecule, level, reason in (
        (good, WATER, pbe, "trained for the functional pbe0, this is pbe"),
        (good, ammonia, LEVEL, r"also has \[7\]"),
        (good, dication, LEVEL, "for neutral molecules"),
        (good, WATER, uks, "closed shell"),
        (good, WATER_CATION, uks, "closed shell"),
        (str(potential), WATER, LEVEL, "kind 'potential', a response needs kind 'fxc'"),
        (str(text), WATER, LEVEL, "text.pt"),
        ("compute", WATER, LEVEL, "neither 'computed' nor a file"),
        (str(tmp_path / "none.pt"), WATER, LEVEL, "neither 'computed' nor a file"),
    ):
        with pytest.raises(ElectronDynamicsError, match=reason):
            ElectronDynamics(molecule, level, PROPAGATOR, KICK, reduction=Reduction(response=source)).run(1)
    hartree_fock = LevelOfTheory("rhf", "sto-3g")
    with pytest.raises(ElectronDynamicsError, match="no functional"):
        ElectronDynamics(WATER, hartree_fock, PROPAGATOR, KICK, reduction=Reduction(response="computed")).run(1)


def test_functional_names_are_compared_without_case(archives: Archives) -> None:
    Reduction(response=str(archives.trained)).check(WATER, dataclasses.replace(LEVEL, functional="PBE0"))
