"""PySCF as a calculator of ASE: against PySCF itself, and inside EIQMMM."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.qmmm import EIQMMM, LJInteractions
from ase.calculators.tip3p import TIP3P, epsilon0, sigma0
from ase.units import Bohr, Hartree

from openmmkstep.ase import QMCalculator
from tests.support.ase.systems import FOUR_PLACES, forces_by_differences, waters

pyscf = pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")

SETTINGS = {"xc": "hf", "basis": "sto-3g", "density_fit": False, "conv_tol": 1e-11}


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 1), (1, 2)])
def test_numbers_are_those_of_pyscf(charge: int, multiplicity: int) -> None:
    atoms = waters(FOUR_PLACES[:1])
    atoms.calc = QMCalculator("pyscf", charge=charge, multiplicity=multiplicity, **SETTINGS)
    mol = pyscf.gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)),
        basis="sto-3g",
        charge=charge,
        spin=multiplicity - 1,
        verbose=0,
    )
    expected = pyscf.scf.HF(mol) if multiplicity == 1 else pyscf.scf.UHF(mol)
    expected.conv_tol = 1e-11
    expected.kernel()
    # Fundamental constants of different years are 1e-8 apart, and so are energies of 2,000 eV by 2e-5.
    assert atoms.get_potential_energy() == pytest.approx(expected.e_tot * Hartree, rel=2e-8)
    gradient = expected.nuc_grad_method().kernel() * Hartree / Bohr
    np.testing.assert_allclose(atoms.get_forces(), -gradient, rtol=0, atol=1e-5)
    energies = np.atleast_2d(expected.mo_energy) * Hartree
    assert atoms.calc.get_number_of_spins() == len(energies)
    for spin, levels in enumerate(energies):
        np.testing.assert_allclose(atoms.calc.get_eigenvalues(spin=spin), levels, rtol=0, atol=1e-4)
        occupied = np.atleast_2d(expected.mo_occ)[spin]
        np.testing.assert_allclose(atoms.calc.get_occupation_numbers(spin=spin), occupied)
    homo, lumo = atoms.calc.get_homo_lumo()
    assert homo < lumo and (lumo > 0 or charge)


def test_electrostatic_embedding_in_water() -> None:
    atoms = waters(FOUR_PLACES)
    calculator = QMCalculator("pyscf", **SETTINGS)
    atoms.calc = EIQMMM([0, 1, 2], calculator, TIP3P(rc=9.0), LJInteractions({("O", "O"): (epsilon0, sigma0)}))
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())
