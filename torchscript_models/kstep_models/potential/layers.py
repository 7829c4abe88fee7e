"""The layers of the potential: linear maps per atom class, moments of the atomic density, and messages between atoms.

Shapes: B molecules, n atoms, K radial functions, M = 9 angular functions of orders 0, 1, 2 (1 + 3 + 5), C channels.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class ClassLinear(nn.Module):
    """A linear map with weights of its own for each atom class, [B,n,inputs] -> [B,n,outputs].

    The number of multiplications is that of a shared map, so that the capacity costs nothing but memory. Weights are of
    size one and divided by the root of their number in use, here and in all layers, so that a step of the optimiser
    changes a wide layer's output no more than a narrow one's.

    Args:
        atom_class: [n].
        inputs: features in.
        outputs: features out.
        bias: whether there is a constant term.
    """

    atom_class: Tensor

    def __init__(self, atom_class: NDArray[np.int64], inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        classes = int(atom_class.max()) + 1
        self.register_buffer("atom_class", torch.as_tensor(atom_class))
        self.scale = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(classes, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(classes, 1, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Args: x [B,n,inputs]."""
        product = torch.bmm(x.transpose(0, 1), self.scale * self.weight[self.atom_class])
        if self.bias is not None:
            product = product + self.bias[self.atom_class]
        return product.transpose(0, 1)


class Mixture(nn.Module):
    """Linear combinations of channels, the same for all atoms, [...,inputs] -> [...,outputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x [...,inputs]."""
        return torch.matmul(x, self.scale * self.weight)


