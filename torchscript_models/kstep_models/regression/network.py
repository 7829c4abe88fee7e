"""A fitted regression as a network like others: scripted, exported and compiled in the same way."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kstep_models.potential.interface import MoleculeData, NetworkConfig, PotentialModel

from .bonded import ANGLE_ORDER, BOND_ORDER, DIHEDRAL_ORDER, PAIR_ORDER
from .fitting import Parts, Regression, fit_regression
from .labels import Labels

_SIZES = ("bonds", "angles", "dihedrals", "pairs", "centres")
# (1/nm)^2, far below the distance of any two labels: where the geometry is a label the distance has no derivative.
_SOFTENING = 1e-9
# nm^4, of the squared cross product of two bonds: below it they are on a line, where an angle has no derivative.
_ON_A_LINE = 1e-20


class RegressionConfig(NetworkConfig):
    """What a regression is made of."""

    name: Literal["regression"] = "regression"
    parts: Parts | None = Field(
        default=None, description="bonded, kernel or both; none for the better on held-out labels"
    )
    max_permutations: int = Field(default=12, ge=1, description="exchanges of like atoms that are used")


class RegressionPotential(PotentialModel, name="regression"):
    """Bonded terms, a kernel regression on forces, and charges that are linear in the inverse distances."""

    config_type: ClassVar[type[NetworkConfig]] = RegressionConfig
    limits: ClassVar[tuple[str, ...]] = (
        "It knows the geometries that it was fitted to and little beyond: new conformers need labels of their own.",
        "Its charges do not respond to the environment.",
    )

    first: Tensor
    second: Tensor
    charge_constant: Tensor
    charge_slopes: Tensor
    charge_centre: Tensor
    kernel_origin: Tensor
    kernel_centres: Tensor
    kernel_vectors: Tensor
    kernel_width: Tensor
    kernel_weights: Tensor
    bond_atoms: Tensor
    bond_rest: Tensor
    bond_coefficients: Tensor
    angle_atoms: Tensor
    angle_rest: Tensor
    angle_coefficients: Tensor
    dihedral_atoms: Tensor
    dihedral_coefficients: Tensor
    pair_atoms: Tensor
    pair_rest: Tensor
    pair_coefficients: Tensor

    def __init__(self, config: RegressionConfig, numbers: Any, total_charge: float, sizes: Mapping[str, int]) -> None:
        super().__init__()
        n = len(numbers)
        self.config = config
        self.atoms = n
        self.cutoff = 10.0  # nm: all pairs
        self.energy_mean = 0.0
        self.sizes = {name: int(sizes[name]) for name in _SIZES}
        first, second = np.triu_indices(n, 1)
        buffers = {
            "numbers": torch.as_tensor(np.asarray(numbers, dtype=np.int64)),
            "total_charge": torch.tensor(float(total_charge)),
            "first": torch.as_tensor(first),
            "second": torch.as_tensor(second),
            "charge_constant": torch.zeros(n),
            "charge_slopes": torch.zeros(n, len(first)),
            "charge_centre": torch.zeros(len(first)),
            "kernel_origin": torch.zeros(len(first)),
            "kernel_centres": torch.zeros(self.sizes["centres"], len(first)),
            "kernel_vectors": torch.zeros(self.sizes["centres"], len(first)),
            "kernel_width": torch.tensor(1.0),
            "kernel_weights": torch.ones(len(first)),
        }
        for name, atoms, order in (
            ("bond", 2, BOND_ORDER),
            ("angle", 3, ANGLE_ORDER),
            ("dihedral", 4, 2 * DIHEDRAL_ORDER),
            ("pair", 2, PAIR_ORDER),
        ):
            size = self.sizes[f"{name}s"]
            buffers[f"{name}_atoms"] = torch.zeros(atoms, size, dtype=torch.int64)
            buffers[f"{name}_coefficients"] = torch.zeros(order, size)
            buffers[f"{name}_rest"] = torch.zeros(size)
        for name, value in buffers.items():
            self.register_buffer(name, value)

    @classmethod
    def of(cls, regression: Regression, labels: Labels) -> "RegressionPotential":
        """A fitted regression of the molecule of the labels, in double precision, for evaluation."""
        terms, kernel = regression.terms, regression.kernel
        sizes = {name: 0 if terms is None else len(getattr(terms, name)) for name in _SIZES[:-1]}
        sizes["centres"] = 0 if kernel is None else len(kernel.centres)
        config = RegressionConfig(parts=regression.parts)
        model = cls(config, labels.numbers, labels.total_charge, sizes).double()
        values: dict[str, Any] = {}
        if terms is not None and regression.coefficients is not None:
            tables = (terms.bonds, terms.angles, terms.dihedrals, terms.pairs)
            rests = (terms.r0, terms.theta0, np.zeros(len(terms.dihedrals)), terms.s0)
            for name, table, rest, rows in zip(
                ("bond", "angle", "dihedral", "pair"), tables, rests, terms.split(regression.coefficients), strict=True
            ):
                if len(table):
                    values |= {f"{name}_atoms": table.T, f"{name}_rest": rest, f"{name}_coefficients": rows.T}
        if kernel is not None:
            # About their mean, so that distances are differences of small numbers.
            origin = kernel.centres.mean(axis=0)
            values |= {
                "kernel_origin": origin,
                "kernel_centres": kernel.centres - origin,
                "kernel_vectors": kernel.vectors,
                "kernel_width": np.array(kernel.width),
                "kernel_weights": kernel.weights,
            }
        if regression.charges is not None:
            charges = regression.charges
            values |= {
                "charge_constant": charges.constant,
                "charge_slopes": charges.slopes,
                "charge_centre": charges.centre,
            }
        else:
            values["charge_constant"] = np.full(model.atoms, labels.total_charge / model.atoms)
        for name, value in values.items():
            getattr(model, name).copy_(torch.as_tensor(np.array(value)))
        model.energy_mean = regression.constant
        return model.eval()

    def inverse_distances(self, positions: Tensor) -> Tensor:
        """Of all pairs [B,D], 1/nm."""
        difference = positions[:, self.first] - positions[:, self.second]
        return torch.rsqrt((difference * difference).sum(-1))

    def kernel_energy(self, inverse: Tensor) -> Tensor:
        """Of the kernel regression [B], kJ/mol."""
        centred = self.kernel_weights * inverse - self.kernel_origin
        centres, vectors = self.kernel_centres, self.kernel_vectors
        square = (centred * centred).sum(1, keepdim=True) + (centres * centres).sum(1)
        square = torch.clamp(square - 2 * torch.matmul(centred, centres.t()), min=0.0) + _SOFTENING
        q = (5.0**0.5 / self.kernel_width) * torch.sqrt(square)
        along = torch.matmul(centred, vectors.t()) - (centres * vectors).sum(1)
        return 5 / (3 * self.kernel_width**2) * ((1 + q) * torch.exp(-q) * along).sum(1)

    def bonded_energy(self, positions: Tensor) -> Tensor:
        """Of bonds, angles, dihedrals and pairs [B], kJ/mol."""
        a, b = self.bond_atoms, self.pair_atoms
        energy = _polynomial(_length(positions[:, a[0]] - positions[:, a[1]]) - self.bond_rest, self.bond_coefficients)
        pair = _length(positions[:, b[0]] - positions[:, b[1]])
        energy = energy + _polynomial(pair - self.pair_rest, self.pair_coefficients)
        c = self.angle_atoms
        u, v = positions[:, c[0]] - positions[:, c[1]], positions[:, c[2]] - positions[:, c[1]]
        w = torch.linalg.cross(u, v)
        angle = torch.atan2(torch.sqrt(torch.clamp((w * w).sum(-1), min=_ON_A_LINE)), (u * v).sum(-1))
        energy = energy + _polynomial(angle - self.angle_rest, self.angle_coefficients)
        i = self.dihedral_atoms
        f, g = positions[:, i[0]] - positions[:, i[1]], positions[:, i[1]] - positions[:, i[2]]
        h = positions[:, i[3]] - positions[:, i[2]]
        left, right = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
        sine = (torch.linalg.cross(right, left) * g).sum(-1) / _length(g)
        phi = torch.atan2(sine, (left * right).sum(-1))
        for n in range(1, DIHEDRAL_ORDER + 1):
            rows = self.dihedral_coefficients[2 * n - 2 : 2 * n]
            energy = energy + (rows[0] * torch.cos(n * phi) + rows[1] * torch.sin(n * phi)).sum(1)
        return energy

    def forward(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy without its mean [B], forces [B,n,3] at fixed potential, charges dU/dphi [B,n]."""
        x = positions.detach().requires_grad_(True)
        inverse = self.inverse_distances(x)
        charges = self.charge_constant + torch.matmul(inverse - self.charge_centre, self.charge_slopes.t())
        energy = (charges * potential).sum(1)
        if self.sizes["centres"] > 0:
            energy = energy + self.kernel_energy(inverse)
        if self.sizes["bonds"] > 0:
            energy = energy + self.bonded_energy(x)
        gradient = torch.autograd.grad([energy.sum()], [x], create_graph=self.training)[0]
        if not self.training:
            return energy.detach(), -gradient, charges.detach()
        return energy, -gradient, charges

    @classmethod
    def create(cls, config: Any, data: MoleculeData) -> "RegressionPotential":
        """Fitted to a molecule's frames in vacuum."""
        labels = Labels(data.numbers, data.bonds, data.total_charge, data.positions, data.energies, data.forces)
        result = fit_regression(labels, config.parts, config.max_permutations)
        return cls.of(result.regression, labels)

    def describe(self) -> dict[str, Any]:
        """Sizes of everything, and what is no buffer."""
        return {
            "config": self.config.model_dump(),
            "numbers": self.numbers.tolist(),
            "total_charge": float(self.total_charge),
            "energy_mean": self.energy_mean,
            "sizes": self.sizes,
        }

    @classmethod
    def build(cls, description: Mapping[str, Any]) -> "RegressionPotential":
        """A model of the sizes that were described, with nothing in it."""
        config = RegressionConfig.model_validate(description["config"])
        model = cls(config, description["numbers"], description["total_charge"], description["sizes"])
        model.energy_mean = float(description["energy_mean"])
        return model


def _length(vectors: Tensor) -> Tensor:
    return torch.sqrt((vectors * vectors).sum(-1))


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """Sum over terms [B] of polynomials without constant; x [B,c], coefficients [order,c]."""
    value = torch.zeros_like(x)
    for order in range(coefficients.size(0) - 1, -1, -1):
        value = (value + coefficients[order]) * x
    return value.sum(1)
