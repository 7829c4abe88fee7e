"""Trajectory files: schema and continuing."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from openmmkstep.rttddft import (
    LevelOfTheory,
    TrajectoryError,
    TrajectoryFile,
)
from tests.support.electrons.dynamics import HF, dynamics


@pytest.mark.parametrize(
    "level", [HF, LevelOfTheory("uhf", "6-31g*"), LevelOfTheory("rks", "sto-3g", "pbe", grid_level=0)]
)
def test_file_holds_the_schema(tmp_path: Path, level: LevelOfTheory) -> None:
    path = tmp_path / "t.h5"
    run = dynamics(level=level)
    observables = run.run(10, path, density_interval=4)
    n, spins = run.hamiltonian.size, run.hamiltonian.spins
    matrix = (n, n) if spins == 1 else (2, n, n)
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert attributes["molecule"] == ("H2O" if spins == 1 else "HO")
        assert attributes["n_atoms"] == len(run.molecule.numbers)
        assert attributes["n_electrons"] == run.molecule.electrons
        assert attributes["n_basis"] == n
        assert attributes["n_steps"] == 10
        assert attributes["dt"] == 0.2
        assert attributes["charge"] == 0
        assert attributes["multiplicity"] == run.molecule.multiplicity
        assert attributes["method"] == level.method
        assert attributes["functional"] == level.functional
        assert json.loads(attributes["kick"])["strength"] == 0.01
        assert json.loads(attributes["units"])["length"] == "bohr"
        assert json.loads(attributes["propagator"])["name"] == "cfm4"
        for name in ("ao_order", "spin_convention", "kick_convention", "dipole_convention", "density_convention"):
            assert len(attributes[name]) > 20
        assert np.array_equal(file["geometry/positions"][:], run.molecule.positions)
        assert np.array_equal(file["geometry/atomic_numbers"][:], run.molecule.numbers)
        assert file["dynamics/density_real"].shape == (3, *matrix)
        assert file["dynamics/density_real"].dtype == np.float64
        assert file["dynamics/density_imag"].dtype == np.float64
    with TrajectoryFile(path) as trajectory:
        assert len(trajectory) == 11 and trajectory.is_complete
        assert np.array_equal(trajectory.time, 0.2 * np.arange(11))
        assert np.array_equal(trajectory.dipole, observables.dipole)
        assert np.array_equal(trajectory.energy, observables.energy)
        assert np.array_equal(trajectory.density_steps, [0, 4, 8])
        assert trajectory.molecule.electrons == run.molecule.electrons
        # Dipole and electron count from what the file holds alone.
        for index, step in enumerate(trajectory.density_steps):
            density = trajectory.density(index).reshape(-1, n, n).sum(axis=0)
            assert np.trace(density @ trajectory.overlap).real == pytest.approx(run.molecule.electrons, abs=1e-10)
            electronic = -np.einsum("xij,ji->x", trajectory.position, density).real
            nuclear = trajectory.molecule.numbers @ trajectory.molecule.positions
            assert np.abs(electronic + nuclear - trajectory.dipole[step]).max() < 1e-12
        assert trajectory.deviation().shape == (3, *matrix)
        assert np.abs(trajectory.deviation(1)).max() > 1e-4
        with pytest.raises(TrajectoryError, match="no number 3"):
            trajectory.deviation(3)


def test_basis_functions_are_those_of_the_integrals(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    run = dynamics(level=LevelOfTheory("rhf", "6-31g*"))
    run.run(0, path, density_interval=0)
    labels = run._mean_field.mol.ao_labels(fmt=None)
    names = {(1, 1): "x", (1, -1): "y", (1, 0): "z", (2, -2): "xy", (2, -1): "yz", (2, 0): "z^2", (2, 1): "xz"}
    names |= {(0, 0): "", (2, 2): "x2-y2"}
    with TrajectoryFile(path) as file:
        basis = file.basis
        for index, (atom, _, shell, order) in enumerate(labels):
            assert basis.atom_index[index] == atom
            assert shell[-1] == "spdf"[basis.angular_momentum[index]]
            l, m = int(basis.angular_momentum[index]), int(basis.magnetic_quantum[index])
            assert order == names[(l, m)]
        sizes = np.bincount(basis.shell_index)
        firsts = np.searchsorted(basis.shell_index, np.arange(len(sizes)))
        assert np.array_equal(sizes, 2 * basis.angular_momentum[firsts] + 1)
        assert len(file.density_steps) == 0 and file.deviation().shape == (0, len(labels), len(labels))
