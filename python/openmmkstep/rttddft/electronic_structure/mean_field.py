"""PySCF's objects for a molecule at a level of theory."""

from __future__ import annotations

from typing import Any

from openmmkstep.rttddft.pyscf_loading import load_pyscf
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges


def create_mean_field(molecule: Molecule, level: LevelOfTheory, environment: PointCharges | None = None) -> Any:
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
    pyscf = load_pyscf()
    mol = pyscf.gto.M(
        atom=list(zip(molecule.symbols, molecule.positions.tolist(), strict=True)),
        unit="Bohr",
        basis=level.basis,
        charge=molecule.charge,
        spin=molecule.unpaired,
        cart=False,
        symmetry=False,
        verbose=0,
        # PySCF counts what the process already holds, and sums over smaller blocks, which changes the last bits.
        max_memory=pyscf.lib.param.MAX_MEMORY + pyscf.lib.current_memory()[0],
    )
    kinds = {"rhf": pyscf.scf.RHF, "uhf": pyscf.scf.UHF, "rks": pyscf.dft.RKS, "uks": pyscf.dft.UKS}
    mean_field = kinds[level.method](mol)
    if level.density_fitting:
        mean_field = mean_field.density_fit(auxbasis=level.auxiliary_basis or None)
        mean_field.with_df.build()
    if level.is_kohn_sham:
        mean_field.xc = level.functional
        mean_field.grids.level = level.grid_level
        # The propagation needs every point, also where the ground state has no density.
        mean_field.small_rho_cutoff = 0
        mean_field.grids.build()
        if mean_field.do_nlc():
            mean_field.nlcgrids.build()
    if environment is not None and len(environment):
        mean_field = pyscf.qmmm.mm_charge(mean_field, environment.positions, environment.charges, unit="Bohr")
        mean_field.verbose = 0
    return mean_field
