"""What users give: checked before anything is computed, with an answer that helps."""

from __future__ import annotations

import builtins
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from openmm import app, unit

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    ElectronDynamicsError,
    GaussianEnvelope,
    LevelOfTheory,
    Magnus2,
    MissingDependencyError,
    Molecule,
    NoField,
    Pulse,
    SinSquaredEnvelope,
    UserField,
)
from openmmkstep.rttddft.units import NM_PER_BOHR
from tests.support.electrons.systems import HYDROXYL, WATER

HF = LevelOfTheory("rhf", "sto-3g")


def test_molecule_takes_the_units_of_openmm() -> None:
    nanometers = [[0, 0, 0], [0, 0, 0.1]]
    for elements, positions in (
        (["O", "h"], nanometers),
        ([8, 1], unit.Quantity(np.array(nanometers) * 10, unit.angstrom)),
        ([app.element.oxygen, app.element.hydrogen], unit.Quantity(nanometers, unit.nanometer)),
    ):
        molecule = Molecule.create(elements, positions, charge=-1)
        assert np.array_equal(molecule.numbers, [8, 1])
        assert molecule.positions[1, 2] == pytest.approx(0.1 / NM_PER_BOHR, rel=1e-12)
        assert molecule.electrons == 10
    assert WATER.name == "H2O"


