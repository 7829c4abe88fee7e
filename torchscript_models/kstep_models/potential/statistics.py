"""Scales a potential takes from its training data before training: they centre what the network sees and predicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.potential.pair_series import fit_pair_series, pair_series_energy
from kstep_models.potential.parts import coulomb_between_parts
from kstep_models.potential.topology import Topology, TopologyError

FloatArray = NDArray[np.float64]

# Distances vary by at least this much (nm) in any data, so that a class seen once does not become infinitely sharp.
_SMALLEST_SPREAD = 1e-3
# Parts that no bond joins move freely: their distances vary by more (nm) than a few trajectories show.
_SMALLEST_SPREAD_BETWEEN_PARTS = 0.05


@dataclass(frozen=True)
class PairStatistics:
    """Scales for one molecule.

    Attributes:
        distance_mean: mean distance of each pair class [n,n], nm.
        distance_spread: its standard deviation [n,n], nm.
        distance_min: shortest distance seen in each pair class [n,n], nm.
        pair_series: coefficients of the fitted pair potential [4,n,n], kJ/mol
            (:mod:`kstep_models.potential.pair_series`).
        energy_mean: of what the pair potential and Coulomb's law between parts leave, kJ/mol; added back in double
            precision.
        energy_scale: kJ/mol per unit of network output.
        charge_mean: mean charge of each atom class, per atom [n], e.
        total_charge: e.
    """

    distance_mean: FloatArray
    distance_spread: FloatArray
    distance_min: FloatArray
    pair_series: FloatArray
    energy_mean: float
    energy_scale: float
    charge_mean: FloatArray
    total_charge: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PairStatistics:
        """From :meth:`to_json`."""
        values: dict[str, Any] = {
            name: np.asarray(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**values)

    @classmethod
    def measure(
        cls,
        topology: Topology,
        positions: FloatArray,
        energies: FloatArray,
        forces: FloatArray,
        charges: FloatArray,
        total_charge: float,
        geometries: FloatArray | None = None,
    ) -> PairStatistics:
        """Scales of a set of frames.

        Args:
            topology: the molecule, n atoms.
            positions: [T,n,3] nm.
            energies: [T] kJ/mol.
            forces: [T,n,3] kJ/mol/nm.
            charges: [T,n] e.
            total_charge: e.
            geometries: [G,n,3] nm, on which to measure distances instead of on ``positions``: all that there are, where
                only some have energies and forces in vacuum.

        Raises:
            TopologyError: frames of another number of atoms, or none.
        """
        n = len(topology.numbers)
        seen = positions if geometries is None else geometries
        for x in (positions, seen):
            if x.ndim != 3 or x.shape[1:] != (n, 3) or len(x) == 0:
                raise TopologyError(f"expected frames of {n} atoms as [T,{n},3], got shape {list(x.shape)}")
        classes = topology.undirected_pair_class()
        total, squares, least = np.zeros((n, n)), np.zeros((n, n)), np.full((n, n), np.inf)
        # In blocks: all pair distances of a large data set at once would not fit in memory.
        for start in range(0, len(seen), 1000):
            x = seen[start : start + 1000]
            r = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
            total += r.sum(0)
            squares += (r**2).sum(0)
            least = np.minimum(least, r.min(0))
        mean, spread, shortest = np.zeros((n, n)), np.ones((n, n)), np.zeros((n, n))
        for k in range(int(classes.max()) + 1):
            members = classes == k
            count = members.sum() * len(seen)
            mean[members] = total[members].sum() / count
            variance = squares[members].sum() / count - mean[members] ** 2
            between = topology.between_parts[members].any()
            least_spread = _SMALLEST_SPREAD_BETWEEN_PARTS if between else _SMALLEST_SPREAD
            spread[members] = np.sqrt(np.maximum(variance, least_spread**2))
            shortest[members] = least[members].min()
        coulomb, coulomb_forces = coulomb_between_parts(topology, positions, charges)
        series = fit_pair_series(topology, mean, spread, positions, forces - coulomb_forces)
        left = energies - coulomb - pair_series_energy(series, mean, spread, positions)
        charge = np.zeros(n)
        for k in range(topology.atom_classes):
            atoms = topology.atom_class == k
            charge[atoms] = charges[:, atoms].mean()
        return cls(
            distance_mean=mean,
            distance_spread=spread,
            distance_min=shortest,
            pair_series=series,
            energy_mean=float(np.mean(left)),
            energy_scale=max(float(np.std(left)), 1.0),
            charge_mean=charge,
            total_charge=float(total_charge),
        )
