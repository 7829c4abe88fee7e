"""SCFs that begin from a density in auxiliary functions: fewer cycles, the same ground state, and what is refused."""

from __future__ import annotations

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn
from typer.testing import CliRunner

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.contract import ResponseContract
from kstep_models.rttddft.export import export_response
from openmmkstep.cli import app
from openmmkstep.rttddft import CFM4, ElectronDynamics, ElectronDynamicsError, LevelOfTheory, Molecule, PointCharges
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit, local_auxiliary_basis
from openmmkstep.rttddft.electronic_structure.exchange_correlation import potential_of_points
from openmmkstep.rttddft.electronic_structure.ground_state import solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.learned.archive import loaded_archive
from openmmkstep.rttddft.learned.initial_guess import InitialGuess, density_from_fit
from openmmkstep.rttddft.units import NM_PER_BOHR
from tests.support.electrons.systems import AMMONIA, HYDROXYL, SKEWED_WATER, WATER, prepare, prepared

LEVEL = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=1)
ELEMENTS = (1, 8)


@lru_cache(maxsize=1)
def auxiliary_basis() -> AuxiliaryBasis:
    return local_auxiliary_basis("def2-svp-ri", ELEMENTS)


class SphericalAtoms(nn.Module):
    """A network that knows of an atom its element only: the sum of spherical atoms that is nearest to water's density.

    Args:
        scale: of the density.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        basis = auxiliary_basis()
        system = prepared("WATER", "rks", "6-31g", "pbe0")
        fit = AuxiliaryFit(system.mean_field.mol, basis)  # type: ignore[attr-defined]
        spherical = {number: [l == 0 for l in basis.momenta(number) for _ in range(2 * l + 1)] for number in ELEMENTS}
        columns = np.cumsum([0] + [sum(spherical[number]) for number in ELEMENTS])
        # What every element's coefficients contribute to the molecule's.
        design, row = np.zeros((len(fit.metric), columns[-1])), 0
        for number in WATER.numbers:
            kept, first = np.array(spherical[int(number)]), columns[ELEMENTS.index(int(number))]
            design[row + np.flatnonzero(kept), first + np.arange(kept.sum())] = 1.0
            row += len(kept)
        exact = fit.coefficients(system.ground.density)[:, 0]
        best = np.linalg.solve(design.T @ fit.metric @ design, design.T @ fit.metric @ exact)
        self.tables: dict[int, Tensor] = {}
        for index, number in enumerate(ELEMENTS):
            values = np.zeros(len(spherical[number]))
            values[np.array(spherical[number])] = best[columns[index] : columns[index + 1]]
            self.tables[number] = scale * torch.as_tensor(values)

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Response, which nobody asks for here, and density."""
        parts = []
        for atom in range(numbers.size(0)):
            parts.append(self.tables[int(numbers[atom])])
        density = torch.cat(parts)
        return -0.001 * torch.outer(density, density), density


def write(path: Path, functional: str = "pbe0", scale: float = 1.0, water: bool = False) -> Path:
    contract = ResponseContract.of(
        auxiliary_basis(),
        cutoff=12.0,
        dtype="float64",
        level_of_theory={"method": "rks", "functional": functional, "basis": "6-31g"},
        training_data={"digest": "sha256:0", "geometries": 1},
        validation={},
        versions={},
        atomic_numbers=(8, 1, 1) if water else None,
    )
    export_response([SphericalAtoms(scale)], contract, path, [(WATER.numbers, SKEWED_WATER.positions)])
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models") / "atoms.pt")


def dynamics(molecule: Molecule, level: LevelOfTheory = LEVEL, **options: Any) -> ElectronDynamics:
    return ElectronDynamics(molecule, level, CFM4(0.4), **options)


def cycles(run: ElectronDynamics) -> int:
    return int(run._mean_field.cycles)


