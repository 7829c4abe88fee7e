"""A conservative potential with charges for one molecule, built from few, large, dense tensor operations.

With x the positions and phi_i the electrostatic potential of the environment at atom i (nm, kJ/mol, e):

    U(x, phi) = P(x) + E(x) + W(x) + sum_i q_i (phi_i + psi_i / 2) - 1/4 sum_ij a_ij (phi_i + psi_i - phi_j - psi_j)^2

P is a pair potential fitted beforehand (:mod:`kstep_models.potential.pair_series`), E and q come from one equivariant
message-passing network, W is a wall that acts only at distances shorter than any in the training data, psi_i(x) is the
potential of the charges of other parts where no bond joins all atoms (:mod:`kstep_models.potential.parts`), and
a_ij >= 0 is a constant polarisability that moves charge between atoms of one part along potential differences (charge
is conserved and the response always lowers the energy, as in quantum mechanics). The charges that act on the
environment are dU/dphi_i = q_i - sum_j a_ij (phi_i + psi_i - phi_j - psi_j).

Network (dense pairs, no neighbour list: a region has tens of atoms):

- A distance enters as t = z / sqrt(1 + z^2 / 9), z = (r - mean) / spread with the statistics of the pair's class, so
  that a bond's vibration spans the basis instead of a small part of it. The basis is normalised Hermite polynomials in
  t times a C2 envelope.
- The products of basis and angular functions Y_m(u_ij) B_k(r_ij) are formed once. All layers are matrix products with
  them: first with weights per pair class, then with the messages of the atoms (:mod:`kstep_models.potential.layers`).
- Each class of atoms has its own weights, which makes a small network as accurate as a much larger shared one: the
  molecule is fixed, so that nothing is asked of its carbonyl carbon but to be that carbon.

Everything is smooth to second order, and exact under translation, rotation, reflection and exchange of equivalent
atoms. Related work: Drautz, PRB 99, 014104 (2019); Schuett et al., PaiNN (2021); Batatia et al., MACE (2022).
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from kstep_models.potential.interface import MoleculeData, NetworkConfig, PotentialModel
from kstep_models.potential.layers import ClassLinear, Messages, Moments, normalised_hermite, second_order
from kstep_models.potential.parts import SOFTENING
from kstep_models.potential.statistics import PairStatistics
from kstep_models.potential.topology import Topology, TopologyError
from kstep_models.units import COULOMB


class PotentialConfig(NetworkConfig):
    """Size of the network."""

    name: Literal["kstep"] = Field(default="kstep", description="which network")
    channels: int = Field(default=48, ge=1, description="features per atom and angular function, from geometry alone")
    radial_order: int = Field(default=6, ge=2, description="number of radial basis functions")
    cubic_channels: int = Field(default=16, ge=0, description="channels that form invariants of third order")
    layers: int = Field(default=2, ge=1, description="1 for the geometry alone, one more for each round of messages")
    message_channels: int = Field(default=32, ge=1, description="features per angular function of a message")
    message_order: int = Field(default=4, ge=1, description="radial functions of a message, at most radial_order")
    vector_channels: int = Field(default=16, ge=0, description="vectors in a message; 0 for none")
    hidden: int = Field(default=64, ge=1, description="width of an atom's features")
    readout: int = Field(default=32, ge=1, description="width of the last layer")
    cutoff: float = Field(default=1.2, gt=0, description="nm; no direct message beyond it; may exceed the molecule")
    max_bond_distance: int = Field(default=5, ge=1, description="bonds after which pairs are not told apart any more")
    polarisable: bool = Field(default=True, description="whether charges respond to the environment's potential")

    @model_validator(mode="after")
    def _parts_fit(self) -> "PotentialConfig":
        for name, other in (("cubic_channels", "channels"), ("message_order", "radial_order")):
            if getattr(self, name) > getattr(self, other):
                raise ValueError(f"{name} = {getattr(self, name)} exceeds {other} = {getattr(self, other)}")
        return self


class KStepPotential(PotentialModel, name="kstep"):
    """See the module's documentation. Batches of one molecule: positions [B,n,3] in nm.

    Args:
        config: size of the network.
        topology: the molecule.
        statistics: scales measured on the training data.
    """

    config_type = PotentialConfig
    limits = (
        "Only this molecule, with these bonds: it must not react. Atom classes come from the bond graph.",
        "Distances shorter than any in the data meet a repulsive wall; nothing else is guaranteed there.",
    )

    config: PotentialConfig
    numbers: Tensor
    bonds: Tensor
    undirected_class: Tensor
    energy_scale: Tensor
    total_charge: Tensor
    charge_mean: Tensor
    inverse_spread: Tensor
    scaled_mean: Tensor
    diagonal: Tensor
    off_diagonal: Tensor
    between_parts: Tensor
    hermite: Tensor
    second_moment: Tensor
    nuclear: Tensor
    inverse_wall: Tensor
    pair_series: Tensor

    def __init__(self, config: PotentialConfig, topology: Topology, statistics: PairStatistics) -> None:
        super().__init__()
        n = len(topology.numbers)
        if statistics.distance_mean.shape != (n, n):
            raise TopologyError(f"statistics are for {len(statistics.distance_mean)} atoms, the molecule has {n}")
        self.atoms = n
        self.cutoff = config.cutoff
        self.radial_order = config.radial_order
        self.message_order = config.message_order
        self.polarisable = config.polarisable
        self.config = config
        self.topology = topology
        self.statistics = statistics
        # A number, not a buffer: total energies need double precision whatever the network computes in.
        self.energy_mean = float(statistics.energy_mean)

        self.register_buffer("numbers", torch.as_tensor(topology.numbers))
        self.register_buffer("bonds", torch.as_tensor(topology.bonds))
        self.register_buffer("undirected_class", torch.as_tensor(topology.undirected_pair_class()))
        self._real("energy_scale", statistics.energy_scale)
        self._real("total_charge", statistics.total_charge)
        self._real("charge_mean", statistics.charge_mean)
        spread = np.where(np.eye(n) > 0, 1.0, statistics.distance_spread)
        self._real("inverse_spread", 1 / spread)
        self._real("scaled_mean", statistics.distance_mean / spread)
        # Half, because every pair is there twice.
        self._real("pair_series", 0.5 * statistics.pair_series)
        self._real("diagonal", np.eye(n))
        self._real("off_diagonal", 1 - np.eye(n))
        # TorchScript sees a module's attributes, not Python's globals.
        self.coulomb, self.softening = COULOMB, SOFTENING**2
        self.several_parts = bool(topology.between_parts.any())
        self._real("between_parts", topology.between_parts.astype(float))
        self._real("hermite", normalised_hermite(config.radial_order))
        self._real("second_moment", second_order())
        numbers = topology.numbers.astype(float)
        self._real("nuclear", 0.5 * COULOMB * np.outer(numbers, numbers) * (1 - np.eye(n)))
        # The wall starts at 95 % of the shortest distance seen; 1 nm on the diagonal, where nothing acts.
        self._real("inverse_wall", 1 / np.where(np.eye(n) > 0, 1.0, 0.95 * np.maximum(statistics.distance_min, 1e-2)))

        classes, width = topology.atom_class, config.hidden
        self.moments = Moments(topology.pair_class, config.radial_order, config.channels, config.cubic_channels)
        self.update = ClassLinear(classes, self.moments.invariants.outputs, width)
        self.messages = nn.ModuleList()
        self.updates = nn.ModuleList()
        vectors = config.channels
        for _ in range(1, config.layers):
            messages = Messages(
                classes, width, vectors, config.message_order, config.message_channels, config.vector_channels
            )
            self.messages.append(messages)
            self.updates.append(ClassLinear(classes, messages.outputs + width, width))
            vectors = config.message_channels
        self.readout = ClassLinear(classes, config.layers * width, config.readout)
        self.output = ClassLinear(classes, config.readout, 2)
        undirected = int(self.undirected_class.max()) + 1
        self.response = nn.Parameter(torch.full((undirected,), 0.3))

    @classmethod
    def create(cls, config: PotentialConfig, data: MoleculeData) -> "KStepPotential":
        """See :class:`PotentialModel`."""
        topology = Topology.build(data.numbers.tolist(), data.bonds.tolist(), config.max_bond_distance)
        statistics = PairStatistics.measure(
            topology, data.positions, data.energies, data.forces, data.charges, data.total_charge, data.geometries
        )
        return cls(config, topology, statistics)

    def describe(self) -> dict[str, Any]:
        """See :class:`PotentialModel`."""
        return {
            "config": self.config.written(),
            "numbers": self.topology.numbers.tolist(),
            "bonds": self.topology.bonds.tolist(),
            "statistics": self.statistics.to_json(),
        }

    @classmethod
    def build(cls, description: Mapping[str, Any]) -> "KStepPotential":
        """See :class:`PotentialModel`."""
        config = PotentialConfig.model_validate(description["config"])
        topology = Topology.build(description["numbers"], description["bonds"], config.max_bond_distance)
        return cls(config, topology, PairStatistics.from_json(description["statistics"]))

    def _real(self, name: str, value: Any) -> None:
        self.register_buffer(
            name, torch.as_tensor(np.asarray(value), dtype=torch.float64).to(torch.get_default_dtype())
        )

    def atomic_basis(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distances r [B,n,n] (1 on the diagonal), z of them, and the products Y_m(u_ij) B_k(r_ij) as [B,n,M,K,n].

        The atom j is the fastest index: the longest one, for the vector units.
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
        radial = torch.matmul(self.hermite.t(), torch.stack(powers, 2))
        products = (unit.unsqueeze(-1) * unit.unsqueeze(-2)).view(batch, n, n, 9)
        angular = torch.cat([torch.ones_like(r).unsqueeze(-1), unit, torch.matmul(products, self.second_moment)], -1)
        # Contiguous, so that the products below are views of it.
        return r, z, angular.transpose(2, 3).contiguous().unsqueeze(3) * radial.unsqueeze(2)

    def energy_and_charges(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energy without its mean [B] in kJ/mol and charges in vacuum [B,n] in e, for positions [B,n,3] in nm."""
        batch, n = positions.size(0), self.atoms
        r, z, full = self.atomic_basis(positions)
        reduced = full[:, :, :, : self.message_order].reshape(batch, n, 9, self.message_order * n)
        invariants, vectors = self.moments(full.reshape(batch, n, 9, self.radial_order * n))
        features = torch.nn.functional.silu(self.update(invariants))
        all_features = [features]
        for messages, update in zip(self.messages, self.updates):  # noqa: B905 - TorchScript knows no strict
            invariants, vectors = messages(reduced, features, vectors)
            features = torch.nn.functional.silu(update(torch.cat([invariants, features], -1)))
            all_features.append(features)
        last = torch.nn.functional.silu(self.readout(torch.cat(all_features, -1)))
        output = self.output(last)
        # 0.2 and 0.1: initial weights predict about nothing.
        energy = 0.2 * output[..., 0].sum(1) * self.energy_scale
        c = self.pair_series
        energy = energy + (z * (c[0] + z * (c[1] + z * (c[2] + z * c[3])))).sum([1, 2])
        inside = torch.clamp(1 - r * self.inverse_wall, min=0.0)
        energy = energy + (self.nuclear * inside * inside * inside / r).sum([1, 2])
        charge = self.charge_mean + 0.1 * output[..., 1]
        excess = (self.total_charge - charge.sum(1, keepdim=True)) * (1.0 / self.atoms)
        return energy, charge + excess

    def response_matrix(self) -> Tensor:
        """Laplacian L [n,n] of the polarisabilities, e^2 mol/kJ: charges change by -L phi."""
        # 1e-4 makes a parameter of one a typical bond: 0.1 e for 1000 kJ/mol/e. Squared, so never negative.
        a = 1e-4 * (self.response * self.response)[self.undirected_class] * (self.off_diagonal - self.between_parts)
        return torch.diag(a.sum(1)) - a

    def potential_of_parts(self, positions: Tensor, charge: Tensor) -> Tensor:
        """Potential at each atom of the charges of other parts [B,n], kJ/mol/e, for charges [B,n] in e."""
        d = positions.unsqueeze(2) - positions.unsqueeze(1)
        inverse = torch.rsqrt((d * d).sum(-1) + self.softening) * self.between_parts
        return self.coulomb * torch.matmul(inverse, charge.unsqueeze(-1)).squeeze(-1)

    def coupled(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        """U(x, phi) without the mean energy [B], and dU/dphi [B,n].

        Args:
            positions: [B,n,3] nm.
            potential: [B,n] kJ/mol/e.
        """
        energy, charge = self.energy_and_charges(positions)
        if self.several_parts:
            parts = self.potential_of_parts(positions, charge)
            energy = energy - 0.5 * (charge * parts).sum(1)
            potential = potential + parts
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
