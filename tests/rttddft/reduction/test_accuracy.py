"""What a reduced run knows of its own error, and the molecule that showed that it must."""

from __future__ import annotations

import warnings
from math import inf
from pathlib import Path

import h5py
import numpy as np
import pytest

from openmmkstep.rttddft import (
    AccuracyWarning,
    DeltaKick,
    ElectronDynamics,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Reduction,
    TrajectoryFile,
)
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing
from openmmkstep.rttddft.observables.agreement import dipole_error
from openmmkstep.rttddft.reduction.accuracy import AccuracyChecks
from openmmkstep.rttddft.reduction.ground_state_rotations import GroundStateRotations
from tests.support.electrons.systems import HYDROXYL, WATER, prepare

PROPAGATOR = Magnus2(0.2, tolerance=1e-7)
# Experimental geometries, nm.
MOLECULES = {
    "LiH": Molecule.create(["Li", "H"], [[0, 0, 0], [0, 0, 0.15957]]),
    "LiH, stretched": Molecule.create(["Li", "H"], [[0, 0, 0], [0, 0, 0.17]]),
    "HCN": Molecule.create("HCN", [[0, 0, -0.10655], [0, 0, 0], [0, 0, 0.11532]]),
    "H2CO": Molecule.create("COHH", [[0, 0, 0], [0, 0, 0.12050], [0, 0.09429, -0.05876], [0, -0.09429, -0.05876]]),
    "CH3OH": Molecule.create(
        "COHHHH",
        [
            [-0.00473, 0.06660, 0],
            [-0.00473, -0.07580, 0],
            [-0.10930, 0.09696, 0],
            [0.08783, -0.10458, 0],
            [0.04377, 0.10806, 0.08919],
            [0.04377, 0.10806, -0.08919],
        ],
    ),
    "BH3": Molecule.create("BHHH", [[0, 0, 0], [0, 0.1190, 0], [0.10306, -0.0595, 0], [-0.10306, -0.0595, 0]]),
    "CO2": Molecule.create("COO", [[0, 0, 0], [0, 0, 0.11621], [0, 0, -0.11621]]),
}
# Where the molecule is polar or long.
AXES = {"BH3": (1, 1, 0), "CH3OH": (0, 1, 1)}


def dynamics(name: str, functional: str, grid_level: int, reduction: Reduction | None) -> ElectronDynamics:
    kick = DeltaKick(1e-3, AXES.get(name, (0, 0, 1)))
    level = LevelOfTheory("rks", "6-31g*", functional, grid_level=grid_level)
    return ElectronDynamics(MOLECULES[name], level, PROPAGATOR, kick, reduction=reduction)


def test_comparisons_become_rarer_as_long_as_they_succeed() -> None:
    def due(checks: AccuracyChecks, count: int, wrong: float) -> list[int]:
        found = []
        for index in range(count):
            if checks.is_due(1.0, 1.0):
                found.append(index)
                assert checks.compare(wrong, 1.0) == (wrong < 0.004)
        return found

    assert due(AccuracyChecks(0.03), 500, 0.0) == [30, 91, 212, 453]
    assert due(AccuracyChecks(0.03, 100), 500, 0.0) == [30, 91, 192, 293, 394, 495]
    assert due(AccuracyChecks(0.03), 100, 0.01) == [30, 46, 62, 78, 94]
    assert due(AccuracyChecks(0.03, None), 500, 0.0) == []
    waiting = AccuracyChecks(0.03, inf)
    assert not any(waiting.is_due(0.1, 1.0) for _ in range(100)) and waiting.is_due(0.6, 1.0)


def test_estimate_is_a_mean_over_time() -> None:
    checks = AccuracyChecks(0.03)
    assert checks.estimate is None
    for elapsed, wrong, true in ((40, 0.02, 1.0), (360, -0.001, 0.5)):
        for _ in range(elapsed):
            checks.is_due(0.0, 1.0)
        checks.compare(wrong, true)
    share = np.sqrt((40 * 0.02**2 + 360 * 0.001**2) / (40 + 360 * 0.25))
    assert checks.estimate == pytest.approx(0.003 + 1.5 * share)