@pytest.mark.parametrize("functional", ["svwn", "pbe", "pbe0", "camb3lyp"])
def test_potential_of_a_density_at_points(functional: str) -> None:
    """The density of a matrix, given at points, has the potential that PySCF computes from the matrix."""
    mean_field = create_mean_field(SKEWED_WATER, LevelOfTheory("rks", "6-31g", functional, grid_level=1))
    integrator, mol = mean_field._numint, mean_field.mol
    density = mean_field.get_init_guess()

    def density_at(points: NDArray[np.float64], gradient: bool) -> NDArray[np.float64]:
        assert gradient == (functional != "svwn")
        values = integrator.eval_ao(mol, points, deriv=int(gradient))
        return np.reshape(
            integrator.eval_rho(mol, values, density, xctype="GGA" if gradient else "LDA"), (-1, len(points))
        )

    own = potential_of_points(mean_field, mean_field.grids, density_at)
    expected = integrator.nr_rks(mol, mean_field.grids, functional, density)[2]
    np.testing.assert_allclose(own, expected, atol=1e-6)


def test_functionals_of_more_than_the_gradient() -> None:
    mean_field = create_mean_field(WATER, LevelOfTheory("rks", "sto-3g", "tpss", grid_level=0))
    with pytest.raises(ElectronDynamicsError, match="tpss needs more than the density"):
        potential_of_points(mean_field, mean_field.grids, lambda points, gradient: np.zeros((4, len(points))))


@pytest.mark.parametrize("fitting", [False, True])
@pytest.mark.parametrize("functional", ["pbe0", "pbe"])
def test_fitted_ground_state_is_a_good_guess(functional: str, fitting: bool) -> None:
    level = LevelOfTheory("rks", "6-31g", functional, density_fitting=fitting, grid_level=1)
    usual = prepare(SKEWED_WATER, level)
    mean_field = create_mean_field(SKEWED_WATER, level)
    hamiltonian = Hamiltonian(mean_field)
    fit = AuxiliaryFit(mean_field.mol, auxiliary_basis())
    exact = usual.ground.density
    guess = density_from_fit(mean_field, hamiltonian, fit, fit.coefficients(exact)[:, 0])
    assert float(np.sum(guess * hamiltonian.overlap)) == pytest.approx(10.0, abs=1e-9)
    # The fit's error near the nuclei; superposed atoms are further away by more than ten times.
    error, usual_error = (np.abs(density - exact[0]).max() for density in (guess, mean_field.get_init_guess()))
    assert error < 0.01 < 0.1 < usual_error
    ground = solve_ground_state(mean_field, hamiltonian, guess)
    assert mean_field.cycles <= usual.mean_field.cycles - 2  # type: ignore[attr-defined]
    assert ground.energy == pytest.approx(usual.ground.energy, abs=1e-10)
    np.testing.assert_allclose(ground.density, exact, atol=1e-7)


@pytest.mark.parametrize("charged", [False, True])
def test_archive_saves_cycles(archive: Path, charged: bool) -> None:
    """Also among charges, which the network does not know of."""
    environment = (
        PointCharges(np.array([[0.0, 0.0, 6.0], [0.0, 4.0, -4.0]]), np.array([0.4, -0.4])) if charged else None
    )
    usual = dynamics(WATER, environment=environment)
    warm = dynamics(WATER, environment=environment, initial_guess=archive)
    assert warm.ground_state.energy == pytest.approx(usual.ground_state.energy, abs=1e-10)
    assert warm.ground_state.residual < 1e-7
    assert cycles(warm) < cycles(usual)


def test_bad_density_ends_in_the_same_ground_state(tmp_path: Path) -> None:
    """Twice the density is no density of this molecule, and less than none has no potential at all."""
    expected = prepared("WATER", "rks", "6-31g", "pbe0").ground.energy
    for scale in (2.0, -1.0):
        warm = dynamics(WATER, initial_guess=str(write(tmp_path / "bad.pt", scale=scale)))
        assert warm.ground_state.energy == pytest.approx(expected, abs=1e-10)


