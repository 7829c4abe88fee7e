"""Densities that are nearly self-consistent, by iterations on a coarse integration grid.

Most of the time of an iteration goes into the integration of the functional. What it is on the fine grid is known at
one density, and only its changes from there are integrated on the coarse one:

    E(D) = E_coarse(D) + E_fine(D0) - E_coarse(D0) + tr[(V_fine - V_coarse)(D0) (D - D0)]

has the fine grid's gradient at D0. Its minimum differs from that of E_fine by the coarse grid's error of the second
derivative times D - D0, so that each round, from the minimum of the one before, leaves a small part of the error.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COARSE_LEVEL = 0
"""Of the coarse grid, by PySCF's count."""

# Electrons (the norm of the density's change between orthogonal functions) that a round may move and be the last: what
# it leaves then is of the order of the threshold, or one iteration away.
_FEW_ELECTRONS = 5e-2
_MOST_ROUNDS = 2


def approach(pyscf: ModuleType, mean_field: Any, start: Array) -> tuple[Array, int]:
    """Bring a density near to self-consistency.

    Args:
        pyscf: The package.
        mean_field: A Kohn-Sham object of PySCF that has not run; it is left as it is.
        start: Density matrix [b,b], or [2,b,b] for two spins.

    Returns:
        A density, which is the start where the iterations do not converge, and the iterations.
    """
    overlap = mean_field.get_ovlp()
    grid = pyscf.dft.gen_grid.Grids(mean_field.mol)
    grid.level = COARSE_LEVEL
    density, cycles = start, 0
    for _ in range(_MOST_ROUNDS):
        solver = _on_coarse_grid(pyscf, mean_field, grid, density)
        solver.kernel(density)
        cycles += solver.cycles
        if not solver.converged:
            return start, cycles
        before, density = density, np.asarray(solver.make_rdm1())
        change = (density - before) @ overlap
        if np.sqrt(np.abs(np.vdot(change, np.swapaxes(change, -1, -2)))) < _FEW_ELECTRONS:
            break
    return density, cycles


def _on_coarse_grid(pyscf: ModuleType, mean_field: Any, grid: Any, start: Array) -> Any:
    """A copy on the coarse grid, with the energy and the potential of the fine one at a density."""
    coarse = mean_field.copy()
    coarse.grids = grid
    # Nonlocal correlation changes little with the density, and costs more than all the rest.
    coarse.do_nlc = lambda: False
    coarse.conv_check = False
    # What is left undone here costs iterations on the fine grid.
    coarse.conv_tol_grad = mean_field.conv_tol_grad / 3
    there = coarse.get_veff
    exact, rough = mean_field.get_veff(mean_field.mol, start), there(mean_field.mol, start)
    potential = np.asarray(exact) - np.asarray(rough)
    energy = exact.exc - rough.exc - np.vdot(potential, start)

    def get_veff(mol: Any = None, dm: Any = None, *arguments: Any, **options: Any) -> Any:
        result = there(mol, dm, *arguments, **options)
        # Its parts, such as the exchange, are kept: the next iteration takes differences to them.
        result = pyscf.lib.tag_array(np.asarray(result) + potential, **result.__dict__)
        result.exc += energy + np.vdot(potential, np.asarray(dm))
        return result

    coarse.get_veff = get_veff
    return coarse
