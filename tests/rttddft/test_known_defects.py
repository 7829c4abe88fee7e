"""Mistakes that are easily made in real-time TDDFT, one test each, that this design does not make them.

Those of NWChem files are tested in ``nwchem``: that ``nrestarts`` must be the number of steps for every density to be
caught, in ``test_runs.py``; its order of basis functions and signs, unlike those of PySCF, in ``test_against_pyscf.py``
and ``test_runs.py``; the area of its "delta" in ``test_files.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

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