def test_replaced_archive_is_loaded_again(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pt")
    first = loaded_archive(str(path))[0]
    assert loaded_archive(str(path))[0] is first
    write(path, scale=0.5)
    assert loaded_archive(str(path))[0] is not first


def test_description_does_not_depend_on_the_place(archive: Path, tmp_path: Path) -> None:
    shutil.copy(archive, tmp_path / "moved.pt")
    other = write(tmp_path / "other.pt", functional="pbe")
    described = [InitialGuess(str(path)).describe() for path in (archive, tmp_path / "moved.pt", other)]
    assert described[0] == described[1] != described[2]


@pytest.mark.parametrize(
    ("molecule", "level", "message"),
    [
        (AMMONIA, LEVEL, r"also has \[7\]"),
        (Molecule(np.array([8, 1]), HYDROXYL.positions, charge=-1), LEVEL, "for neutral molecules, HO has charge -1"),
        (HYDROXYL, LevelOfTheory("uks", "6-31g", "pbe0"), "needs a closed shell and a functional"),
        (WATER, LevelOfTheory("rhf", "6-31g"), "needs a closed shell and a functional"),
        (WATER, LevelOfTheory("rks", "6-31g", "b3lyp"), "functional pbe0, this is b3lyp.*leave initial_guess out"),
    ],
)
def test_archives_that_do_not_suit(archive: Path, molecule: Molecule, level: LevelOfTheory, message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        dynamics(molecule, level, initial_guess=archive)


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ElectronDynamicsError, match=r"none\.pt' is not a file: export a model"):
        dynamics(WATER, initial_guess=tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no model")
    with pytest.raises(ElectronDynamicsError, match=r"text\.pt"):
        dynamics(WATER, initial_guess=tmp_path / "text.pt")
    with pytest.raises(ElectronDynamicsError, match="initial_guess cannot be 3"):
        dynamics(WATER, initial_guess=3)


def test_archive_of_one_molecule(tmp_path: Path) -> None:
    path = write(tmp_path / "water.pt", water=True)
    dynamics(WATER, initial_guess=path)
    with pytest.raises(ElectronDynamicsError, match="reorder"):
        dynamics(Molecule(WATER.numbers[::-1], WATER.positions[::-1]), initial_guess=path)


def test_spectrum_command(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is relative to the configuration; a wrong archive is refused before anything is computed."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    shutil.copy(archive, folder / "model.pt")
    ase.io.write(folder / "water.xyz", ase.Atoms("OHH", WATER.positions * NM_PER_BOHR * 10))
    config: dict[str, Any] = {
        "geometries": "water.xyz",
        "level": {"method": "rks", "functional": "pbe0", "basis": "6-31g", "grid_level": 1},
        "directions": ["z"],
        "time": "1 fs",
        "time_step": "10 as",
    }
    results = {}
    for guess in (None, "model.pt"):
        (folder / "spectrum.yaml").write_text(yaml.safe_dump(config | {"initial_guess": guess}))
        output = tmp_path / f"{guess}.json"
        result = CliRunner().invoke(app, ["spectrum", str(folder / "spectrum.yaml"), "--output", str(output)])
        assert result.exit_code == 0, result.output
        results[guess] = json.loads(output.read_text())
    energies = [entry["geometries"][0]["groundEnergy_hartree"] for entry in results.values()]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)
    strengths = [np.array(entry["mean_per_eV"]) for entry in results.values()]
    np.testing.assert_allclose(strengths[0], strengths[1], atol=1e-4 * np.abs(strengths[0]).max())

    monkeypatch.setattr("openmmkstep.rttddft.simulation.solve_ground_state", lambda *_: pytest.fail("computed"))
    config["level"]["functional"] = "pbe"
    (folder / "spectrum.yaml").write_text(yaml.safe_dump(config | {"initial_guess": "model.pt"}))
    output = tmp_path / "refused.json"
    result = CliRunner().invoke(app, ["spectrum", str(folder / "spectrum.yaml"), "--output", str(output)])
    assert result.exit_code == 1 and "geometry 0:" in result.output
    assert "functional pbe0, this is pbe" in " ".join(result.output.split()) and not output.exists()
