"""Mistakes that are easily made in real-time TDDFT, one test each, that this design does not make them.

Those of NWChem files are tested in ``nwchem``: that ``nrestarts`` must be the number of steps for every density to be
caught, in ``test_runs.py``; its order of basis functions and signs, unlike those of PySCF, in ``test_against_pyscf.py``
and ``test_runs.py``; the area of its "delta" in ``test_files.py``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
import yaml
from e3nn import o3
from pyscf import gto
from typer.testing import CliRunner

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.blocks import AtomBlocks
from kstep_models.rttddft.network import Gate, Readout, ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet
from kstep_training.rttddft.checkpoint import new_network
from kstep_training.rttddft.config import RefinementSection
from kstep_training.rttddft.evaluation import predicted, response_error
from kstep_training.rttddft.refinement import refine
from openmmkstep.cli import app
from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    LevelOfTheory,
    Magnus2,
    Molecule,
    NoField,
    Observables,
    Reduction,
    TrajectoryFile,
)
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit, local_auxiliary_basis
from openmmkstep.rttddft.electronic_structure.hamiltonian import Orbitals
from openmmkstep.rttddft.propagation.propagators import Propagator, State
from openmmkstep.rttddft.units import NM_PER_BOHR
from tests.support.electrons.systems import HYDROGEN, SKEWED_WATER, WATER, prepare, prepared

Array = np.ndarray


def test_float32_would_keep_three_digits_of_a_weak_response(tmp_path: Path) -> None:
    """Defect: single precision for a density that a kick of 1e-4 changed by 1e-4. The file keeps double precision, and
    of the deviation rather than of the density, so that nothing cancels."""
    kick, states = DeltaKick(1e-4, (0, 0, 1)), []
    run = ElectronDynamics(WATER, LevelOfTheory("rhf", "sto-3g"), Magnus2(0.2), kick)
    run.run(20, tmp_path / "t.h5", progress=states.append)
    with TrajectoryFile(tmp_path / "t.h5") as file:
        stored, ground = file.deviation(20), file.ground_density
    exact = run.hamiltonian.density(states[-1].orbitals)[0] - ground
    size = np.abs(exact).max()
    assert 1e-5 < size < 1e-3
    assert np.array_equal(stored, exact)
    single = (stored + ground).astype(np.complex64) - ground.astype(np.float32)
    digits = -np.log10(np.abs(single - exact).max() / size)
    assert 2.5 < digits < 4.5


def test_dipole_has_the_sign_of_the_electron_and_the_nuclei() -> None:
    """Defect: the trace of density and position alone. PySCF's own dipole, of a polar molecule off the origin, and of
    an ion, where even the origin matters."""
    for molecule in (SKEWED_WATER, Molecule(SKEWED_WATER.numbers, SKEWED_WATER.positions + 0.7, charge=2)):
        run = ElectronDynamics(molecule, LevelOfTheory("rhf", "6-31g"), Magnus2(0.2))
        own = run.run(0).dipole[0]
        run._mean_field.kernel()
        expected = run._mean_field.dip_moment(unit="AU", verbose=0)
        np.testing.assert_allclose(own, expected, atol=1e-7)
        assert np.linalg.norm(expected) > 0.5
    electrons = np.einsum("xij,ji->x", run.hamiltonian.position, run.ground_state.density[0])
    assert np.linalg.norm(electrons - expected) > 1.0 and np.linalg.norm(-electrons - expected) > 1.0


def test_kick_moves_electrons_against_the_field() -> None:
    """Defect: a kick or a dipole of the wrong sign (two wrong ones hide each other, a spectrum that is negative does
    not). A free electron that is kicked by k has the velocity -k, so that the dipole begins as +k t per electron: of an
    atom to the accuracy of the basis set, of H2 with the right direction, too."""
    atom = Molecule.create("H", [[0, 0, 0]], multiplicity=2)
    kick = DeltaKick(1e-3, (1, 2, 2))
    series = ElectronDynamics(atom, LevelOfTheory("uhf", "aug-cc-pvtz"), CFM4(0.01), kick).run(4)
    slope = (series.dipole[-1] - series.dipole[0]) / series.time[-1]
    np.testing.assert_allclose(slope, kick.vector, rtol=0.01)
    along, across = (
        ElectronDynamics(HYDROGEN, LevelOfTheory("rhf", "6-31g**"), CFM4(0.05), DeltaKick(1e-3, axis)).run(20)
        for axis in ((0, 0, 1), (1, 0, 0))
    )
    for series, axis in ((along, 2), (across, 0)):
        induced = series.dipole - series.dipole[0]
        others = [other for other in range(3) if other != axis]
        assert induced[1:, axis].min() > 0.0
        assert np.abs(induced[:, others]).max() < 1e-9 * induced[:, axis].max()
    assert along.dipole[-1, 2] > 1.5 * across.dipole[-1, 0]


def rotation(seed: int) -> Array:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.fixture
def double_precision() -> Iterator[None]:
    """For e3nn, which makes its matrices in the precision of the moment."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


