"""The engine ``pyscf``: Hartree-Fock and density functional theory with any basis set that PySCF knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.elements import symbol_of
from kstep_models.provenance import software_versions
from kstep_models.units import KJ_MOL_PER_HARTREE, NM_PER_BOHR

from ..protocol import EngineError, Orbitals, QMOutput
from .guess import DensityGuess, Surroundings
from .mean_field import Converged, converge, create_mean_field, gradient
from .point_charges import PointCharges
from .settings import Basis, Settings, check_dispersion_parameters, load_pyscf

Array = NDArray[np.float64]

_KJ_MOL_NM = KJ_MOL_PER_HARTREE / NM_PER_BOHR
_BLOCK = 64.0  # MB of integrals over charges at a time; larger blocks are not faster


class PySCF:
    """Energies, forces and the response to point charges by PySCF.

    Forces are derivatives of the energy, through the integration grid and density fitting too. Charges are points:
    Lennard-Jones terms of the force field have to keep them away. A calculation that does not converge is tried from a
    new density, then with damping and level shift, then by second-order steps; results that have not converged are
    never returned.

    Args:
        xc: ``"hf"`` or a functional by PySCF's names, such as ``"b3lyp"``, ``"pbe0"``, ``"wb97x-v"``.
        basis: Name of a basis set, or a mapping of elements to names.
        reference: ``"restricted"``, ``"unrestricted"`` or ``"restricted-open"``; None for restricted closed and
            unrestricted open shells.
        density_fit: Whether Coulomb and exchange integrals are fitted with an auxiliary basis.
        auxbasis: The auxiliary basis; None for that of PySCF.
        ecp: Effective core potentials; None for those that belong to the basis set.
        dispersion: ``"d3bj"``, ``"d3zero"`` or ``"d4"``, with the package pyscf-dispersion; None for none.
        grid_level: Integration grid of the functional, 0 (coarse) to 9.
        grid_response: Whether forces contain the motion of the grid. Without it they are cheaper and not quite
            derivatives of the energy, which then drifts.
        coarse_iterations: Whether all but the last iterations integrate what the functional changes by on a coarse
            grid. What is returned has converged on ``grid_level`` all the same.
        conv_tol: Convergence of the energy, hartree; the gradient with respect to orbitals is converged to a tenth
            of its root.
        max_cycle: Bound of the iterations of one attempt.
        level_shift: Shift of unoccupied orbitals, hartree.
        damp: Part of the old Fock matrix that is kept in each iteration.
        initial_guess: ``"last"`` starts from the last density, ``"learned"`` from one that is learned from up to a
            hundred earlier geometries and what is around them, at any distance in time; ``"fresh"`` starts anew.
            Checkpoints hold what is remembered, 64 MB at most.
            Iterations per call for ethanol (B3LYP/6-31G*) at calls every 8 fs: last 14, learned 9.
        threads: Threads of PySCF.
        max_memory: Memory that it may use beside what the process holds, MB.

    Raises:
        EngineError: A setting that is not what it should be.
    """

    def __init__(
        self,
        xc: str,
        basis: Basis,
        reference: str | None = None,
        density_fit: bool = True,
        auxbasis: Basis | None = None,
        ecp: Basis | None = None,
        dispersion: str | None = None,
        grid_level: int = 3,
        grid_response: bool = True,
        coarse_iterations: bool = True,
        conv_tol: float = 1e-9,
        max_cycle: int = 50,
        level_shift: float = 0.0,
        damp: float = 0.0,
        initial_guess: str = "learned",
        threads: int = 1,
        max_memory: int = 4000,
    ) -> None:
        self._settings = Settings(
            xc,
            basis,
            reference,
            density_fit,
            auxbasis,
            ecp,
            dispersion,
            grid_level,
            grid_response,
            coarse_iterations,
            conv_tol,
            max_cycle,
            level_shift,
            damp,
            initial_guess,
            threads,
            max_memory,
        )
        self._guess = DensityGuess(initial_guess)
        self._pyscf: ModuleType | None = None
        self._mol: Any = None
        self._orbitals: Orbitals | None = None

    def describe(self) -> dict[str, Any]:
        """The settings that change results by more than convergence does."""
        return self._settings.describe()

    def version(self) -> str:
        """Of PySCF and what it takes functionals, integrals and dispersion from."""
        return json.dumps(software_versions(("pyscf", "pyscf-dispersion")))

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take a molecule.

        Raises:
            EngineError: PySCF is not installed; it does not know functional or basis set, or has no basis set for an
                element; the reference does not fit the multiplicity.
        """
        pyscf = load_pyscf()
        self._settings.check(pyscf, numbers, multiplicity)
        symbols = [symbol_of(int(number)) for number in numbers]
        # Somewhere: each calculation has its own geometry.
        places = [(symbol, (2.0 * index, 0.0, 0.0)) for index, symbol in enumerate(symbols)]
        self._mol = pyscf.gto.M(
            atom=places,
            unit="Bohr",
            basis={symbol: self._settings.basis_of(symbol) for symbol in set(symbols)},
            ecp=self._settings.core_potentials(pyscf, numbers),
            charge=int(charge),
            spin=int(multiplicity) - 1,
            cart=False,
            symmetry=False,
            verbose=0,
        )
        check_dispersion_parameters(self._settings, self._mol)
        self._pyscf = pyscf
        self._guess.forget()

    def reset(self) -> None:
        """Start the next calculation anew."""
        self._guess.forget()
        self._orbitals = None

    def memory(self) -> bytes:
        """The densities from which the next calculation starts."""
        return self._guess.to_bytes()

    def recall(self, memory: bytes) -> None:
        """Start the next calculation from the densities of another engine for the same molecule.

        Raises:
            EngineError: They are of another molecule or basis set, or damaged.
        """
        if self._pyscf is None:
            raise EngineError("check() gives the molecule, and has not been called")
        self._orbitals = None
        self._guess.from_bytes(memory, self._mol.natm, self._mol.nao_nr())

    def orbitals(self) -> Orbitals | None:
        """The orbitals of the last calculation; None if there was none."""
        return self._orbitals

    def compute(
        self, positions: Array, charge_positions: Array, charges: Array, needs_potential: NDArray[np.bool_]
    ) -> QMOutput:
        """One calculation, as `openmmkstep.engines.protocol.QMEngine` says.

        Raises:
            EngineError: It does not converge, or there is no molecule yet.
        """
        if self._pyscf is None:
            raise EngineError("check() gives the molecule, and has not been called")
        with _threads(self._pyscf, self._settings.threads):
            return self._compute(self._pyscf, positions, charge_positions, charges, needs_potential)

    def _compute(
        self,
        pyscf: ModuleType,
        positions: Array,
        charge_positions: Array,
        charges: Array,
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        mol = self._mol.copy()
        mol.set_geom_(np.asarray(positions) / NM_PER_BOHR, unit="Bohr")
        mol.verbose = 0
        # PySCF counts what the process already holds; a large one would be slow and differ in the last bits.
        mol.max_memory = self._settings.max_memory + pyscf.lib.current_memory()[0]
        around = potential_between = None
        if len(charges):
            memory = min(_BLOCK, self._settings.max_memory / 8)
            around = PointCharges(mol, np.asarray(charge_positions) / NM_PER_BOHR, np.asarray(charges), memory)
            potential_between = around.core_hamiltonian
        mean_field = create_mean_field(pyscf, self._settings, mol, around)
        overlap = np.asarray(mean_field.get_ovlp())
        surroundings = Surroundings(mol.atom_coords(), overlap, potential_between, mol.ao_rotation_matrix)
        guess = self._guess.predict(surroundings)
        converged = converge(pyscf, mean_field, guess, self._settings.iterates_on_coarse_grid)
        self._guess.remember(surroundings, converged.density)
        self._orbitals = Orbitals(
            np.atleast_2d(mean_field.mo_energy) * KJ_MOL_PER_HARTREE, np.atleast_2d(mean_field.mo_occ)
        )
        slopes = gradient(converged, self._settings)
        on_charges, potential = np.zeros((len(charges), 3)), np.zeros(len(charges))
        if around is not None:
            derivatives = around.derivatives(converged.total_density, needs_potential)
            slopes = slopes + derivatives.atoms
            on_charges, potential = derivatives.positions, derivatives.charges
        return QMOutput(
            energy=float(mean_field.e_tot) * KJ_MOL_PER_HARTREE,
            gradient=slopes * _KJ_MOL_NM,
            charge_gradient=on_charges * _KJ_MOL_NM,
            potential_at_charges=potential * KJ_MOL_PER_HARTREE,
            atomic_charges=_mulliken_charges(mol, overlap, converged),
            dipole=_dipole(mol, converged) * NM_PER_BOHR,
            iterations=converged.cycles,
        )


def _mulliken_charges(mol: Any, overlap: Array, converged: Converged) -> Array:
    populations = np.einsum("mn,nm->m", converged.total_density, overlap)
    by_atom = [populations[first:end].sum() for first, end in mol.aoslice_by_atom()[:, 2:]]
    charges: Array = np.asarray(mol.atom_charges(), dtype=np.float64) - by_atom
    return charges


def _dipole(mol: Any, converged: Converged) -> Array:
    """Relative to the origin, e bohr."""
    with mol.with_common_orig((0.0, 0.0, 0.0)):
        integrals = mol.intor_symmetric("int1e_r", comp=3)
    electrons = np.einsum("xmn,nm->x", integrals, converged.total_density)
    moment: Array = np.asarray(mol.atom_charges(), dtype=np.float64) @ mol.atom_coords() - electrons
    return moment


@contextmanager
def _threads(pyscf: ModuleType, number: int) -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with pyscf.lib.with_omp_threads(number), threadpool_limits(number, user_api="blas"):
        yield
