"""A network that gives the exchange-correlation response and the density of a molecule from its geometry.

For atoms Z, R and an auxiliary basis chi it gives

    A_PQ(Z, R) = <chi_P| f_xc |chi_Q>,     rho(r) = sum_P d_P(Z, R) chi_P(r),

f_xc being the second functional derivative of the exchange-correlation energy at the ground state's density. Both are
independent of the orbital basis: with the coefficients D of orbital products in the auxiliary basis (exact for any
basis set), a change dP of the density matrix changes the potential by D^T A D dP. Only this part is learned.

- Features of an atom are tensors up to l = 4 of both parities that are built from its neighbours by tensor products
  with spherical harmonics of the directions to them, in a few rounds, so that further atoms are felt too.
- A block A_ij between two atoms is a linear map, for each pair of elements, of features of the pair: spherical
  harmonics of the direction times functions of distance and invariants of both atoms, their features, and tensor
  products of these with the direction. Blocks of one atom are made from its features and their tensor products with
  themselves.
- Gates and normalisation act on scalars, or multiply tensors by scalars.

Everything is smooth, and exact under translation, rotation, reflection and exchange of equal atoms. Messages use
e3nn (M. Geiger, T. Smidt, arXiv:2207.09453); blocks of matrices from irreducible tensors are due to H. Li et al., Nat.
Comput. Sci. 2, 367 (2022) and H. Yu et al., ICML 2023 (QHNet), there for Hamiltonians.
"""

from typing import Any, ClassVar

import torch
from e3nn import o3
from pydantic import Field, field_validator
from torch import Tensor, nn

from kstep_models.configuration import Section
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.blocks import AtomBlocks

# The longest representation of a pair of atoms is that of f with f functions.
_PAIR_LARGEST, _LARGEST = 6, 4