AXES = [1, 2, 0]
"""The order of coordinates in which auxiliary functions are those of e3nn."""


def functions_of(l: int, points: Array) -> Array:
    """Values [points,2l+1] of an auxiliary shell around the origin."""
    basis = AuxiliaryBasis("one shell", {2: (Shell(l, (0.7,), (1.0,)),)})
    fit = AuxiliaryFit(gto.M(atom="He 0 0 0", basis="sto-3g", verbose=0), basis)
    return fit.values(points, False)[0]


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("l", range(5))
def test_order_of_e3nns_functions(l: int) -> None:
    """Defect: PySCF's functions taken for e3nn's, whose polar axis is y. The auxiliary functions are e3nn's of the
    coordinates y, z, x; in the order x, y, z, they would be no permutation of e3nn's from l = 2 on."""
    points = np.random.default_rng(3).normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    values = functions_of(l, points)

    def theirs(coordinates: Array) -> Array:
        return o3.spherical_harmonics([l], torch.tensor(coordinates), normalize=False, normalization="norm").numpy()

    norm = np.linalg.norm(values[0])
    np.testing.assert_allclose(values / norm, theirs(points[:, AXES]), atol=1e-12)
    mixing = np.linalg.lstsq(values / norm, theirs(points), rcond=None)[0]
    np.testing.assert_allclose(mixing @ mixing.T, np.eye(2 * l + 1), atol=1e-12)
    assert np.isclose(np.abs(mixing).max(axis=1), 1.0).all() == (l < 2)
    # Values at rotated points are the same functions mixed: Y(R r) = D Y(r).
    turn = rotation(5)
    own = np.linalg.lstsq(values, functions_of(l, points @ turn.T), rcond=None)[0].T
    expected = o3.Irrep(l, (-1) ** l).D_from_matrix(torch.tensor(turn[np.ix_(AXES, AXES)])).numpy()
    np.testing.assert_allclose(own, expected, atol=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_matrices_rotate_by_e3nns_matrices() -> None:
    """The same for what a network predicts: matrices between s to f functions of a molecule and its rotated copy."""
    turn, basis = rotation(8), local_auxiliary_basis("def2-svp-ri", [1, 8])
    metrics = []
    for turned in (np.eye(3), turn):
        atoms = [(s, p @ turned.T) for s, p in zip("OHH", SKEWED_WATER.positions, strict=True)]
        metrics.append(AuxiliaryFit(gto.M(atom=atoms, unit="Bohr", basis="sto-3g", verbose=0), basis).metric)
    momenta = [l for number in SKEWED_WATER.numbers for l in basis.momenta(int(number))]
    axes = torch.tensor(turn[np.ix_(AXES, AXES)])
    whole = torch.block_diag(*[o3.Irrep(l, (-1) ** l).D_from_matrix(axes) for l in momenta]).numpy()
    assert max(momenta) == 3
    np.testing.assert_allclose(whole @ metrics[0] @ whole.T, metrics[1], atol=1e-8 * np.abs(metrics[0]).max())
    assert np.abs(metrics[0] - metrics[1]).max() > 0.1


def leapfrog(start: Orbitals, time_step: float, steps: int, unitary: bool) -> tuple[Array, Array]:
    """Energies and norms of the orbitals of water, RHF/6-31G, by the midpoint rule without restarts.

    ``C(t + dt) = C(t - dt) - 2 i dt F(t) C(t)``, or with ``exp(-2 i dt F(t)) C(t - dt)`` (modified midpoint).
    """
    hamiltonian = prepared("WATER", "rhf", "6-31g").hamiltonian

    def moved(fock: Array, step: float, orbitals: Orbitals) -> Orbitals:
        values, vectors = np.linalg.eigh(fock[0])
        return ((vectors * np.exp(-1j * step * values)) @ vectors.conj().T @ orbitals[0],)

    evaluation = hamiltonian.evaluate(start)
    last, now = start, moved(evaluation.fock, time_step, start)
    energies, norms = [evaluation.energy], [1.0]
    for _ in range(steps):
        evaluation = hamiltonian.evaluate(now)
        energies.append(evaluation.energy)
        norms.append(float(np.linalg.norm(now[0], 2)))
        if norms[-1] > 1e6:
            break
        if unitary:
            last, now = now, moved(evaluation.fock, 2.0 * time_step, last)
        else:
            last, now = now, (last[0] - 2j * time_step * (evaluation.fock[0] @ now[0]),)
    return np.array(energies), np.array(norms)


@pytest.mark.parametrize("scheme", [Magnus2, CFM4])
def test_no_leapfrog(scheme: type[Propagator]) -> None:
    """Defect: the midpoint rule without restarts. Plain, it explodes within tens of steps, whatever the response is,
    because of the core; with exponentials its even and odd steps come apart, which shows as an energy that wobbles by
    a tenth of what the kick has put in. The schemes here do neither at the same time step."""
    system, time_step = prepared("WATER", "rhf", "6-31g"), 0.4
    start = DeltaKick(1e-3, (0, 1, 1)).apply(system.hamiltonian, system.ground.orbitals)
    plain = leapfrog(start, 0.05, 300, unitary=False)
    assert len(plain[1]) < 100 and plain[1][-1] > 1e6
    unitary = leapfrog(start, time_step, 600, unitary=True)
    absorbed = unitary[0][0] - system.ground.energy
    assert np.ptp(unitary[0]) > 0.1 * absorbed
    state: State = scheme(time_step).start(system.hamiltonian, start)
    energies = [state.energy]
    for _ in range(600):
        state = scheme(time_step).advance(system.hamiltonian, NoField(), state)
        energies.append(state.energy)
    assert np.ptp(energies) < 0.01 * absorbed
    assert np.abs(state.orbitals[0].conj().T @ state.orbitals[0] - np.eye(5)).max() < 1e-12


def test_thresholds_are_relative_to_the_response() -> None:
    """Defect: a fixed threshold for true Fock builds, such as 0.01, which is more than a weak kick ever causes, so that
    there is no build at all. A hundred times weaker a kick must need as many builds and be as accurate."""
    level, builds, errors, responses = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0), [], [], []
    for strength in (1e-3, 1e-5):
        arguments = (WATER, level, Magnus2(0.2, tolerance=1e-5 * strength), DeltaKick(strength, (0, 0, 1)))
        runs: list[Observables] = [
            ElectronDynamics(*arguments, reduction=r).run(60) for r in (None, Reduction(tolerance=0.05))
        ]
        full, reduced = ((run.dipole - run.dipole[0]) / strength for run in runs)
        builds.append(int(runs[1].fock_builds.sum()))
        errors.append(np.linalg.norm(reduced - full) / np.linalg.norm(full))
        responses.append(full)
    # Round-off of the ground state is a thousandth of the weaker response.
    assert abs(builds[0] - builds[1]) <= 1 and builds[1] > 10
    assert errors[1] == pytest.approx(errors[0], rel=0.3) and max(errors) < 0.01
    assert np.linalg.norm(responses[1] - responses[0]) < 2e-3 * np.linalg.norm(responses[0])


