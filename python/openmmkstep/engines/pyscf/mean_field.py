"""A self-consistent calculation of PySCF in the field of charges, which does not give up at the first failure."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol import EngineError
from .coarse_grid import approach
from .point_charges import PointCharges
from .settings import Settings

Array = NDArray[np.float64]

# The third attempt: what holds most difficult cases together.
_DAMPING = 0.4
_LEVEL_SHIFT = 0.3  # hartree


@dataclass(frozen=True)
class Converged:
    """A calculation that converged.

    Attributes:
        mean_field: The object of PySCF, with its orbitals.
        density: Density matrix [b,b], or [2,b,b] for both spins.
        cycles: Iterations of all attempts.
    """

    mean_field: Any
    density: Array
    cycles: int

    @property
    def total_density(self) -> Array:
        """The density matrix summed over spins [b,b]."""
        return self.density if self.density.ndim == 2 else self.density.sum(axis=0)


def create_mean_field(pyscf: ModuleType, settings: Settings, mol: Any, charges: PointCharges | None) -> Any:
    """An object of PySCF that has not run yet.

    Args:
        pyscf: The package.
        settings: What to calculate.
        mol: The molecule.
        charges: What surrounds it; None for nothing.
    """
    kohn_sham = not settings.is_hartree_fock
    reference = settings.reference or ("restricted" if mol.spin == 0 else "unrestricted")
    prefix = {"restricted": "R", "unrestricted": "U", "restricted-open": "RO"}[reference]
    module, suffix = (pyscf.dft, "KS") if kohn_sham else (pyscf.scf, "HF")
    mean_field = getattr(module, prefix + suffix)(mol)
    if settings.density_fit:
        auxiliary = settings.auxbasis
        mean_field = mean_field.density_fit(auxbasis=dict(auxiliary) if isinstance(auxiliary, dict) else auxiliary)
    if kohn_sham:
        mean_field.xc = settings.xc
        mean_field.grids.level = settings.grid_level
        # Points are left out by their place alone, not by the density that a calculation happens to begin with.
        mean_field.small_rho_cutoff = 0
    if settings.dispersion is not None:
        mean_field.disp = settings.dispersion
    mean_field.conv_tol = settings.conv_tol
    # The error of the energy is of second order in this gradient with respect to the orbitals, that of forces of first.
    mean_field.conv_tol_grad = settings.conv_tol**0.5 / 10
    mean_field.max_cycle = settings.max_cycle
    mean_field.level_shift = settings.level_shift
    mean_field.damp = settings.damp
    mean_field.chkfile = None
    mean_field.verbose = 0
    if charges is not None:
        core = mean_field.get_hcore() + charges.core_hamiltonian
        nuclear = mol.energy_nuc() + charges.nuclear_energy()
        mean_field.get_hcore = lambda *_: core
        mean_field.energy_nuc = lambda *_: nuclear
    return mean_field


def converge(pyscf: ModuleType, mean_field: Any, guess: Array | None, coarse: bool = False) -> Converged:
    """Run a calculation until it converges.

    From the guess, then from a new density, then with damping and level shift, then by second-order steps.

    Args:
        pyscf: The package.
        mean_field: What create_mean_field() made.
        guess: Density matrix to start from; None for PySCF's own.
        coarse: Whether the first two attempts, of a functional, come near on a coarse grid first.

    Raises:
        EngineError: Nothing helped.
    """
    cycles, change = 0, np.nan
    usual = mean_field.damp, mean_field.level_shift
    for name in ("guess", "fresh", "damped", "second order"):
        if name == "guess" and guess is None:
            continue
        start = guess if name == "guess" else mean_field.get_init_guess()
        mean_field.damp, mean_field.level_shift = (
            (max(usual[0], _DAMPING), max(usual[1], _LEVEL_SHIFT)) if name == "damped" else usual
        )
        comes_near = coarse and name in ("guess", "fresh")
        # One more diagonalisation, after convergence, has only a level shift to remove then.
        mean_field.conv_check = not comes_near or bool(mean_field.level_shift)
        if comes_near:
            start, iterations = approach(pyscf, mean_field, np.asarray(start))
            cycles += iterations
        solver = mean_field.newton() if name == "second order" else mean_field
        changes: list[float] = []
        solver.callback = lambda state, changes=changes: changes.append(
            float(state.get("e_tot", np.nan)) - float(state.get("last_hf_e", np.nan))
        )
        solver.kernel(start)
        cycles += len(changes)
        change = changes[-1] if changes else np.nan
        if solver.converged:
            mean_field.callback = None
            if solver is not mean_field:
                for result in ("mo_coeff", "mo_energy", "mo_occ", "e_tot", "converged"):
                    setattr(mean_field, result, getattr(solver, result))
            return Converged(mean_field, np.asarray(mean_field.make_rdm1()), cycles)
    raise EngineError(
        f"the self-consistent calculation did not converge to {mean_field.conv_tol:g} hartree in {cycles} iterations "
        f"(last change of the energy {change:.1e} hartree), neither with damping and level shift nor by second-order "
        "steps: check geometry, charge and multiplicity; raising max_cycle or level_shift helps difficult cases"
    )


def gradient(converged: Converged, settings: Settings) -> Array:
    """Derivative of the energy of the molecule with respect to its atoms [n,3], hartree/bohr, without the charges'."""
    method = converged.mean_field.nuc_grad_method()
    method.verbose = 0
    if not settings.is_hartree_fock:
        method.grid_response = settings.grid_response
    return np.asarray(method.kernel(), dtype=np.float64)