class Moments(nn.Module):
    """Moments of the density of neighbours around each atom and their invariants (the atomic basis of ACE).

    A_i,mc = sum_j sum_k Y_m(u_ij) B_k(r_ij) W_kc, with weights W for each class of pairs (i, j), as one matrix product.

    Args:
        pair_class: [n,n].
        radial: K.
        channels: C.
        cubic: channels of which the invariant of third order is formed.
    """

    pair_class: Tensor

    def __init__(self, pair_class: NDArray[np.int64], radial: int, channels: int, cubic: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("pair_class", torch.as_tensor(pair_class).reshape(-1))
        self.scale = 1 / math.sqrt(4.0 * radial)
        self.weight = nn.Parameter(torch.randn(int(pair_class.max()) + 1, radial, channels))
        self.invariants = Invariants(channels, cubic)

    def forward(self, atomic_basis: Tensor) -> tuple[Tensor, Tensor]:
        """Invariants [B,n,3C+cubic] and the vectors A_1 [B,n,3,C] from Y B as [B,n,M,K*n]."""
        batch, n = atomic_basis.size(0), atomic_basis.size(1)
        weight = (self.scale * self.weight)[self.pair_class].view(n, n, -1, self.channels).transpose(1, 2)
        weight = weight.reshape(n, atomic_basis.size(3), self.channels)
        rows = atomic_basis.transpose(0, 1).reshape(n, batch * 9, atomic_basis.size(3))
        moments = torch.bmm(rows, weight).view(n, batch, 9, self.channels).transpose(0, 1)
        return self.invariants(moments), moments[:, :, 1:4]


class Invariants(nn.Module):
    """Products of moments that do not change under rotation: A_0, A_1.A_1', A_2:A_2', A_1.A_2.A_1.

    Each second factor is a learned mixture of the channels. Nothing has a kink. Large values are squashed smoothly to
    within 10: products of polynomials would otherwise explode on the rare geometry at the rim of the data, in training
    as in dynamics.

    Args:
        channels: C.
        cubic: channels that form the last one.
    """

    second: Tensor

    def __init__(self, channels: int, cubic: int) -> None:
        super().__init__()
        self.cubic = cubic
        self.outputs = 3 * channels + cubic
        self.mix1 = Mixture(channels, channels)
        self.mix2 = Mixture(channels, channels)
        self.register_buffer("second", torch.as_tensor(second_order().T, dtype=torch.get_default_dtype()))

    def forward(self, moments: Tensor) -> Tensor:
        """Args: moments [B,n,M,C]. Returns [B,n,outputs]."""
        a0, a1, a2 = moments.split([1, 3, 5], 2)
        parts = [a0.squeeze(2), (a1 * self.mix1(a1)).sum(2), (a2 * self.mix2(a2)).sum(2)]
        if self.cubic > 0:
            v = a1[..., : self.cubic]
            products = (v.unsqueeze(3) * v.unsqueeze(2)).reshape(v.size(0), v.size(1), 9, self.cubic)
            # 0.1 keeps it at the size of the others with initial weights.
            parts.append(0.1 * (torch.matmul(self.second, products) * a2[..., : self.cubic]).sum(2))
        joined = torch.cat(parts, -1)
        return joined * torch.rsqrt(1 + 0.01 * joined * joined)


class Messages(nn.Module):
    """Messages between atoms: moments of the density of neighbours, weighted with what these send.

    An atom j sends a scalar s_jkc and a vector v_jkc for each radial function. The receiver forms sum_jk Y_m B_k s_jkc,
    sum_jk B_k u_ij . v_jkc and sum_jk B_k v_jkc. All are matrix products with the same Y B; no tensor of pairs and
    channels appears.

    Args:
        atom_class: [n].
        features: per atom, of what is received from the layer before.
        vectors: channels of its vectors.
        radial: functions used, at most K.
        channels: C of the scalar messages.
        vector_channels: of the vector messages; 0 for none.
    """

    def __init__(
        self,
        atom_class: NDArray[np.int64],
        features: int,
        vectors: int,
        radial: int,
        channels: int,
        vector_channels: int,
    ) -> None:
        super().__init__()
        self.radial = radial
        self.channels = channels
        self.vector_channels = vector_channels
        self.scalar_message = ClassLinear(atom_class, features, radial * channels)
        self.invariants = Invariants(channels, 0)
        self.outputs = self.invariants.outputs + 2 * vector_channels
        vectors_out = max(vector_channels, 1)
        self.gate = ClassLinear(atom_class, features, vectors)
        self.vector_message = ClassLinear(atom_class, vectors, radial * vectors_out, bias=False)
        self.mix = Mixture(channels, vectors_out)

    def forward(self, atomic_basis: Tensor, features: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Invariants [B,n,outputs] and vectors [B,n,3,C].

        Args:
            atomic_basis: Y B [B,n,M,radial*n].
            features: [B,n,features].
            vectors: [B,n,3,vectors].
        """
        batch, n, k, c = features.size(0), features.size(1), self.radial, self.channels
        # 0.3: sums over all atoms start at about the size of one.
        scalar = (0.3 * self.scalar_message(features)).reshape(batch, n, k, c).transpose(1, 2).reshape(batch, k * n, c)
        moments = torch.bmm(atomic_basis.view(batch, n * 9, n * k), scalar).view(batch, n, 9, c)
        invariants = self.invariants(moments)
        a1 = moments[:, :, 1:4]
        if self.vector_channels > 0:
            d = self.vector_channels
            gated = vectors * (0.3 * self.gate(features)).unsqueeze(2)
            sent = self.vector_message(gated.transpose(1, 2).reshape(batch * 3, n, vectors.size(3)))
            by_axis = sent.reshape(batch, 3, n, k, d).transpose(2, 3).reshape(batch, 3 * k * n, d)
            projected = torch.bmm(atomic_basis[:, :, 1:4].reshape(batch, n, 3 * n * k), by_axis)
            by_atom = by_axis.view(batch, 3, k * n, d).permute(0, 2, 1, 3).reshape(batch, n * k, 3 * d)
            received = torch.bmm(atomic_basis[:, :, 0], by_atom).view(batch, n, 3, d)
            invariants = torch.cat([invariants, projected, (received * self.mix(a1)).sum(2)], -1)
        return invariants, a1


def second_order() -> NDArray[np.float64]:
    """[9, 5]: from u_a u_b to the five real harmonics of order 2, whose squares sum to |u u - 1/3|^2."""
    matrix = np.zeros((3, 3, 5))
    half, sixth = math.sqrt(0.5), math.sqrt(1 / 6)
    for column, (a, b) in enumerate(((0, 1), (1, 2), (0, 2))):
        matrix[a, b, column] = matrix[b, a, column] = half
    matrix[..., 3] = np.diag([half, -half, 0.0])
    matrix[..., 4] = np.diag([-sixth, -sixth, 2 * sixth])
    return matrix.reshape(9, 5)


def normalised_hermite(order: int) -> NDArray[Any]:
    """[order, order]: column k has the power coefficients of He_k / sqrt(k!)."""
    matrix = np.zeros((order, order))
    for k in range(order):
        coefficients = np.polynomial.hermite_e.herme2poly([0.0] * k + [1.0])
        matrix[: len(coefficients), k] = coefficients / math.sqrt(math.factorial(k))
    return matrix