class ResponseNetworkConfig(Section):
    """Size of the network."""

    channels: tuple[int, ...] = Field(
        default=(96, 48, 32, 16, 16), description="features of an atom for l = 0 ... 4 of natural parity, (-1)^l"
    )
    pseudo_channels: tuple[int, ...] = Field(default=(8, 8, 4), description="of the other parity, for l = 1 ... 3")
    pair_channels: int = Field(default=32, ge=1, description="features of a pair from distance and invariants")
    product_channels: int = Field(default=16, ge=1, description="features in products of an atom's with themselves")
    rounds: int = Field(default=2, ge=1, description="of messages between atoms")
    radial: int = Field(default=12, ge=2, description="number of radial functions")
    hidden: int = Field(default=64, ge=1, description="width of the layers between invariants and weights")
    cutoff: float = Field(default=14.0, gt=0, description="bohr; no message, no response between atoms further apart")

    @field_validator("channels", "pseudo_channels")
    @classmethod
    def _no_gaps(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(value) <= 5 or any(number < 1 for number in value):
            raise ValueError("give between one and five positive numbers")
        return value


class RadialFunctions(nn.Module):
    """Gaussian functions of the logarithm of the distance, which are narrow where chemistry is, times an envelope."""

    centres: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        low, high = 0.3, float(torch.tensor(cutoff).log())
        self.register_buffer("centres", torch.linspace(low, high, count, dtype=torch.float64))
        self.width = (high - low) / (count - 1)

    def forward(self, distance: Tensor) -> Tensor:
        """Values [E,count] at distances [E], bohr."""
        x = (distance.log().unsqueeze(1) - self.centres) / self.width
        inside = (distance / self.cutoff).clamp(max=1.0)
        envelope = 1 - inside**6 * (28 - 48 * inside + 21 * inside**2)
        return torch.exp(-0.5 * x**2) * envelope.unsqueeze(1)


class Gate(nn.Module):
    """Scalars through SiLU, tensors times sigmoids of as many further scalars."""

    def __init__(self, irreps: o3.Irreps) -> None:
        super().__init__()
        self.scalars = irreps[0].mul
        self.multiplicities = [mul for mul, _ in irreps[1:]]
        self.dimensions = [irrep.dim for _, irrep in irreps[1:]]
        self.gates = sum(self.multiplicities)
        self.irreps_in = o3.Irreps([(self.scalars, "0e"), (self.gates, "0e")]) + irreps[1:]

    def forward(self, features: Tensor) -> Tensor:
        """Gated features of features [B, irreps_in.dim]."""
        scalars = torch.nn.functional.silu(features[:, : self.scalars])
        gates = torch.sigmoid(features[:, self.scalars : self.scalars + self.gates])
        parts = [scalars]
        start, gate = self.scalars + self.gates, 0
        for mul, dim in zip(self.multiplicities, self.dimensions):  # noqa: B905  TorchScript knows no strict
            tensors = features[:, start : start + mul * dim].reshape(-1, mul, dim)
            parts.append((tensors * gates[:, gate : gate + mul].unsqueeze(2)).reshape(-1, mul * dim))
            start += mul * dim
            gate += mul
        return torch.cat(parts, 1)


class WeightedProduct(nn.Module):
    """Tensor product of features with spherical harmonics, every path weighted by a function of scalars."""

    def __init__(self, irreps: o3.Irreps, directions: o3.Irreps, target: o3.Irreps, scalars: int, hidden: int) -> None:
        super().__init__()
        outputs: list[tuple[int, Any]] = []
        instructions = []
        kept = {irrep for _, irrep in target}
        for i, (mul, first) in enumerate(irreps):
            for j, (_, second) in enumerate(directions):
                for irrep in first * second:
                    if irrep in kept:
                        instructions.append((i, j, len(outputs), "uvu", True))
                        outputs.append((mul, irrep))
        self.irreps_out = o3.Irreps(outputs)
        self.product = o3.TensorProduct(
            irreps, directions, self.irreps_out, instructions, shared_weights=False, internal_weights=False
        )
        self.weights = nn.Sequential(
            nn.Linear(scalars, hidden), nn.SiLU(), nn.Linear(hidden, self.product.weight_numel, bias=False)
        )

    def forward(self, features: Tensor, directions: Tensor, scalars: Tensor) -> Tensor:
        """Products [E, irreps_out.dim]."""
        return self.product(features, directions, self.weights(scalars))


class SelfProduct(nn.Module):
    """Tensor product of features with themselves, channel by channel."""

    def __init__(self, irreps: o3.Irreps, target: o3.Irreps, channels: int) -> None:
        super().__init__()
        few = o3.Irreps([(channels, irrep) for _, irrep in irreps])
        self.one, self.other = o3.Linear(irreps, few), o3.Linear(irreps, few)
        outputs: list[tuple[int, Any]] = []
        instructions = []
        kept = {irrep for _, irrep in target}
        for i, (_, first) in enumerate(few):
            for j, (_, second) in enumerate(few):
                for irrep in first * second:
                    if irrep in kept:
                        instructions.append((i, j, len(outputs), "uuu", True))
                        outputs.append((channels, irrep))
        self.product = o3.TensorProduct(few, few, o3.Irreps(outputs), instructions)
        self.mix = o3.Linear(o3.Irreps(outputs), target)

    def forward(self, features: Tensor) -> Tensor:
        """Products [B, target.dim]."""
        return self.mix(self.product(self.one(features), self.other(features)))


class Readout(nn.Module):
    """Blocks as a mean plus scaled linear functions of features.

    Attributes:
        mean, scale: of the features of the blocks [irreps.dim]; equal for the components of a tensor, and the mean zero
            but for scalars, so that they know no direction.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, irreps: o3.Irreps, blocks: AtomBlocks) -> None:
        super().__init__()
        self.linear, self.blocks = o3.Linear(irreps, blocks.irreps), blocks
        self.register_buffer("mean", torch.zeros(blocks.irreps.dim))
        self.register_buffer("scale", torch.ones(blocks.irreps.dim))

    def forward(self, features: Tensor) -> Tensor:
        """Blocks [T,B,rows,columns] of features [T,B,irreps.dim]."""
        flat = features.reshape(-1, features.size(2))
        blocks = self.blocks(self.mean + self.scale * self.linear(flat))
        return blocks.reshape(features.size(0), features.size(1), blocks.size(1), blocks.size(2))

    @torch.jit.unused
    def set_statistics(self, blocks: Tensor, with_mean: bool) -> None:
        """Mean and scale of known blocks [B,rows,columns]."""
        features = self.blocks.features_of(blocks)
        mean, scale = torch.zeros_like(self.mean), torch.zeros_like(self.scale)
        for (mul, irrep), part in zip(self.blocks.irreps, self.blocks.irreps.slices(), strict=True):
            values = features[:, part].reshape(len(features), mul, irrep.dim)
            if with_mean and irrep.l == 0 and irrep.p == 1:
                mean[part] = values.mean(0).reshape(-1).to(mean.dtype)
                values = values - values.mean(0)
            scale[part] = values.square().mean((0, 2)).sqrt().repeat_interleave(irrep.dim).to(scale.dtype)
        self.mean.copy_(mean)
        self.scale.copy_(scale)


class MessageRound(nn.Module):
    """One round of messages, products, and gates."""

    def __init__(self, irreps: o3.Irreps, directions: o3.Irreps, scalars: int, config: "ResponseNetworkConfig") -> None:
        super().__init__()
        self.message = WeightedProduct(irreps, directions, irreps, scalars, config.hidden)
        self.receive, self.keep = o3.Linear(self.message.irreps_out, irreps), o3.Linear(irreps, irreps)
        self.square = SelfProduct(irreps, irreps, config.product_channels)
        self.gate = Gate(irreps)
        self.mix = o3.Linear(irreps, self.gate.irreps_in)

    def forward(self, features: Tensor, source: Tensor, target: Tensor, directions: Tensor, scalars: Tensor) -> Tensor:
        """Features [A, irreps.dim] of all atoms after messages along the pairs source -> target [E]."""
        messages = self.message(features.index_select(0, source), directions, scalars)
        gathered = torch.zeros([features.size(0), messages.size(1)], dtype=messages.dtype, device=messages.device)
        gathered = gathered.index_add(0, target, messages) * 0.5
        new = self.receive(gathered) + self.keep(features)
        return features + self.gate(self.mix(new + self.square(new)))


class PairFeatures(nn.Module):
    """Features of an ordered pair of atoms."""

    def __init__(
        self, irreps: o3.Irreps, directions: o3.Irreps, target: o3.Irreps, scalars: int, config: "ResponseNetworkConfig"
    ) -> None:
        super().__init__()
        self.channels = config.pair_channels
        invariants = irreps[0].mul
        self.momenta = list(range(_PAIR_LARGEST + 1))
        own = o3.Irreps([(self.channels, (l, (-1) ** l)) for l in self.momenta])
        self.invariants = invariants
        count = scalars + 2 * invariants
        self.weights = nn.Sequential(
            nn.Linear(count, config.hidden), nn.SiLU(), nn.Linear(config.hidden, self.channels * len(self.momenta))
        )
        few = o3.Irreps([(min(mul, config.pair_channels), irrep) for mul, irrep in irreps])
        self.first, self.second = o3.Linear(irreps, few), o3.Linear(irreps, few)
        self.product = WeightedProduct(few, directions, target, count, config.hidden)
        self.gate = Gate(target)
        self.mix_own, self.mix_product = (
            o3.Linear(own, self.gate.irreps_in),
            o3.Linear(self.product.irreps_out, self.gate.irreps_in),
        )

    def forward(self, first: Tensor, second: Tensor, directions: Tensor, longer: Tensor, scalars: Tensor) -> Tensor:
        """Features [E, target.dim].

        Args:
            first, second: features of both atoms [E, irreps.dim].
            directions: spherical harmonics of the direction [E, directions.dim].
            longer: the same up to l = 6.
            scalars: of the pair [E, scalars].
        """
        context = torch.cat([scalars, first[:, : self.invariants], second[:, : self.invariants]], 1)
        weights = self.weights(context)
        parts: list[Tensor] = []
        for l in self.momenta:
            size = 2 * l + 1
            factor = weights[:, l * self.channels : (l + 1) * self.channels].unsqueeze(2)
            # The size in full: an atom by itself has no pairs.
            parts.append((factor * longer[:, l * l : l * l + size].unsqueeze(1)).reshape(-1, self.channels * size))
        product = self.product(self.first(first) + self.second(second), directions, context)
        return self.gate(self.mix_own(torch.cat(parts, 1)) + self.mix_product(product))


class ResponseNetwork(nn.Module):
    """See the module's documentation.

    Attributes:
        basis: auxiliary basis; its elements are those that the network covers.
        config: size.

    Args:
        basis: auxiliary basis.
        config: size.
    """

    # TorchScript would try to compile its class.
    __jit_ignored_attributes__: ClassVar[list[str]] = ["config"]

    element_index: Tensor

    def __init__(self, basis: AuxiliaryBasis, config: ResponseNetworkConfig) -> None:
        super().__init__()
        self.basis, self.config = basis, config
        natural = [(mul, (l, (-1) ** l)) for l, mul in enumerate(config.channels)]
        pseudo = [(mul, (l, -((-1) ** l))) for l, mul in enumerate(config.pseudo_channels, 1)]
        irreps = o3.Irreps([part for part in natural + pseudo if part[0]])
        pair = o3.Irreps(
            [(2 * mul, (l, (-1) ** l)) for l, mul in enumerate(config.channels)]
            + [(8, (l, (-1) ** l)) for l in range(len(config.channels), _PAIR_LARGEST + 1)]
            + [(2 * mul, (l, -((-1) ** l))) for l, mul in enumerate(config.pseudo_channels, 1) if mul]
        )
        directions = o3.Irreps.spherical_harmonics(_LARGEST)
        self.elements = sorted(basis.elements)
        index = torch.full([119], -1, dtype=torch.int64)
        index[self.elements] = torch.arange(len(self.elements))
        self.register_buffer("element_index", index)
        self.sizes = [basis.functions(number) for number in self.elements]
        self.embedding = nn.Embedding(len(self.elements), config.channels[0])
        self.pair_embedding = nn.Embedding(len(self.elements) ** 2, config.radial)
        self.radial = RadialFunctions(config.radial, config.cutoff)
        self.spherical = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(_PAIR_LARGEST), normalize=True, normalization="component"
        )
        self.short = directions.dim
        scalars = 2 * config.radial
        self.rest = irreps.dim - config.channels[0]
        self.rounds = nn.ModuleList(MessageRound(irreps, directions, scalars, config) for _ in range(config.rounds))
        self.site_product = SelfProduct(irreps, pair, config.product_channels)
        self.site_gate = Gate(pair)
        self.site_mix, self.site_keep = o3.Linear(pair, self.site_gate.irreps_in), o3.Linear(irreps, pair)
        self.pairs = PairFeatures(irreps, directions, pair, scalars, config)
        momenta = [basis.momenta(number) for number in self.elements]
        self.site_blocks = nn.ModuleList(Readout(pair, AtomBlocks(own, own, _LARGEST)) for own in momenta)
        self.pair_blocks = nn.ModuleList(
            Readout(pair, AtomBlocks(first, second, _PAIR_LARGEST)) for first in momenta for second in momenta
        )
        self.densities = nn.ModuleList(Readout(pair, AtomBlocks(own, (0,), _LARGEST)) for own in momenta)

    def ordered_pairs(self, atoms: int) -> tuple[Tensor, Tensor]:
        """First and second atoms of all pairs of different atoms [N(N-1)]."""
        device = self.element_index.device
        everyone = torch.arange(atoms, device=device)
        first = everyone.repeat_interleave(atoms)
        second = everyone.repeat(atoms)
        different = first != second
        return first[different], second[different]

    def features(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Features of all atoms [T,N,F] and of all ordered pairs [T,N(N-1),F], sorted by the first atom.

        Args:
            numbers: atomic numbers [N].
            positions: [T,N,3], bohr.

        Raises:
            ValueError: an element is not covered.
        """
        elements = self.element_index.index_select(0, numbers)
        if bool((elements < 0).any()):
            raise ValueError("the network does not cover an element of this molecule")
        count, atoms = positions.size(0), positions.size(1)
        first, second = self.ordered_pairs(atoms)
        # e3nn's order of vectors: see the auxiliary basis.
        places = positions[:, :, [1, 2, 0]]
        vectors = (places.index_select(1, second) - places.index_select(1, first)).reshape(-1, 3)
        shift = (torch.arange(count, device=positions.device) * atoms).unsqueeze(1)
        one, other = (first.unsqueeze(0) + shift).reshape(-1), (second.unsqueeze(0) + shift).reshape(-1)
        dtype = self.embedding.weight.dtype
        pair_type = elements.index_select(0, first) * len(self.elements) + elements.index_select(0, second)
        distances = torch.linalg.vector_norm(vectors, dim=1)
        radial = self.radial(distances).to(dtype)
        kinds = self.pair_embedding(pair_type).repeat(count, 1)
        scalars = torch.cat([radial, radial * kinds], 1)
        longer = self.spherical(vectors.to(dtype))
        directions = longer[:, : self.short]
        features = torch.nn.functional.pad(self.embedding(elements).repeat(count, 1), [0, self.rest])
        for block in self.rounds:
            # A message to the second atom along the direction from the first.
            features = block(features, one, other, directions, scalars)
        kept = self.site_keep(features)
        sites = self.site_gate(self.site_mix(kept + self.site_product(features)))
        pairs = self.pairs(features.index_select(0, one), features.index_select(0, other), directions, longer, scalars)
        return sites.reshape(count, atoms, -1), pairs.reshape(count, -1, sites.size(1))

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """A [M,M] (hartree, symmetric) and d [M] of one geometry; arguments as of :meth:`batched`, without T."""
        response, density = self.batched(numbers, positions.unsqueeze(0))
        return response.squeeze(0), density.squeeze(0)

    def batched(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """A [T,M,M] (hartree, symmetric) and d [T,M] of T geometries of one molecule.

        Args:
            numbers: atomic numbers [N].
            positions: [T,N,3], bohr.

        Raises:
            ValueError: an element is not covered.
        """
        sites, pairs = self.features(numbers, positions)
        return self.assembled(numbers, sites, pairs)

    def assembled(self, numbers: Tensor, sites: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer: A [T,M,M] and d [T,M] of the features of :meth:`features`, in which both are linear."""
        elements = self.element_index.index_select(0, numbers)
        first, second = self.ordered_pairs(sites.size(1))
        pair_type = elements.index_select(0, first) * len(self.elements) + elements.index_select(0, second)
        count = sites.size(0)
        offsets: list[int] = []
        size = 0
        for atom in range(elements.size(0)):
            offsets.append(size)
            size += self.sizes[int(elements[atom])]
        starts = torch.tensor(offsets, device=sites.device)
        dtype = sites.dtype
        response = torch.zeros([count, size, size], dtype=dtype, device=sites.device)
        density = torch.zeros([count, size], dtype=dtype, device=sites.device)
        for kind, (readout, coefficients) in enumerate(zip(self.site_blocks, self.densities)):  # noqa: B905
            chosen = torch.nonzero(elements == kind).reshape(-1)
            if chosen.numel() > 0:
                own = sites.index_select(1, chosen)
                place = starts.index_select(0, chosen).unsqueeze(1) + torch.arange(self.sizes[kind])
                response[:, place.unsqueeze(2), place.unsqueeze(1)] = readout(own)
                density[:, place] = coefficients(own).squeeze(3)
        for kind, readout in enumerate(self.pair_blocks):
            chosen = torch.nonzero(pair_type == kind).reshape(-1)
            if chosen.numel() > 0:
                rows = starts.index_select(0, first.index_select(0, chosen)).unsqueeze(1)
                columns = starts.index_select(0, second.index_select(0, chosen)).unsqueeze(1)
                rows = rows + torch.arange(self.sizes[kind // len(self.elements)])
                columns = columns + torch.arange(self.sizes[kind % len(self.elements)])
                response[:, rows.unsqueeze(2), columns.unsqueeze(1)] = readout(pairs.index_select(1, chosen))
        return 0.5 * (response + response.transpose(1, 2)), density