@pytest.mark.parametrize(("molecule", "method"), [(WATER, "rks"), (HYDROXYL, "uks")])
def test_rotated_ground_states_are_densities(molecule: Molecule, method: str) -> None:
    """Idempotent, as far away as asked, and to first order in the direction asked."""
    system = prepare(molecule, LevelOfTheory(method, "6-31g", "pbe", grid_level=0))
    hamiltonian, packing = system.hamiltonian, Packing(system.hamiltonian.spins, system.hamiltonian.size)
    ground = packing.real(hamiltonian._root @ system.ground.density @ hamiltonian._root)
    rotations = GroundStateRotations(packing, ground, hamiltonian.occupation)
    change = np.random.default_rng(5).normal(size=packing.length)
    block, norm = rotations.excitation(change)
    part = block + block.transpose(0, 2, 1)
    assert norm == pytest.approx(np.linalg.norm(part))
    for size in (1e-5, 0.1):
        density = rotations.rotated(block, size) / hamiltonian.occupation
        np.testing.assert_allclose(density @ density, density, atol=1e-13)
        moved = packing.real(hamiltonian.occupation * density) - ground
        assert np.linalg.norm(moved) == pytest.approx(size, rel=0.01)
        assert moved @ packing.real(part) == pytest.approx(size * norm, rel=0.01)


def test_lithium_hydride(tmp_path: Path) -> None:
    """Defect: what the trajectory had shown of the potential's quadratic part was taken for the linear response to new
    directions: 1.9 % after these 30 atomic units, 6 % after 120. The run also knows, and says, that this potential is
    difficult: its estimate is above the one per cent that is asked for."""
    expected = dynamics("LiH, stretched", "b3lyp", 1, None).run(150)
    path = tmp_path / "t.h5"
    with pytest.warns(AccuracyWarning, match=r"HLi: .* estimated to be wrong by .* 1 % was asked for"):
        own = dynamics("LiH, stretched", "b3lyp", 1, Reduction()).run(150, path)
    error = dipole_error(own.dipole, expected.dipole)
    assert error < 0.01
    assert 10 * own.fock_builds.sum() < expected.fock_builds.sum()
    assert expected.accuracy is None
    assert own.accuracy is not None and own.accuracy.estimated is not None
    assert error < own.accuracy.estimated and not own.accuracy.is_kept
    with TrajectoryFile(path) as file:
        assert file.accuracy == own.accuracy
    with h5py.File(path) as file:
        assert "relative error of the induced dipole" in file["accuracy"].attrs["description"]


def test_what_is_kept_is_not_complained_of(tmp_path: Path) -> None:
    """Also of a file that is continued, which keeps the worse of both estimates."""
    arguments = (WATER, LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0), PROPAGATOR, DeltaKick(1e-3, (0, 0, 1)))
    expected, path = ElectronDynamics(*arguments).run(150), tmp_path / "t.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccuracyWarning)
        short = ElectronDynamics(*arguments, reduction=Reduction()).run(5)
        half = ElectronDynamics(*arguments, reduction=Reduction()).run(100, path)
        whole = ElectronDynamics(*arguments, reduction=Reduction()).run(150, path, resume=True)
    assert short.accuracy is not None and "not compared" in str(short.accuracy)
    assert half.accuracy is not None and half.accuracy.estimated is not None
    assert whole.accuracy is not None and whole.accuracy.estimated is not None
    assert half.accuracy.estimated <= whole.accuracy.estimated < whole.accuracy.promised == pytest.approx(0.01)
    assert dipole_error(whole.dipole, expected.dipole) < whole.accuracy.estimated
    ElectronDynamics(*arguments).run(1, tmp_path / "full.h5")
    with TrajectoryFile(tmp_path / "full.h5") as file:
        assert file.accuracy is None


@pytest.mark.slow
@pytest.mark.parametrize("functional", ["b3lyp", "pbe0"])
@pytest.mark.parametrize("name", ["LiH", "HCN", "H2CO", "CH3OH", "BH3", "CO2"])
def test_estimates_hold(name: str, functional: str) -> None:
    """120 atomic units: under one per cent, not less than estimated, and a fifth of the evaluations at most."""
    expected = dynamics(name, functional, 3, None).run(600)
    own = dynamics(name, functional, 3, Reduction()).run(600)
    error = dipole_error(own.dipole, expected.dipole)
    assert error < 0.01
    assert own.accuracy is not None and own.accuracy.estimated is not None
    assert error < own.accuracy.estimated
    assert own.accuracy.is_kept
    assert 5 * own.fock_builds.sum() < expected.fock_builds.sum()
