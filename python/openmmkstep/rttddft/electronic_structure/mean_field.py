"""PySCF's objects for a molecule at a level of theory."""

from __future__ import annotations

from typing import Any

from openmmkstep.rttddft.pyscf_loading import loadPySCF
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges


def createMeanField(molecule: Molecule, level: LevelOfTheory, environment: PointCharges | None = None) -> Any:
    """An SCF object of PySCF that has not run yet, with its integration grid built.

    Args:
        molecule: nuclei and electrons.
        level: level of theory.
        environment: charges that act on nuclei and electrons.

    Raises:
        ElectronDynamicsError: the level of theory does not suit the molecule, or a charge lies on a nucleus.
        MissingDependencyError: PySCF is not installed.
    """
    level.check(molecule)
    if environment is not None:
        environment.check(molecule)
    pyscf = loadPySCF()
    mol = pyscf.gto.M(
        atom=list(zip(molecule.symbols, molecule.positions.tolist(), strict=True)),
        unit="Bohr",
        basis=level.basis,
        charge=molecule.charge,
        spin=molecule.unpaired,
        cart=False,
        symmetry=False,
        verbose=0,
    )
    kinds = {"rhf": pyscf.scf.RHF, "uhf": pyscf.scf.UHF, "rks": pyscf.dft.RKS, "uks": pyscf.dft.UKS}
    meanField = kinds[level.method](mol)
    if level.densityFitting:
        meanField = meanField.density_fit(auxbasis=level.auxiliaryBasis or None)
        meanField.with_df.build()
    if level.isKohnSham:
        meanField.xc = level.functional
        meanField.grids.level = level.gridLevel
        # The propagation needs every point, also where the ground state has no density.
        meanField.small_rho_cutoff = 0
        meanField.grids.build()
        if meanField.do_nlc():
            meanField.nlcgrids.build()
    if environment is not None and len(environment):
        meanField = pyscf.qmmm.mm_charge(meanField, environment.positions, environment.charges, unit="Bohr")
        meanField.verbose = 0
    return meanField
