"""A conservative potential with charges for one molecule, built from few, large, dense tensor operations.

With x the positions and phi_i the electrostatic potential of the environment at atom i (nm, kJ/mol, e):

    U(x, phi) = E(x) + W(x) + sum_i q_i(x) phi_i - 1/4 sum_ij a_ij (phi_i - phi_j)^2

E and q come from one equivariant message-passing network, W is a wall that acts only at distances shorter than any in
the training data, and a_ij >= 0 is a constant polarisability that moves charge between atoms along potential
differences (charge is conserved and the response always lowers the energy, as in quantum mechanics). The charges that
act on the environment are dU/dphi_i = q_i - sum_j a_ij (phi_i - phi_j).

Network (dense pairs, no neighbour list: a region has tens of atoms):

- A distance enters as t = z / sqrt(1 + z^2 / 9), z = (r - mean) / spread with the statistics of the pair's class, so
  that a bond's vibration spans the basis instead of a small part of it. The basis is normalised Hermite polynomials in
  t times a C2 envelope, contracted per pair class to a few edge features.
- Messages are summed against the moments of the unit vectors, A_i,lm = sum_j Y_lm(u_ij) m_ij, l = 0, 1, 2, as one
  batched matrix product (the atomic basis of ACE and MACE); invariants are |A_0|, A_1.A_1', A_2:A_2'. No norms with
  kinks: squares only.
- Later messages m_ij = R_ij s_j + R'_ij (u_ij . v_j) see the neighbours' scalars and vectors.

Everything is smooth to second order, and exact under translation, rotation, reflection and exchange of equivalent
atoms. Related work: Drautz, PRB 99, 014104 (2019); Schuett et al., PaiNN (2021); Batatia et al., MACE (2022).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.polynomial import hermite_e
from torch import Tensor, nn

from kstep_models.potential.statistics import PairStatistics
from kstep_models.potential.topology import Topology, TopologyError

COULOMB = 138.93545764  # kJ/mol nm / e^2


@dataclass(frozen=True)
class PotentialConfig:
    """Size of the network.

    Attributes:
        channels: features per atom and order.
        edge_features: features per pair, shared by all layers.
        radial_order: number of radial basis functions.
        layers: rounds of messages; the first sees only the geometry.
        hidden: width of the update of an atom.
        readout: width of the last layer.
        cutoff: nm; no direct message beyond it. May exceed the molecule.
        max_bond_distance: see :class:`Topology`.
        polarisable: whether charges respond to the potential (a_ij above).
    """

    channels: int = 32
    edge_features: int = 12
    radial_order: int = 6
    layers: int = 2
    hidden: int = 64
    readout: int = 32
    cutoff: float = 1.2
    max_bond_distance: int = 5
    polarisable: bool = True

    def __post_init__(self) -> None:
        for name in ("channels", "edge_features", "hidden", "readout", "max_bond_distance"):
            if getattr(self, name) < 1:
                raise ValueError(f"model option {name} must be at least 1, got {getattr(self, name)}")
        if self.radial_order < 2:
            raise ValueError(f"model option radial_order must be at least 2, got {self.radial_order}")
        if self.layers < 1:
            raise ValueError(f"model option layers must be at least 1, got {self.layers}")
        if not self.cutoff > 0:
            raise ValueError(f"model option cutoff must be a positive length in nm, got {self.cutoff}")


class FirstInteraction(nn.Module):
    """Scalars and vectors of each atom from the geometry alone."""

    def __init__(self, config: PotentialConfig, classes: int, vectors: bool) -> None:
        super().__init__()
        c, h = config.channels, config.hidden
        self.vectors = vectors
        self.filter = nn.Linear(config.edge_features, c, bias=False)
        self.mix1 = nn.Linear(c, c, bias=False)
        self.mix2 = nn.Linear(c, c, bias=False)
        self.hidden = nn.Linear(3 * c, h)
        self.atom_bias = nn.Embedding(classes, h)
        self.scalar = nn.Linear(h, c)
        # A layer whose vectors nobody reads would waste time in every step.
        self.vector = nn.Linear(c, c, bias=False) if vectors else nn.Identity()
        self.gate = nn.Linear(h, c) if vectors else nn.Identity()

    def forward(self, edge: Tensor, moments: Tensor, atom_class: Tensor) -> tuple[Tensor, Tensor]:
        """Args: edge [B,n,n,H], moments [B,n,10,n], atom_class [n]. Returns scalars [B,n,C], vectors [B,n,3,C]."""
        a0, a1, a2 = torch.matmul(moments, self.filter(edge)).split([1, 3, 6], 2)
        invariants = [a0.squeeze(2), (a1 * self.mix1(a1)).sum(2), (a2 * self.mix2(a2)).sum(2)]
        hidden = torch.nn.functional.silu(self.hidden(torch.cat(invariants, -1)) + self.atom_bias(atom_class))
        scalar = self.scalar(hidden)
        if self.vectors:
            return scalar, self.vector(a1) * self.gate(hidden).unsqueeze(2)
        return scalar, a1


class Interaction(nn.Module):
    """One round of messages from the neighbours' scalars and vectors, added to the atom's own."""

    def __init__(self, config: PotentialConfig, classes: int, vectors: bool) -> None:
        super().__init__()
        c, h = config.channels, config.hidden
        self.vectors = vectors
        self.scalar_filter = nn.Linear(config.edge_features, c, bias=False)
        self.vector_filter = nn.Linear(config.edge_features, c, bias=False)
        self.mix1 = nn.Linear(c, c, bias=False)
        self.mix2 = nn.Linear(c, c, bias=False)
        self.hidden = nn.Linear(4 * c, h)
        self.atom_bias = nn.Embedding(classes, h)
        self.scalar = nn.Linear(h, c)
        self.vector = nn.Linear(c, c, bias=False) if vectors else nn.Identity()
        self.gate = nn.Linear(h, c) if vectors else nn.Identity()

    def forward(
        self, edge: Tensor, moments: Tensor, unit: Tensor, scalar: Tensor, vector: Tensor, atom_class: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :class:`FirstInteraction`, with unit [B,n,n,3] and the present scalars and vectors."""
        # along[b,i,j,c] = u_ij . v_j: one product per sending atom j.
        along = torch.matmul(unit.transpose(1, 2), vector).transpose(1, 2)
        message = self.scalar_filter(edge) * scalar.unsqueeze(1) + self.vector_filter(edge) * along
        a0, a1, a2 = torch.matmul(moments, message).split([1, 3, 6], 2)
        invariants = [a0.squeeze(2), (a1 * self.mix1(a1)).sum(2), (a2 * self.mix2(a2)).sum(2), scalar]
        hidden = torch.nn.functional.silu(self.hidden(torch.cat(invariants, -1)) + self.atom_bias(atom_class))
        if self.vectors:
            vector = vector + self.vector(a1) * self.gate(hidden).unsqueeze(2)
        return scalar + self.scalar(hidden), vector


