"""QM engines as calculators of ASE: against the calculators of others, against differences, and inside EIQMMM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculatorSetupError, PropertyNotImplementedError
from ase.calculators.qmmm import EIQMMM, LJInteractions, SimpleQMMM
from ase.calculators.tip3p import TIP3P, epsilon0, sigma0
from ase.units import Bohr, Hartree

from openmmkstep.ase import QMCalculator
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError, QMOutput
from tests.support.ase.systems import FOUR_PLACES, ethanol, forces_by_differences, waters
from tests.support.engines import libxtb
from tests.support.engines.polarizable import Polarizable

LENNARD_JONES = {("O", "O"): (epsilon0, sigma0)}


@pytest.mark.parametrize(("method", "others"), [("gfn2-xtb", "GFN2-xTB"), ("gfn1-xtb", "GFN1-xTB")])
def test_numbers_are_those_of_the_calculator_of_xtb(method: str, others: str) -> None:
    xtb = pytest.importorskip("xtb.ase.calculator", reason="pip install xtb==22.1")
    ours, theirs = ethanol(), ethanol()
    ours.calc = QMCalculator(method)
    theirs.calc = xtb.XTB(method=others, accuracy=0.01)
    # The same library; what is left is 1e-8 hartree of the self-consistent calculation.
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=5e-7)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.get_charges(), theirs.get_charges(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.get_dipole_moment(), theirs.get_dipole_moment(), rtol=0, atol=1e-5)
    assert ours.get_potential_energy(force_consistent=True) == ours.get_potential_energy()


def test_forces_are_derivatives() -> None:
    atoms = ethanol()
    atoms.calc = QMCalculator("gfn2-xtb", accuracy=1e-3)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())


def test_orbitals() -> None:
    atoms = molecule("H2O")
    atoms.calc = QMCalculator("gfn2-xtb")
    with pytest.raises(PropertyNotImplementedError, match="has calculated nothing yet"):
        atoms.calc.get_homo_lumo()
    atoms.get_potential_energy()
    homo, lumo = atoms.calc.get_homo_lumo()
    assert -12.3 < homo < -12.0 and lumo > homo
    np.testing.assert_allclose(atoms.calc.get_eigenvalues()[3:5], [homo, lumo])
    assert atoms.calc.get_occupation_numbers().sum() == pytest.approx(8)
    assert atoms.calc.get_number_of_spins() == 1
    atoms.calc = QMCalculator("test-analytic", charges=[-0.8, 0.4, 0.4])
    atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError, match="test-analytic has no orbitals"):
        atoms.calc.get_homo_lumo()


@pytest.mark.parametrize("vacuum", [None, 3.0])
@pytest.mark.parametrize("method", ["gfn2-xtb", "gfn1-xtb"])
def test_electrostatic_embedding_in_water(method: str, vacuum: float | None) -> None:
    atoms = waters(FOUR_PLACES)
    calculator = QMCalculator(method, accuracy=1e-3)
    atoms.calc = EIQMMM([0, 1, 2], calculator, TIP3P(rc=9.0), LJInteractions(LENNARD_JONES), vacuum=vacuum)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-8)
    # The field polarises: more than charges at rest would give.
    alone = atoms[:3]
    alone.pbc, alone.calc = False, QMCalculator(method, accuracy=1e-3)
    assert np.abs(alone.get_charges() - calculator.results["charges"]).max() > 0.01


def test_mechanical_embedding_in_water() -> None:
    atoms = waters(FOUR_PLACES)
    atoms.calc = SimpleQMMM([0, 1, 2], QMCalculator("gfn2-xtb", accuracy=1e-3), TIP3P(rc=9.0), TIP3P(rc=9.0))
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())


class Counting(Polarizable):
    """An engine in Python that counts its calculations."""

    calls = 0

    def compute(self, *arguments: Any) -> QMOutput:
        Counting.calls += 1
        return super().compute(*arguments)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(registry, "_registered", {"counting": Counting})
    monkeypatch.setattr(Counting, "calls", 0)
    return Counting


def test_an_engine_in_python_is_called_once_for_each_geometry(counting: type[Counting]) -> None:
    atoms = molecule("H2O")
    atoms.calc = QMCalculator("Counting", stiffness=4e5)
    atoms.get_forces(), atoms.get_potential_energy(), atoms.get_dipole_moment(), atoms.get_charges()
    assert counting.calls == 1
    surroundings = atoms.calc.embed([0.4, -0.4])
    with pytest.raises(ValueError, match="the point charges have no positions"):
        atoms.get_potential_energy()
    surroundings.set_positions([[4, 1, 0], [0, -4, 2]])
    atoms.get_forces()
    forces = surroundings.get_forces(atoms.calc)
    assert counting.calls == 2
    surroundings.set_positions([[4, 1, 0], [0, -4, 3]])
    assert (surroundings.get_forces(atoms.calc) != forces).any() and counting.calls == 3
    surroundings.set_charges([0.5, -0.5])
    atoms.get_potential_energy()
    assert counting.calls == 4
    # Forces on the charges balance those on the atoms.
    np.testing.assert_allclose(surroundings.get_forces(atoms.calc).sum(axis=0), -atoms.get_forces().sum(axis=0))
    atoms.calc.set(stiffness=3e5)
    atoms.get_potential_energy()
    assert counting.calls == 5
    assert atoms.calc.set(stiffness=3e5) == {}
    atoms.get_potential_energy()
    assert counting.calls == 5


def test_bad_point_charges() -> None:
    surroundings = QMCalculator("gfn2-xtb").embed([0.4, -0.4])
    with pytest.raises(ValueError, match=r"2 point charges must be finite numbers of the shape \[2, 3\]"):
        surroundings.set_positions(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="one row of finite numbers"):
        surroundings.set_charges([np.nan, 0])


class Taciturn(Polarizable):
    """Tells neither charges nor dipole moment."""

    def compute(self, *arguments: Any) -> QMOutput:
        output = super().compute(*arguments)
        return QMOutput(output.energy, output.gradient, output.charge_gradient, output.potential_at_charges, None, None)


def test_what_an_engine_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {"taciturn": Taciturn})
    atoms = molecule("H2O")
    atoms.calc = QMCalculator("taciturn", stiffness=4e5)
    assert np.isfinite(atoms.get_potential_energy())
    for ask in (atoms.get_charges, atoms.get_dipole_moment):
        with pytest.raises(PropertyNotImplementedError):
            ask()


def test_charge_and_multiplicity() -> None:
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]])
    oxygen.calc = QMCalculator("gfn2-xtb")
    singlet = oxygen.get_potential_energy()
    oxygen.set_initial_magnetic_moments([1, 1])
    triplet = oxygen.get_potential_energy()
    for energy, unpaired in ((singlet, 0), (triplet, 2)):
        expected = libxtb.single_point([8, 8], oxygen.positions / Bohr, unpaired=unpaired)[0] * Hartree
        assert energy == pytest.approx(expected, abs=1e-5)
    assert abs(triplet - singlet) > 0.01
    oxygen.set_initial_magnetic_moments(None)
    oxygen.calc.set(multiplicity=3)
    assert oxygen.get_potential_energy() == pytest.approx(triplet, abs=1e-5)
    ion = molecule("H2O")
    ion.set_initial_charges([0.4, 0.3, 0.3])
    ion.set_initial_magnetic_moments([1, 0, 0])
    ion.calc = QMCalculator("gfn2-xtb")
    assert ion.get_charges().sum() == pytest.approx(1, abs=1e-6)
    ion.calc.set(charge=0, multiplicity=1)
    assert ion.get_charges().sum() == pytest.approx(0, abs=1e-6)


def test_bad_molecules() -> None:
    hydroxyl = molecule("OH")
    hydroxyl.set_initial_magnetic_moments(None)
    hydroxyl.calc = QMCalculator("gfn2-xtb")
    with pytest.raises(EngineError, match=r"9 electrons cannot have 0 unpaired.*Give charge and multiplicity"):
        hydroxyl.get_potential_energy()
    hydroxyl.set_initial_charges([0.5, 0.0])
    with pytest.raises(CalculatorSetupError, match=r"initial charges of the atoms sum to 0.5, which is no integer"):
        hydroxyl.get_potential_energy()
    hydroxyl.set_initial_charges(None)
    hydroxyl.set_initial_magnetic_moments([[0, 0, 1], [0, 0, 0]])
    with pytest.raises(CalculatorSetupError, match="one number for each atom"):
        hydroxyl.get_potential_energy()
    periodic = molecule("H2O", vacuum=3, pbc=True)
    periodic.calc = QMCalculator("gfn2-xtb")
    with pytest.raises(CalculatorSetupError, match=r"set atoms.pbc = False"):
        periodic.get_potential_energy()
    with pytest.raises(EngineError, match="did you mean 'gfn2-xtb'"):
        QMCalculator("gfn2")
    with pytest.raises(EngineError, match="has no setting 'acuracy'"):
        QMCalculator("gfn2-xtb", acuracy=1)


def test_without_ase(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    import openmmkstep.ase as face

    real = builtins.__import__

    def blocked(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "ase":
            raise ImportError("blocked")
        return real(name, *arguments, **options)

    monkeypatch.delitem(vars(face), "QMCalculator", raising=False)
    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ImportError, match=r"blocked\): pip install 'openmm-kstep\[ase\]'"):
        _ = face.QMCalculator
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = face.Nothing
