"""From equivariant features to blocks of a matrix between the functions of two atoms.

A block between shells of angular momenta l1 and l2 is a tensor of both representations. It is the sum, over
L = |l1 - l2| ... l1 + l2, of features of angular momentum L times Clebsch-Gordan coefficients. That holds all there is
in such a block: sums of orbitals, or scalars alone, cannot represent one between s and p functions.
"""

from collections.abc import Sequence

import torch
from e3nn import o3
from torch import Tensor, nn


class ShellBlocks(nn.Module):
    """The blocks between all shells l1 of one element and all shells l2 of another.

    Attributes:
        irreps: of the features; for each L, one for each pair of shells.

    Args:
        l1, l2: angular momenta.
        n1, n2: number of shells.
        largest: features with L beyond it are taken to be zero.
    """

    coupling: Tensor

    def __init__(self, l1: int, l2: int, n1: int, n2: int, largest: int) -> None:
        super().__init__()
        self.momenta = [L for L in range(abs(l1 - l2), l1 + l2 + 1) if largest >= L]
        self.n1, self.n2, self.d1, self.d2 = n1, n2, 2 * l1 + 1, 2 * l2 + 1
        self.irreps = o3.Irreps([(n1 * n2, (L, (-1) ** (l1 + l2))) for L in self.momenta])
        # sqrt(2L + 1) makes the rows orthonormal.
        rows = [(2 * L + 1) ** 0.5 * o3.wigner_3j(L, l1, l2, dtype=torch.float64) for L in self.momenta]
        self.register_buffer("coupling", torch.cat([row.reshape(-1, self.d1 * self.d2) for row in rows]))

    def forward(self, features: Tensor) -> Tensor:
        """Blocks [B, n1 d1, n2 d2] of features [B, irreps.dim]."""
        parts: list[Tensor] = []
        start = 0
        for L in self.momenta:  # noqa: N806
            size = self.n1 * self.n2 * (2 * L + 1)
            parts.append(features[:, start : start + size].reshape(-1, self.n1 * self.n2, 2 * L + 1))
            start += size
        blocks = (torch.cat(parts, 2) @ self.coupling.to(features.dtype)).reshape(
            -1, self.n1, self.n2, self.d1, self.d2
        )
        return blocks.transpose(2, 3).reshape(-1, self.n1 * self.d1, self.n2 * self.d2)

    @torch.jit.unused
    def features_of(self, blocks: Tensor) -> Tensor:
        """The features [B, irreps.dim] whose blocks are nearest to given ones."""
        parted = blocks.reshape(-1, self.n1, self.d1, self.n2, self.d2).transpose(2, 3)
        coupled = parted.reshape(-1, self.n1 * self.n2, self.d1 * self.d2) @ self.coupling.to(blocks.dtype).T
        sizes = [2 * L + 1 for L in self.momenta]
        return torch.cat([part.reshape(len(part), -1) for part in coupled.split(sizes, 2)], 1)


class AtomBlocks(nn.Module):
    """The block between all functions of two elements.

    Attributes:
        irreps: of the features.
        rows, columns: number of functions of the two elements.

    Args:
        left: angular momenta of the shells of the first element, ascending as in an ``AuxiliaryBasis``.
        right: of the second element.
        largest: features with L beyond it are taken to be zero.
    """

    def __init__(self, left: Sequence[int], right: Sequence[int], largest: int) -> None:
        super().__init__()
        counts1, counts2 = ({l: list(shells).count(l) for l in sorted(set(shells))} for shells in (left, right))
        self.rows, self.columns = (sum(n * (2 * l + 1) for l, n in counts.items()) for counts in (counts1, counts2))
        self.shells2 = len(counts2)
        parts = [ShellBlocks(l1, l2, n1, n2, largest) for l1, n1 in counts1.items() for l2, n2 in counts2.items()]
        self.parts = nn.ModuleList(parts)
        self.sizes = [part.irreps.dim for part in parts]
        self.irreps = sum((part.irreps for part in parts), o3.Irreps())

    def forward(self, features: Tensor) -> Tensor:
        """Blocks [B, rows, columns] of features [B, irreps.dim]."""
        pieces = features.split(self.sizes, 1)
        row: list[Tensor] = []
        rows: list[Tensor] = []
        for index, part in enumerate(self.parts):
            row.append(part(pieces[index]))
            if len(row) == self.shells2:
                rows.append(torch.cat(row, 2))
                row = []
        return torch.cat(rows, 1)

    @torch.jit.unused
    def features_of(self, blocks: Tensor) -> Tensor:
        """The features [B, irreps.dim] whose blocks are nearest to given ones."""
        parts = [part for part in self.parts if isinstance(part, ShellBlocks)]
        features = []
        row = 0
        for first in range(0, len(parts), self.shells2):
            column = 0
            for part in parts[first : first + self.shells2]:
                height, width = part.n1 * part.d1, part.n2 * part.d2
                features.append(part.features_of(blocks[:, row : row + height, column : column + width]))
                column += width
            row += height
        return torch.cat(features, 1)