def test_steps_of_spectra_converge_relative_to_the_kick(tmp_path: Path) -> None:
    """The same defect in the tolerance of the steps: a spectrum does not depend on the strength of the kick."""
    ase.io.write(tmp_path / "water.xyz", ase.Atoms("OHH", WATER.positions * NM_PER_BOHR * 10))
    content = {
        "geometries": "water.xyz",
        "level": {"method": "rhf", "basis": "6-31g"},
        "reduction": None,
        "directions": ["z"],
        "time": "2 fs",
        "time_step": "10 as",
        "highest": 40,
    }
    spectra = []
    for kick in (1e-3, 1e-5):
        (tmp_path / "spectrum.yaml").write_text(yaml.safe_dump(content | {"kick": kick}))
        arguments = ["spectrum", str(tmp_path / "spectrum.yaml"), "--output", str(tmp_path / "spectrum.json")]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        spectra.append(np.array(json.loads((tmp_path / "spectrum.json").read_text())["mean_per_ev"]))
    assert np.linalg.norm(spectra[0] - spectra[1]) < 1e-3 * np.linalg.norm(spectra[0])


def test_response_of_an_ion_does_not_depend_on_the_origin() -> None:
    """Defect: the nuclear term forgotten cancels in neutral molecules at rest, but not in what an ion's dipole is."""
    dipoles = []
    for shift in (0.0, 3.0):
        ion = Molecule(SKEWED_WATER.numbers, SKEWED_WATER.positions + shift, charge=2)
        system = prepare(ion, LevelOfTheory("rhf", "sto-3g"))
        dipoles.append(system.hamiltonian.dipole(system.ground.orbitals))
    np.testing.assert_allclose(dipoles[1] - dipoles[0], 2 * np.full(3, 3.0), atol=1e-7)


