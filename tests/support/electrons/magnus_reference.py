"""Magnus propagation with PySCF integrals, as short as it can be: what NWChem is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[Any]


class MagnusReference:
    """Density matrices [spins,n,n] of a converged mean field; each spin holds its own electrons."""

    def __init__(self, mean_field: Any) -> None:
        self.mol = mean_field.mol
        self.mean_field = mean_field
        self.core = mean_field.get_hcore()
        self.position = self.mol.intor("int1e_r")
        self.root = scipy.linalg.sqrtm(mean_field.get_ovlp()).real
        self.inverse = np.linalg.inv(self.root)
        self.repulsion = self.mol.intor("int2e")
        self.functional = getattr(mean_field, "xc", None)
        density = mean_field.make_rdm1()
        self.closed = density.ndim == 2
        self.ground = np.stack([0.5 * density, 0.5 * density]) if self.closed else density

    def fock(self, density: Array) -> Array:
        coulomb = np.einsum("ijkl,lk->ij", self.repulsion, density.sum(axis=0).real)
        share = 1.0
        potential = np.zeros_like(coulomb)
        if self.functional:
            numint = self.mean_field._numint
            share = numint.hybrid_coeff(self.functional)
            grids = self.mean_field.grids
            if self.closed:
                potential = numint.nr_rks(self.mol, grids, self.functional, density.real.sum(axis=0))[2]
            else:
                potential = numint.nr_uks(self.mol, grids, self.functional, density.real.copy())[2]
        exchange = np.einsum("ikjl,slk->sij", self.repulsion, density.transpose(0, 2, 1))
        return self.core + coulomb + potential - share * exchange

    def propagate(self, field: Callable[[float], Array], time_step: float, steps: int) -> list[Array]:
        """Densities after every step, t = 0 first; the field in the middle of a step counts."""
        density = self.ground.astype(complex)
        result, now, last = [density], self.fock(density), None
        for step in range(steps):
            coupling = np.einsum("x,xij->ij", field((step + 0.5) * time_step), self.position)
            guess = now if last is None else 2 * now - last
            for _ in range(40):
                unitary = self._unitary(0.5 * (now + guess) + coupling, time_step)
                moved = unitary @ density @ unitary.conj().transpose(0, 2, 1)
                end = self.fock(moved)
                change = np.abs(end - guess).max()
                guess = end
                if change < 1e-11:
                    break
            else:
                raise RuntimeError(f"step {step + 1} did not converge")
            last, now, density = now, end, moved
            result.append(density)
        return result

    def _unitary(self, fock: Array, time_step: float) -> Array:
        values, vectors = np.linalg.eigh(self.inverse @ fock @ self.inverse)
        phases = np.exp(-1j * time_step * values)[:, None, :]
        return self.inverse @ (vectors * phases) @ vectors.conj().transpose(0, 2, 1) @ self.root
