"""Fock matrix, energy and dipole of occupied orbitals, in the orthonormal basis of Loewdin.

Orbitals and Fock matrices are given in the basis |p'> = sum_q (S^-1/2)_qp |q>, where propagation is unitary in the
plain sense; densities are returned in the atomic basis, where the integrals are. For matrices of operators
F' = S^-1/2 F S^-1/2, for orbitals C' = S^1/2 C, for densities P' = S^1/2 P S^1/2.

Electrons have charge -1. In the length gauge a uniform electric field E adds ``-mu.E = +r.E`` for each electron, so

    F(t) = h + J[P] - K[P] + V_xc[P] + E(t).r

Source of the equations: J. J. Goings, P. J. Lestrange, X. Li, WIREs Comput. Mol. Sci. 8, e1341 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

from .coulomb_exchange import create_coulomb_exchange
from .exchange_correlation import create_exchange_correlation

Array = NDArray[Any]
RealArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Orbitals = tuple[ComplexArray, ...]
"""Occupied orbitals [n, occupied], one array for a closed shell, two (up, down) otherwise; Loewdin basis."""

# Eigenvalues of the overlap matrix below this leave too few digits in S^-1/2.
_SMALLEST_OVERLAP = 1e-8


@dataclass(frozen=True)
class Evaluation:
    """What one Fock build gives.

    Attributes:
        fock: field-free Fock matrices [spins,n,n], Hermitian, Loewdin basis; real where the method has no exact
            exchange.
        energy: of electrons and nuclei without the external field, hartree.
    """

    fock: Array
    energy: float


class Hamiltonian:
    """The electronic Hamiltonian of a molecule with fixed nuclei.

    Attributes:
        overlap, core: overlap and core Hamiltonian [n,n], AO basis.
        position: of the electron, <p|r|q> [3,n,n], AO basis, bohr, about the origin of the coordinates.
        occupation: electrons per occupied orbital, 2 for a closed shell, else 1.
        occupied: number of occupied orbitals of each spin (one number for a closed shell).
        nuclear_energy: hartree.
        nuclear_dipole: sum of Z R [3], e bohr.
        fock_builds: how many were made so far.

    Args:
        mean_field: RHF, UHF, RKS or UKS object of PySCF with its grids built; it need not have run.

    Raises:
        ElectronDynamicsError: the basis set is linearly dependent for this geometry.
    """

    def __init__(self, mean_field: Any) -> None:
        pyscf_mol = mean_field.mol
        closed_shell = not mean_field.istype("UHF")
        self.overlap: RealArray = pyscf_mol.intor_symmetric("int1e_ovlp")
        self.core: RealArray = np.asarray(mean_field.get_hcore())
        self.position: RealArray = pyscf_mol.intor_symmetric("int1e_r", comp=3)
        self.occupation = 2.0 if closed_shell else 1.0
        up, down = (int(number) for number in pyscf_mol.nelec)
        self.occupied: tuple[int, ...] = (up,) if closed_shell else (up, down)
        self.nuclear_energy = float(mean_field.energy_nuc())
        charges = pyscf_mol.atom_charges().astype(np.float64)
        self.nuclear_dipole: RealArray = charges @ pyscf_mol.atom_coords()
        self.fock_builds = 0
        values, vectors = np.linalg.eigh(self.overlap)
        if values[0] < _SMALLEST_OVERLAP:
            raise ElectronDynamicsError(
                f"the basis set is linearly dependent for this geometry (smallest eigenvalue of the overlap matrix "
                f"{values[0]:.1e}): use a basis set with fewer diffuse functions, or check the geometry"
            )
        self._inverse_root: RealArray = (vectors / np.sqrt(values)) @ vectors.T
        self._root: RealArray = (vectors * np.sqrt(values)) @ vectors.T
        self._position = np.stack([self.to_loewdin(component) for component in self.position])
        self._coulomb_exchange = create_coulomb_exchange(mean_field, closed_shell)
        self._exchange_correlation = create_exchange_correlation(mean_field)

    @property
    def size(self) -> int:
        """Number of basis functions."""
        return len(self.overlap)

    @property
    def spins(self) -> int:
        """1 for a closed shell, else 2."""
        return len(self.occupied)

    def evaluate(self, orbitals: Orbitals) -> Evaluation:
        """Field-free Fock matrices and energy of occupied orbitals."""
        return self.evaluate_density(self.density(orbitals))

    def evaluate_density(self, density: Array) -> Evaluation:
        """Field-free Fock matrices and energy of a density.

        Args:
            density: [1,n,n] total density of a closed shell, or [2,n,n] of both spins; Hermitian, AO basis.
        """
        self.fock_builds += 1
        if self._exchange_correlation is None:
            return self._assembled(density, 0.0, None)
        return self._assembled(density, *self._exchange_correlation.evaluate(np.ascontiguousarray(density.real)))

    def _assembled(self, density: Array, functional_energy: float, potential: RealArray | None) -> Evaluation:
        """Fock matrices and energy of a density for which the functional has been evaluated."""
        two_electron = self._coulomb_exchange.potential(density)
        real = density.real
        energy = functional_energy + self.nuclear_energy + float(np.sum(real.sum(axis=0) * self.core))
        # Tr(A D) of Hermitian matrices is the sum over Re(A) Re(D) + Im(A) Im(D).
        energy += 0.5 * float(np.sum(two_electron.real * real))
        if np.iscomplexobj(two_electron):
            energy += 0.5 * float(np.sum(two_electron.imag * density.imag))
        fock = two_electron + self.core
        if potential is not None:
            fock = fock + potential
        return Evaluation(np.stack([self.to_loewdin(matrix) for matrix in fock]), energy)

    def density(self, orbitals: Orbitals) -> ComplexArray:
        """Density matrices in the AO basis: [1,n,n] total of a closed shell, or [2,n,n] of both spins."""
        atomic = [self.to_atomic(part) for part in orbitals]
        return np.stack([self.occupation * (part @ part.conj().T) for part in atomic])

    def dipole(self, orbitals: Orbitals) -> RealArray:
        """Dipole moment of nuclei and electrons [3], e bohr, about the origin of the coordinates."""
        result = self.nuclear_dipole.copy()
        for part in orbitals:
            # The matrices of r are symmetric: the real part of the density is all that they see.
            density = (part @ part.conj().T).real
            result -= self.occupation * (self._position.reshape(3, -1) @ density.ravel())
        return result

    def coupling(self, field: RealArray) -> RealArray:
        """The matrix that an electric field [3] (atomic units) adds to the Fock matrix, Loewdin basis [n,n]."""
        return (field @ self._position.reshape(3, -1)).reshape(self.size, self.size)

    def to_loewdin(self, matrix: Array) -> Array:
        """An operator's matrix, from the AO to the Loewdin basis; exactly Hermitian."""
        result = self._inverse_root @ matrix @ self._inverse_root
        return 0.5 * (result + result.conj().T)

    def to_atomic(self, coefficients: Array) -> Array:
        """Orbital coefficients [n,m], from the Loewdin to the AO basis."""
        return self._inverse_root @ coefficients

    def orbitals_to_loewdin(self, coefficients: Sequence[Array]) -> Orbitals:
        """Orbital coefficients, from the AO to the Loewdin basis; orthonormal to round-off."""
        result = []
        for part in coefficients:
            # QR removes what S^1/2 and the SCF left of the overlap between orbitals; the space they span stays.
            orthonormal, _ = np.linalg.qr(self._root @ np.asarray(part, dtype=np.complex128))
            result.append(orthonormal)
        return tuple(result)