def pooled_keys(density: Array, counts: list[int]) -> Array:
    """Sums over the orbitals of pairs of atoms of the moduli of a density matrix: a pooled key of each pair."""
    edges = np.cumsum([0, *counts])
    return np.array(
        [[np.abs(density[a:b, c:d]).sum() for c, d in itertools.pairwise(edges)] for a, b in itertools.pairwise(edges)]
    )


def test_projection_tells_orbitals_apart() -> None:
    """Defect: keys pooled over the orbitals of an atom, which are the same for p_x and p_y and for 1s and 3s. The
    coefficients in auxiliary functions are not: they give back each density's dipole or extent."""
    shells = [[0, [5.0, 1.0]], [0, [1.0, 1.0]], [0, [0.2, 1.0]], [1, [0.6, 1.0]]]
    mol = gto.M(atom="He 0 0 0", basis={"He": shells}, verbose=0)
    fit = AuxiliaryFit(mol, local_auxiliary_basis("def2-qzvp-ri", [2]))
    densities = np.zeros((4, 6, 6))
    for density, orbital in zip(densities, (3, 4, 0, 2), strict=True):
        density[orbital, orbital] = 1.0
    keys = [pooled_keys(density, [6]) for density in densities]
    assert np.array_equal(keys[0], keys[1]) and np.array_equal(keys[2], keys[3])
    coefficients = fit.coefficients(densities).T
    products = fit.products(np.eye(6), np.eye(6)).reshape(-1, 6, 6)
    for one, other in ((0, 1), (2, 3)):
        difference = coefficients[one] - coefficients[other]
        size = coefficients[one] @ fit.metric @ coefficients[one]
        assert difference @ fit.metric @ difference > 0.03 * size
        orbitals = [int(np.argmax(np.diag(densities[each]))) for each in (one, other)]
        for each, orbital in zip((one, other), orbitals, strict=True):
            np.testing.assert_allclose(coefficients[each], products[:, orbital, orbital], atol=1e-10)


