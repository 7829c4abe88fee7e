"""Spins without electrons, or with hardly any in part of the molecule, where a functional's potential is noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Reduction,
    TrajectoryFile,
)
from openmmkstep.rttddft.observables.agreement import dipole_error
from tests.support.electrons.systems import HYDROGEN, HYDROGEN_CATION, prepare, propagate

HELIUM_CATION = Molecule.create(["He"], [[0, 0, 0]], charge=1, multiplicity=2)
TRIPLET = Molecule(HYDROGEN.numbers, 1.5 * HYDROGEN.positions, multiplicity=3)
# Its spin down has two electrons, in the 1s orbital of lithium, and next to none at the hydrogen.
LITHIUM_HYDRIDE_CATION = Molecule.create(["Li", "H"], [[0, 0, 0], [0, 0, 0.16]], charge=1, multiplicity=2)


@pytest.mark.parametrize(
    ("molecule", "functional", "time_step"),
    [
        (HYDROGEN_CATION, "pbe", 0.2),
        (HYDROGEN_CATION, "pbe0", 0.05),
        (HELIUM_CATION, "pbe0", 0.2),
        (HELIUM_CATION, "tpss", 0.05),
        (TRIPLET, "pbe", 0.2),
        (TRIPLET, "r2scan", 0.2),
        (LITHIUM_HYDRIDE_CATION, "r2scan", 0.2),
        (LITHIUM_HYDRIDE_CATION, "pbe0", 0.2),
    ],
)
def test_propagates(molecule: Molecule, functional: str, time_step: float) -> None:
    """Energy to 1e-8 hartree, as is required of 1000 steps; at most the iterations of a step that converges."""
    system = prepare(molecule, LevelOfTheory("uks", "6-31g**", functional, grid_level=0))
    states = propagate(system, Magnus2(time_step), 40, DeltaKick(1e-3, (0, 0, 1)))
    assert np.ptp([state.energy for state in states]) < 1e-8
    assert max(state.fock_builds for state in states) <= 6
    for part, count in zip(states[-1].orbitals, system.hamiltonian.occupied, strict=True):
        assert np.abs(part.conj().T @ part - np.eye(count)).max(initial=0.0) < 1e-12
    moved = [system.hamiltonian.dipole(state.orbitals)[2] for state in states]
    assert np.ptp(moved) > 1e-5


@pytest.mark.parametrize("molecule", [HYDROGEN_CATION, HELIUM_CATION])
def test_one_electron_is_exact_without_self_interaction(molecule: Molecule) -> None:
    """Exact exchange with LYP correlation, of which one electron has none: h alone moves it, to 1e-10."""
    system = prepare(molecule, LevelOfTheory("uks", "6-31g**", "hf,lyp", grid_level=0))
    hamiltonian = system.hamiltonian
    states = propagate(system, CFM4(0.02, tolerance=1e-13), 100, DeltaKick(0.01, (0, 0, 1)))
    values, vectors = np.linalg.eigh(hamiltonian.to_loewdin(hamiltonian.core))
    phases = np.exp(-1j * states[-1].time * values)[:, None]
    exact = vectors @ (phases * (vectors.T @ states[0].orbitals[0]))
    own, other = (part @ part.conj().T for part in (states[-1].orbitals[0], exact))
    assert np.abs(own - states[0].orbitals[0] @ states[0].orbitals[0].conj().T).max() > 1e-4
    assert np.abs(own - other).max() < 1e-10


def test_runs_continue_and_reduce(tmp_path: Path) -> None:
    """An empty spin through files and the reduced Hamiltonian."""
    arguments = (HYDROGEN_CATION, LevelOfTheory("uks", "6-31g**", "pbe", grid_level=0), Magnus2(0.2))
    kick = DeltaKick(1e-3, (0, 0, 1))
    whole = ElectronDynamics(*arguments, kick).run(60)
    path = tmp_path / "t.h5"
    ElectronDynamics(*arguments, kick).run(30, path)
    ElectronDynamics(*arguments, kick).run(60, path, resume=True)
    with TrajectoryFile(path) as file:
        assert not np.any(file.deviation()[:, 1])
        np.testing.assert_allclose(file.dipole, whole.dipole, rtol=0, atol=1e-12)
    reduced = ElectronDynamics(*arguments, kick, reduction=Reduction()).run(60)
    assert dipole_error(reduced.dipole, whole.dipole) < 0.01
    assert 3 * reduced.fock_builds.sum() < whole.fock_builds.sum()