class KStepPotential(nn.Module):
    """See the module's documentation. Batches of one molecule: positions [B,n,3] in nm.

    Args:
        config: size of the network.
        topology: the molecule.
        statistics: scales measured on the training data.
    """

    numbers: Tensor
    bonds: Tensor
    atom_class: Tensor
    pair_class: Tensor
    undirected_class: Tensor
    energy_scale: Tensor
    total_charge: Tensor
    charge_mean: Tensor
    inverse_spread: Tensor
    scaled_mean: Tensor
    diagonal: Tensor
    off_diagonal: Tensor
    hermite: Tensor
    second_moment: Tensor
    nuclear: Tensor
    inverse_wall: Tensor

    def __init__(self, config: PotentialConfig, topology: Topology, statistics: PairStatistics) -> None:
        super().__init__()
        n = len(topology.numbers)
        if statistics.distance_mean.shape != (n, n):
            raise TopologyError(f"statistics are for {len(statistics.distance_mean)} atoms, the molecule has {n}")
        self.atoms = n
        self.cutoff = config.cutoff
        self.radial_order = config.radial_order
        self.edge_features = config.edge_features
        self.polarisable = config.polarisable
        self.config = config
        self.topology = topology
        self.statistics = statistics
        # A number, not a buffer: total energies need double precision whatever the network computes in.
        self.energy_mean = float(statistics.energy_mean)

        self.register_buffer("numbers", torch.as_tensor(topology.numbers))
        self.register_buffer("bonds", torch.as_tensor(topology.bonds))
        self.register_buffer("atom_class", torch.as_tensor(topology.atom_class))
        self.register_buffer("pair_class", torch.as_tensor(topology.pair_class))
        self.register_buffer("undirected_class", torch.as_tensor(topology.undirected_pair_class()))
        self._real("energy_scale", statistics.energy_scale)
        self._real("total_charge", statistics.total_charge)
        self._real("charge_mean", statistics.charge_mean)
        spread = np.where(np.eye(n) > 0, 1.0, statistics.distance_spread)
        self._real("inverse_spread", 1 / spread)
        self._real("scaled_mean", statistics.distance_mean / spread)
        self._real("diagonal", np.eye(n))
        self._real("off_diagonal", 1 - np.eye(n))
        self._real("hermite", _normalised_hermite(config.radial_order))
        self._real("second_moment", _symmetric_products())
        numbers = topology.numbers.astype(float)
        self._real("nuclear", 0.5 * COULOMB * np.outer(numbers, numbers) * (1 - np.eye(n)))
        # The wall starts at 95 % of the shortest distance seen; 1 nm on the diagonal, where nothing acts.
        self._real("inverse_wall", 1 / np.where(np.eye(n) > 0, 1.0, 0.95 * np.maximum(statistics.distance_min, 1e-2)))

        classes = topology.atom_classes
        k, h = config.radial_order, config.edge_features
        self.edge_weight = nn.Parameter(torch.randn(topology.pair_classes, k, h) / math.sqrt(k))
        self.first = FirstInteraction(config, classes, vectors=config.layers > 1)
        self.rest = nn.ModuleList(
            Interaction(config, classes, vectors=layer < config.layers - 1) for layer in range(1, config.layers)
        )
        self.read = nn.Linear(config.channels, config.readout)
        self.read_bias = nn.Embedding(classes, config.readout)
        self.read_energy = nn.Linear(config.readout, 1)
        self.read_charge = nn.Linear(config.readout, 1)
        undirected = int(self.undirected_class.max()) + 1
        self.response = nn.Parameter(torch.full((undirected,), 0.3))

    def _real(self, name: str, value: Any) -> None:
        self.register_buffer(
            name, torch.as_tensor(np.asarray(value), dtype=torch.float64).to(torch.get_default_dtype())
        )

    def pair_features(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Distances r [B,n,n] (1 on the diagonal), unit vectors [B,n,n,3], edge features [B,n,n,H] and moments
        of the unit vectors [B,n,10,n] (1, u, and the six products of u with itself).
        """
        batch, n = positions.size(0), self.atoms
        d = positions.unsqueeze(2) - positions.unsqueeze(1)
        r = torch.sqrt((d * d).sum(-1) + self.diagonal)
        unit = d / r.unsqueeze(-1)
        z = r * self.inverse_spread - self.scaled_mean
        t = z * torch.rsqrt(1 + z * z * (1.0 / 9.0))
        q = torch.clamp(r * (1.0 / self.cutoff), max=1.0)
        q2 = q * q
        # Quintic from 1 to 0 with two vanishing derivatives at both ends.
        envelope = (1 - q2 * q * (10 - 15 * q + 6 * q2)) * self.off_diagonal
        powers = [envelope]
        for _ in range(1, self.radial_order):
            powers.append(powers[-1] * t)
        basis = torch.stack(powers, -1).view(batch, n * n, self.radial_order)
        weight = torch.matmul(self.hermite, self.edge_weight)[self.pair_class.view(-1)]
        edge = torch.bmm(basis.transpose(0, 1), weight).transpose(0, 1).reshape(batch, n, n, self.edge_features)
        products = (unit.unsqueeze(-1) * unit.unsqueeze(-2)).view(batch, n, n, 9)
        moments = torch.cat([torch.ones_like(r).unsqueeze(-1), unit, torch.matmul(products, self.second_moment)], -1)
        return r, unit, edge, moments.transpose(-1, -2)

    def energy_and_charges(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energy without its mean [B] in kJ/mol and charges in vacuum [B,n] in e, for positions [B,n,3] in nm."""
        r, unit, edge, moments = self.pair_features(positions)
        scalar, vector = self.first(edge, moments, self.atom_class)
        for interaction in self.rest:
            scalar, vector = interaction(edge, moments, unit, scalar, vector, self.atom_class)
        last = torch.nn.functional.silu(self.read(scalar) + self.read_bias(self.atom_class))
        energy = self.read_energy(last).sum([1, 2]) * self.energy_scale
        inside = torch.clamp(1 - r * self.inverse_wall, min=0.0)
        energy = energy + (self.nuclear * inside * inside * inside / r).sum([1, 2])
        charge = self.charge_mean + 0.1 * self.read_charge(last).squeeze(-1)
        excess = (self.total_charge - charge.sum(1, keepdim=True)) * (1.0 / self.atoms)
        return energy, charge + excess

    def response_matrix(self) -> Tensor:
        """Laplacian L [n,n] of the polarisabilities, e^2 mol/kJ: charges change by -L phi."""
        # 1e-4 makes a parameter of one a typical bond: 0.1 e for 1000 kJ/mol/e. Squared, so never negative.
        a = 1e-4 * (self.response * self.response)[self.undirected_class] * self.off_diagonal
        return torch.diag(a.sum(1)) - a

    def coupled(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        """U(x, phi) without the mean energy [B], and dU/dphi [B,n].

        Args:
            positions: [B,n,3] nm.
            potential: [B,n] kJ/mol/e.
        """
        energy, charge = self.energy_and_charges(positions)
        if self.polarisable:
            induced = torch.matmul(potential, self.response_matrix())
            return energy + ((charge - 0.5 * induced) * potential).sum(1), charge - induced
        return energy + (charge * potential).sum(1), charge

    def forward(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy without its mean [B], forces [B,n,3] at fixed potential, charges dU/dphi [B,n].

        Differentiable again in training mode. Needs gradients enabled.
        """
        x = positions.detach().requires_grad_(True)
        energy, charge = self.coupled(x, potential)
        gradient = torch.autograd.grad([energy.sum()], [x], create_graph=self.training)[0]
        if gradient is None:
            raise RuntimeError("the energy does not depend on the positions")
        if not self.training:
            return energy.detach(), -gradient, charge.detach()
        return energy, -gradient, charge


def _normalised_hermite(order: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[order, order]: column power coefficients of He_k / sqrt(k!) arranged so that powers @ (H @ W) = He @ W."""
    matrix = np.zeros((order, order))
    for k in range(order):
        coefficients = hermite_e.herme2poly([0.0] * k + [1.0])
        matrix[: len(coefficients), k] = coefficients / math.sqrt(math.factorial(k))
    return matrix


def _symmetric_products() -> np.ndarray[Any, np.dtype[np.float64]]:
    """[9, 6]: from u_a u_b to its six distinct values, scaled so that the sum of squares is the Frobenius norm."""
    matrix = np.zeros((9, 6))
    for column, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        matrix[3 * a + b, column] = 1.0 if a == b else math.sqrt(2.0)
    return matrix