def test_density_and_its_conjugate_move_apart() -> None:
    """Defect: real features of a density, such as pooled moduli, which are the same for rho and its conjugate, two
    states that move in opposite directions. The steps here know the orbitals' phases: one goes forwards, the other
    backwards in time, from the same dipole on."""
    system = prepared("WATER", "rhf", "6-31g")
    start = DeltaKick(0.01, (0, 0, 1)).apply(system.hamiltonian, system.ground.orbitals)
    conjugate = tuple(part.conj() for part in start)
    densities = [system.hamiltonian.density(each)[0] for each in (start, conjugate)]
    assert np.abs(densities[0] - densities[1]).max() > 1e-3
    assert np.array_equal(pooled_keys(densities[0], [9, 2, 2]), pooled_keys(densities[1], [9, 2, 2]))
    moved = []
    for orbitals in (start, conjugate):
        state = Magnus2(0.1).start(system.hamiltonian, orbitals)
        before = system.hamiltonian.dipole(state.orbitals)[2]
        for _ in range(5):
            state = Magnus2(0.1).advance(system.hamiltonian, NoField(), state)
        moved.append(system.hamiltonian.dipole(state.orbitals)[2] - before)
    assert moved[0] > 1e-4 and moved[1] == pytest.approx(-moved[0], rel=0.01)


def test_no_purification_of_occupation_two() -> None:
    """Defect: McWeeny's 3 P^2 - 2 P^3 on the density of a closed shell, whose eigenvalue 2 it maps to -4, and on to
    infinity. Densities here are made from orthonormal orbitals, and stay idempotent (as P/2) without purification."""
    system = prepared("WATER", "rhf", "sto-3g")
    root = system.hamiltonian._root
    purified = root @ system.ground.density[0] @ root
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(purified))[-5:], 2.0, atol=1e-10)
    for _ in range(4):
        purified = 3.0 * purified @ purified - 2.0 * purified @ purified @ purified
    assert np.abs(purified).max() > 1e20
    state = Magnus2(0.2).start(
        system.hamiltonian, DeltaKick(0.1, (0, 1, 1)).apply(system.hamiltonian, system.ground.orbitals)
    )
    for _ in range(200):
        state = Magnus2(0.2).advance(system.hamiltonian, NoField(), state)
    half = 0.5 * root @ system.hamiltonian.density(state.orbitals)[0] @ root
    assert np.abs(half @ half - half).max() < 1e-12 and np.trace(half).real == pytest.approx(5.0, abs=1e-12)


def test_loss_is_on_responses(small_size: ResponseNetworkConfig) -> None:
    """Defect: a derivative loss |(p - rho_t)/dt - (rho_t+1 - rho_t)/dt|^2 with the true rho_t is the reconstruction
    loss |p - rho_t+1|^2 over dt^2, and teaches nothing new. The loss here is on the response between density changes:
    a network with another matrix but the same response has no loss, and no gradient."""
    random = np.random.default_rng(0)
    p, now, after = random.normal(size=(3, 7, 7))
    derivative = np.sum(((p - now) / 0.2 - (after - now) / 0.2) ** 2)
    assert derivative == pytest.approx(np.sum((p - after) ** 2) / 0.2**2, rel=1e-12)
    basis = local_auxiliary_basis("def2-svp-ri", [1])
    network, numbers = new_network(basis, small_size, 1), np.array([1, 1])
    positions = np.array([[[0.0, 0.0, -0.7], [0.1, 0.0, 0.7]]])
    with torch.no_grad():
        kernel = network.batched(torch.as_tensor(numbers), torch.as_tensor(positions))[0].numpy()
    size = kernel.shape[1]
    fit = random.normal(size=(1, size, 2))
    # Another matrix that is the same where densities change.
    away = np.eye(size) - fit[0] @ np.linalg.pinv(fit[0])
    other = kernel + away @ away.T
    assert np.linalg.norm(other - kernel) > 0.1
    response = fit.transpose(0, 2, 1) @ other @ fit
    zero = np.zeros((1, 2, 2))
    records = ResponseRecord(
        positions, fit, response, other, zero, zero, np.zeros((1, 3, 2)), np.zeros((1, size)), kernel
    )
    molecule, losses = ResponseSet("H2", numbers, records), []
    assert response_error(predicted(network, molecule)[0], records) < 1e-12
    refine(network, [molecule], RefinementSection(steps=1), 0, lambda _, loss: losses.append(loss))
    assert losses[0] < 1e-12
    twice = ResponseSet("H2", numbers, dataclasses.replace(records, response=2.0 * response))
    refine(network, [twice], RefinementSection(steps=1), 0, lambda _, loss: losses.append(loss))
    assert losses[1] == pytest.approx(0.5, rel=0.05)


