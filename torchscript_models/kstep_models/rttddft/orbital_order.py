"""From PySCF's real spherical functions to those of e3nn.

PySCF orders the functions of a shell by m from -l to l, with the polar axis along z, but p functions as x, y, z. e3nn
orders by m, too, but takes y as its polar axis: its functions at (x, y, z) are the usual ones at (z, x, y). For p
functions this comes to the same; from d functions on the two sets are related by a rotation of the axes, which mixes
functions (z^2 with x^2-y^2) and is no permutation of them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def _to_e3nn(l: int) -> Tensor:
    size = 2 * l + 1
    # Angular momentum in the basis of complex spherical harmonics, m from -l to l.
    m = torch.arange(-l, l + 1, dtype=torch.float64)
    raising = torch.diag(torch.sqrt(l * (l + 1) - m[:-1] * (m[:-1] + 1)), -1)
    x = 0.5 * (raising + raising.T).to(torch.complex128)
    y = -0.5j * (raising - raising.T)
    z = torch.diag(m).to(torch.complex128)
    # The axes change places by a third of a turn about (1, 1, 1).
    angle = 2.0 * torch.pi / 3.0
    rotation = torch.linalg.matrix_exp(1j * angle / 3.0**0.5 * (x + y + z))
    # Real functions as combinations of complex ones.
    real = torch.zeros(size, size, dtype=torch.complex128)
    real[l, l] = 1.0
    for order in range(1, l + 1):
        sign, root = (-1.0) ** order, 0.5**0.5
        real[l + order, l - order], real[l + order, l + order] = root, sign * root
        real[l - order, l - order], real[l - order, l + order] = 1j * root, -1j * sign * root
    by_m = (real @ rotation.T @ real.conj().T).real
    # PySCF's p functions are those of m = 1, -1, 0.
    return by_m[:, [2, 0, 1]] if l == 1 else by_m


def to_e3nn(l: int) -> Tensor:
    """The orthogonal matrix T [2l+1,2l+1], float64, with ``Y_e3nn = T @ Y_pyscf`` for functions of one radial part.

    Coefficients of orbitals transform alike, and the block of a matrix between shells of l and l' as
    ``T(l) @ block @ T(l').T``. Exact to round-off for every l.

    Raises:
        ValueError: l is negative.
    """
    if l < 0:
        raise ValueError(f"an angular momentum is not negative, got {l}")
    return _to_e3nn(l).clone()
