"""An SCF that begins from the density that a network predicts.

A network gives the density as a sum of auxiliary functions. That is enough for the potential of exchange and
correlation, but neither a density matrix nor exact exchange; and its Coulomb potential has the fit's errors near the
nuclei. So only V_xc is taken from it, and the orbitals are those of a closed shell in the fixed potential,

    F[P] = h + J[P] - K[P] + V_xc[predicted density],

iterated roughly: without the functional, whose quadrature takes most of the time of an SCF's cycle in small and medium
molecules, these cycles are nearly free. The field of charges around the molecule acts through h, and J and K answer to
it, although the network knows of none. The SCF that follows is the usual one, with the usual criteria.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit
from openmmkstep.rttddft.electronic_structure.exchange_correlation import potential_of_points
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.pyscf_loading import load_pyscf
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule

from .archive import ArchiveUse, arguments, loaded_archive, without_optimisation

RealArray = NDArray[np.float64]

# Hartree; a potential of a predicted density is not worth more.
_ENERGY_TOLERANCE = 1e-6
_MAX_CYCLES = 20
# PySCF's coarsest grid: the error of the predicted density is larger than its own (as many cycles are saved as with
# level 2, for a sixth of the time).
_GRID_LEVEL = 0
_USE = ArchiveUse(
    setting="initial_guess",
    purpose="an initial guess from a network",
    missing="is not a file",
    otherwise="leave initial_guess out",
)


@dataclass(frozen=True)
class InitialGuess:
    """A network whose densities SCFs begin from.

    Attributes:
        archive: of kind "fxc".
    """

    archive: str

    def describe(self) -> str:
        """What tells it from another, the same wherever the archive lies.

        Raises:
            ElectronDynamicsError: the archive cannot be used.
        """
        return _USE.describe(self.archive)

    def check(self, molecule: Molecule, level: LevelOfTheory) -> None:
        """Refuse what cannot work for a molecule; cheap.

        Raises:
            ElectronDynamicsError: see :meth:`.ArchiveUse.check`.
        """
        _USE.check(self.archive, molecule, level)

    def density(self, mean_field: Any, molecule: Molecule, hamiltonian: Hamiltonian) -> RealArray:
        """Density to begin with [n,n], AO basis.

        Args:
            mean_field: RKS object of PySCF.
            molecule: its nuclei.
            hamiltonian: of the same.

        Raises:
            ElectronDynamicsError: the archive cannot be used, or the functional needs more than density and gradient.
        """
        return density_from_fit(mean_field, hamiltonian, *predicted_density(self.archive, mean_field, molecule))


def predicted_density(source: str, mean_field: Any, molecule: Molecule) -> tuple[AuxiliaryFit, RealArray]:
    """The ground state's density that a network predicts: its auxiliary functions and their coefficients [M].

    Raises:
        ElectronDynamicsError: the archive cannot be used, or does not cover the molecule.
    """
    module, contract = loaded_archive(source)
    fit = AuxiliaryFit(mean_field.mol, contract.basis())
    with without_optimisation():
        _, density = module(*arguments(molecule))
    return fit, density.numpy()


def density_from_fit(
    mean_field: Any, hamiltonian: Hamiltonian, fit: AuxiliaryFit, coefficients: RealArray
) -> RealArray:
    """The density matrix [n,n] of a closed shell in the exchange-correlation potential of a density; AO basis.

    Args:
        mean_field: RKS object of PySCF.
        hamiltonian: of the same molecule and level of theory.
        fit: auxiliary functions.
        coefficients: of the density in them [M].

    Raises:
        ElectronDynamicsError: the functional needs more than density and gradient.
    """

    def density_at(points: RealArray, gradient: bool) -> RealArray:
        return fit.density(points, coefficients, gradient)

    pyscf = load_pyscf()
    grids = pyscf.dft.Grids(mean_field.mol)
    grids.level = _GRID_LEVEL
    grids.build()
    core = hamiltonian.core + potential_of_points(mean_field, grids, density_at)
    solver = pyscf.scf.RHF(mean_field.mol)
    solver.get_hcore = lambda mol=None: core
    solver.get_ovlp = lambda mol=None: hamiltonian.overlap
    solver.get_veff = lambda mol, dm, *_, **__: hamiltonian._coulomb_exchange.potential(np.asarray(dm)[None])[0].real
    solver.conv_tol, solver.max_cycle = _ENERGY_TOLERANCE, _MAX_CYCLES
    solver.verbose, solver.chkfile = 0, None
    solver.kernel(dm0=mean_field.get_init_guess())
    # Where that has not converged, it is a guess all the same.
    return np.asarray(solver.make_rdm1())