def test_names_of_molecules() -> None:
    places = np.arange(15.0).reshape(5, 3)
    assert Molecule(np.array([17, 6, 1, 1, 1]), places).name == "CH3Cl"
    assert Molecule(np.array([17, 6, 1, 1, 1]), places, name="chloromethane").name == "chloromethane"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", np.zeros((0, 3))), "list of atomic numbers"),
        (("OH", np.zeros((3, 3))), "shape"),
        (("OH", [[0, 0, 0], [0, 0, np.nan]]), "finite"),
        (("OH", "nowhere"), "array of numbers"),
        ((["Xx", "H"], [[0, 0, 0], [0, 0, 0.1]]), "unknown element 'Xx'"),
        ((["I", "H"], [[0, 0, 0], [0, 0, 0.1]]), "H to Kr"),
        (("OH", [[0, 0, 0], [0, 0, 0.001]]), "bohr apart: check the units"),
        (("OH", [[0, 0, 0], [0, 0, 0.1]]), "cannot have multiplicity 1"),
        (("OH", [[0, 0, 0], [0, 0, 0.1]], 1, 2), "cannot have multiplicity 2"),
        (("HH", [[0, 0, 0], [0, 0, 0.1]], 0, 5), "cannot have multiplicity 5"),
        (("H", [[0, 0, 0]], 1), "no electrons left"),
        (("OH", [[0, 0, 0], [0, 0, 0.1]], 0.5, 2), "charge must be an integer"),
        (("OH", [[0, 0, 0], [0, 0, 0.1]], 0, 0), "multiplicity must be at least 1"),
    ],
)
def test_impossible_molecules(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        Molecule.create(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ccsd", "6-31g"), "unknown method 'ccsd'"),
        (("rhf", " "), "no basis set"),
        (("rks", "6-31g"), "needs a functional"),
        (("rhf", "6-31g", "pbe0"), "has no functional"),
        (("rhf", "6-31g", "", False, "def2-svp-jkfit"), "density_fitting=True"),
        (("rks", "6-31g", "pbe0", False, "", 10), "grid_level"),
        (("rks", "6-31g", "pbe0", False, "", -1), "grid_level"),
    ],
)
def test_impossible_levels_of_theory(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        LevelOfTheory(*arguments)


@pytest.mark.parametrize(
    ("molecule", "level", "message"),
    [
        (HYDROXYL, LevelOfTheory("rhf", "6-31g"), "unpaired electrons, rhf has none: use uhf"),
        (HYDROXYL, LevelOfTheory("rks", "6-31g", "pbe"), "use uks"),
        (WATER, LevelOfTheory("rhf", "7-42g"), "basis set '7-42g' is not known"),
        (WATER, LevelOfTheory("rhf", "6-31g", density_fitting=True, auxiliary_basis="fit"), "basis set 'fit'"),
        (WATER, LevelOfTheory("rks", "6-31g", "pbe42"), "functional 'pbe42' is not known"),
        (WATER, LevelOfTheory("rks", "6-31g", ","), "is empty"),
        (WATER, LevelOfTheory("rks", "6-31g", "b3lyp-d3bj"), "dispersion"),
    ],
)
def test_levels_of_theory_that_do_not_suit(molecule: Molecule, level: LevelOfTheory, message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        ElectronDynamics(molecule, level, CFM4(0.2))


@pytest.mark.parametrize("scheme", [CFM4, Magnus2])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), "time step must be positive"),
        ((-0.1,), "time step must be positive"),
        ((np.inf,), "time step must be finite"),
        (("fast",), "time step must be a number"),
        ((0.1, 0.0), "tolerance must be positive"),
        ((0.1, 1e-9, 0), "max_iterations"),
    ],
)
def test_impossible_propagators(scheme: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        scheme(*arguments)


ENVELOPE = GaussianEnvelope(1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeltaKick(0.0), "kick strength is zero"),
        (lambda: DeltaKick(np.nan), "kick strength must be finite"),
        (lambda: DeltaKick(1e-3, (0, 0, 0)), "kick direction is zero"),
        (lambda: DeltaKick(1e-3, (0, 1)), "three finite numbers"),
        (lambda: DeltaKick(1e-3, "z"), "three numbers"),
        (lambda: GaussianEnvelope(0.0, 0.0), "pulse width must be positive"),
        (lambda: SinSquaredEnvelope(0.0, -1.0), "pulse duration must be positive"),
        (lambda: Pulse(0.01, ENVELOPE, (0, 0, 0)), "field direction is zero"),
        (lambda: Pulse(0.01, ENVELOPE, frequency=-1.0), "must not be negative"),
        (lambda: Pulse(0.01, 3.0), "envelope must be"),  # type: ignore[arg-type]
        (lambda: UserField(3.0, "constant"), "must be a function"),  # type: ignore[arg-type]
        (lambda: UserField(lambda time: (0, 0, time), ""), "needs a name"),
        (lambda: UserField(lambda time: (0, time), "flat").at(1.0), "expected 3"),
        (lambda: UserField(lambda time: "strong", "words").at(1.0), "'words' gave 'strong'"),
        (lambda: UserField(lambda time: (0, 0, np.nan), "nan").at(1.0), "finite"),
        (lambda: ElectronDynamics(WATER, HF, CFM4(0.2), field=UserField(lambda time: 1.0, "scalar")), "expected 3"),
        (lambda: ElectronDynamics(WATER, HF, 0.2), "propagator cannot be 0.2"),  # type: ignore[arg-type]
        (lambda: ElectronDynamics(WATER, HF, CFM4(0.2), kick=1e-3), "kick cannot be"),  # type: ignore[arg-type]
        (lambda: ElectronDynamics(WATER, HF, CFM4(0.2), threads=0), "threads"),
    ],
)
def test_impossible_fields_and_runs(make: Any, message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        make()


def test_fields_have_their_shapes() -> None:
    gaussian = Pulse(0.02, GaussianEnvelope(5.0, 2.0), (0, 3, 4))
    assert np.allclose(gaussian.at(5.0), [0, 0.012, 0.016])
    assert np.allclose(gaussian.at(7.0), np.exp(-0.5) * gaussian.at(5.0))
    resonant = Pulse(-0.02, SinSquaredEnvelope(1.0, 10.0), frequency=0.7, phase=0.2)
    assert np.allclose(resonant.at(6.0), [0, 0, -0.02 * np.cos(0.2)])
    assert np.allclose(resonant.at(3.5), [0, 0, -0.02 * np.sin(np.pi / 4) ** 2 * np.cos(0.2 - 0.7 * 2.5)])
    assert not resonant.at(0.9).any() and not resonant.at(11.1).any()
    assert not NoField().at(3.0).any()


def test_missing_pyscf_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_pyscf(name: str, *rest: Any) -> Any:
        if name.startswith("pyscf"):
            raise ImportError("No module named 'pyscf'")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pyscf)
    with pytest.raises(MissingDependencyError, match=r"pip install 'openmm-kstep\[pyscf\]'"):
        ElectronDynamics(WATER, HF, CFM4(0.2))


def test_importing_does_not_need_pyscf() -> None:
    code = "import sys, openmmkstep.rttddft; sys.exit('pyscf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