@pytest.mark.usefixtures("double_precision")
def test_blocks_between_s_and_p_functions() -> None:
    """Defect: blocks decoded from scalars, which do not turn, so that a block between s and p functions must be zero.
    Here such a block is made from vectors: any one exactly, and none from scalars alone."""
    blocks = AtomBlocks((0, 1), (0, 1), 4)
    wanted = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
    features = blocks.features_of(wanted)
    torch.testing.assert_close(blocks(features), wanted, rtol=0, atol=1e-7)
    scalars = torch.zeros_like(features)
    for (_, irrep), part in zip(blocks.irreps, blocks.irreps.slices(), strict=True):
        if irrep.l == 0:
            scalars[:, part] = features[:, part]
    decoded = blocks(scalars)
    assert float(decoded[:, 0, 1:].abs().max()) == float(decoded[:, 1:, 0].abs().max()) == 0.0
    assert float(decoded[:, 0, 0].abs().min()) > 0.0 < float(decoded[:, 1:, 1:].abs().max())


@pytest.mark.usefixtures("double_precision")
def test_gates_multiply_tensors_by_scalars() -> None:
    """Defect: LayerNorm, or a sigmoid, on the components of tensors with L > 0, which depends on the axes."""
    irreps = o3.Irreps("2x0e+3x1o+2x2e")
    gate = Gate(irreps)
    turn = torch.tensor(rotation(4))
    inside, outside = (each.D_from_matrix(turn) for each in (gate.irreps_in, irreps))
    features = torch.randn(5, gate.irreps_in.dim, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(gate(features @ inside.T), gate(features) @ outside.T, rtol=0, atol=1e-6)
    tensors = torch.randn(5, irreps.dim, generator=torch.Generator().manual_seed(4))
    for broken in (
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.nn.functional.layer_norm(x, [irreps.dim]),
    ):
        assert float((broken(tensors @ outside.T) - broken(tensors) @ outside.T).abs().max()) > 0.05


@pytest.mark.usefixtures("double_precision")
def test_scales_of_tensors_know_no_direction() -> None:
    """Defect: dividing every matrix element by its own deviation over the training set, which depends on how the
    molecules lie. The scales here are of whole tensors: the training set turned has the same."""
    blocks = AtomBlocks((0, 1), (0, 1), 4)
    turn = o3.Irreps("0e+1o").D_from_matrix(torch.tensor(rotation(6)))
    samples = torch.randn(40, 4, 4, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 0.1, 1.0, 5.0])
    moved = turn @ samples @ turn.T
    assert float((moved.std(0) / samples.std(0)).max()) > 2.0
    readouts = []
    for values in (samples, moved):
        readouts.append(Readout(blocks.irreps, blocks))
        readouts[-1].set_statistics(values, True)
    torch.testing.assert_close(readouts[1].scale, readouts[0].scale, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(readouts[1].mean, readouts[0].mean, rtol=0, atol=1e-6)
