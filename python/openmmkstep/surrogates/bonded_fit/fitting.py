"""Least-squares fit of the base level to QM forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames import FrameFile
from kstep_models.units import MEV_PER_ANGSTROM

from .internal_coordinates import (
    Coordinates,
    angles,
    dihedrals,
    find_angles,
    find_bonds,
    find_dihedrals,
    find_pairs,
    lengths,
)
from .model import ANGLE_ORDER, BOND_ORDER, DIHEDRAL_ORDER, PAIR_ORDER, BondedFit, BondedFitError

_BATCH = 40
_RIDGE = 1e-4  # of the diagonal, in units of each coefficient's own scale
_HELD_OUT_EVERY = 8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FitResult:
    """A bonded fit with its force errors (RMS per coordinate, meV/A).

    Attributes:
        model: fitted to all frames.
        train_error: of a fit without the held-out trajectories, on its own frames.
        test_error: of the same fit on the held-out trajectories; None if there is only one trajectory.
        frames: used.
    """

    model: BondedFit
    train_error: float
    test_error: float | None
    frames: int


def fit_bonded(files: Sequence[Path], max_frames: int, log: Callable[[str], None]) -> FitResult:
    """Fit a base level to gas-phase frames.

    Args:
        files: HDF5 files of one region.
        max_frames: frames are thinned evenly to at most this number.
        log: called with what is being done.

    Raises:
        BondedFitError: frames in an environment, of different regions, or of a region without bonds.
        FrameFileError: a file that cannot be read.
    """
    data = _Data.read(files, max_frames)
    fit = _Fit(data)
    trajectories = sorted(set(data.trajectory.tolist()))
    first = min(_HELD_OUT_EVERY // 2, len(trajectories) - 1)
    held = np.isin(data.trajectory, trajectories[first::_HELD_OUT_EVERY])
    test_error = None
    if held.any() and not held.all():
        log(f"fitting {fit.size} coefficients to {int((~held).sum())} frames, {int(held.sum())} held out")
        coefficients = fit.solve(np.flatnonzero(~held))
        train_error = fit.error(coefficients, np.flatnonzero(~held))
        test_error = fit.error(coefficients, np.flatnonzero(held))
    log(f"fitting {fit.size} coefficients to {len(data.positions)} frames")
    everything = np.arange(len(data.positions))
    coefficients = fit.solve(everything)
    if test_error is None:
        train_error = fit.error(coefficients, everything)
    about = {
        "level_of_theory": data.level_of_theory,
        "digests": data.digests,
        "frames": len(data.positions),
        "force_rmse_meV_per_A": {"train": train_error, "held_out": test_error},
    }
    return FitResult(fit.model(coefficients, about), train_error, test_error, len(everything))


@dataclass(frozen=True)
class _Data:
    numbers: NDArray[np.int64]
    bonds: NDArray[np.int64]
    positions: Array
    forces: Array
    trajectory: NDArray[np.int64]
    level_of_theory: dict[str, object]
    digests: list[str]

    @classmethod
    def read(cls, files: Sequence[Path], max_frames: int) -> _Data:
        if not files:
            raise BondedFitError("no frames: give at least one HDF5 file of `kstep generate`")
        positions: list[Array] = []
        forces: list[Array] = []
        trajectory: list[NDArray[np.int64]] = []
        digests: list[str] = []
        first = None
        for path in files:
            with FrameFile(path) as file:
                if file.has_environment:
                    raise BondedFitError(
                        f"{path} has frames in an environment: the base level is fitted to gas-phase frames"
                    )
                first = first or file.region
                reason = first.difference(file.region)
                if reason is not None:
                    raise BondedFitError(f"{path} does not belong with {files[0]}: {reason}")
                positions.append(file.frames("positions"))
                forces.append(file.frames("forces"))
                # Trajectories of different files are different ones.
                start = max((int(part.max()) + 1 for part in trajectory if len(part)), default=0)
                trajectory.append(file.frames("trajectory") + start)
                digests.append(file.digest())
        if first is None or len(first.bonds) == 0:
            raise BondedFitError("the region has no bonds, so there is nothing to fit: use a network alone")
        x, f, t = np.concatenate(positions), np.concatenate(forces), np.concatenate(trajectory)
        step = max(1, -(-len(x) // max_frames))
        return cls(first.numbers, first.bonds, x[::step], f[::step], t[::step], dict(first.level_of_theory), digests)


class _Fit:
    def __init__(self, data: _Data) -> None:
        self._data = data
        self._bonds = find_bonds(data.bonds)
        self._angles = find_angles(data.bonds)
        self._dihedrals = find_dihedrals(data.bonds)
        self._pairs = find_pairs(data.bonds)
        self._s0 = lengths(data.positions, self._pairs).values.mean(axis=0)
        self._r0 = lengths(data.positions, self._bonds).values.mean(axis=0)
        self._theta0 = angles(data.positions, self._angles).values.mean(axis=0)
        self.size = (
            BOND_ORDER * len(self._bonds)
            + ANGLE_ORDER * len(self._angles)
            + 2 * DIHEDRAL_ORDER * len(self._dihedrals)
            + PAIR_ORDER * len(self._pairs)
        )

    def solve(self, frames: NDArray[np.int64]) -> Array:
        """Coefficients, with the anharmonicity left out where it would let a bond fall apart."""
        matrix, right = np.zeros((self.size, self.size)), np.zeros(self.size)
        for start in range(0, len(frames), _BATCH):
            batch = frames[start : start + _BATCH]
            design = self._design(self._data.positions[batch])
            matrix += design.T @ design
            right += design.T @ self._data.forces[batch].ravel()
        kept = np.ones(self.size, dtype=bool)
        coefficients = _ridge(matrix, right, kept)
        count = len(self._bonds)
        # A negative quartic term makes the bond's energy fall without bound.
        unbound = np.flatnonzero(coefficients[3 * count : 4 * count] <= 0)
        if len(unbound):
            kept[np.concatenate([2 * count + unbound, 3 * count + unbound])] = False
            coefficients = _ridge(matrix, right, kept)
        if np.any(coefficients[count : 2 * count] <= 0):
            raise BondedFitError("the fit gives a bond without restoring force: use more frames, or hotter ones")
        return coefficients

    def error(self, coefficients: Array, frames: NDArray[np.int64]) -> float:
        """RMS force error per coordinate, meV/A."""
        total = 0.0
        for start in range(0, len(frames), _BATCH):
            batch = frames[start : start + _BATCH]
            residual = self._design(self._data.positions[batch]) @ coefficients - self._data.forces[batch].ravel()
            total += float(residual @ residual)
        return MEV_PER_ANGSTROM * float(np.sqrt(total / (self._data.forces[frames].size)))

    def model(self, coefficients: Array, about: dict[str, object]) -> BondedFit:
        """The fitted coefficients, sorted by term."""
        orders = (BOND_ORDER, ANGLE_ORDER, 2 * DIHEDRAL_ORDER, PAIR_ORDER)
        terms = (self._bonds, self._angles, self._dihedrals, self._pairs)
        ends = np.cumsum([order * len(table) for order, table in zip(orders, terms, strict=True)])
        bond, angle, dihedral, pair = (
            part.reshape(order, -1).T for part, order in zip(np.split(coefficients, ends[:-1]), orders, strict=True)
        )
        return BondedFit(
            tuple(int(number) for number in self._data.numbers),
            np.column_stack([self._bonds, self._r0, bond]).tolist(),
            np.column_stack([self._angles, self._theta0, angle]).tolist(),
            np.column_stack([self._dihedrals, dihedral]).tolist(),
            np.column_stack([self._pairs, self._s0, pair]).tolist(),
            dict(about),
        )

    def _design(self, positions: Array) -> Array:
        """Force on every coordinate per unit of each coefficient [T*3n, coefficients]."""
        atoms = positions.shape[1]
        bond, angle = lengths(positions, self._bonds), angles(positions, self._angles)
        dihedral = dihedrals(positions, self._dihedrals)
        x, y = bond.values - self._r0, angle.values - self._theta0
        columns = [_forces(bond, n * x ** (n - 1), atoms) for n in range(1, BOND_ORDER + 1)]
        columns += [_forces(angle, n * y ** (n - 1), atoms) for n in range(1, ANGLE_ORDER + 1)]
        for n in range(1, DIHEDRAL_ORDER + 1):
            columns.append(_forces(dihedral, -n * np.sin(n * dihedral.values), atoms))
            columns.append(_forces(dihedral, n * np.cos(n * dihedral.values), atoms))
        pair = lengths(positions, self._pairs)
        z = pair.values - self._s0
        columns += [_forces(pair, n * z ** (n - 1), atoms) for n in range(1, PAIR_ORDER + 1)]
        stacked = np.concatenate(columns, axis=1)
        return stacked.transpose(0, 2, 1).reshape(-1, self.size)


def _forces(coordinates: Coordinates, slope: Array, atoms: int) -> Array:
    """Forces [T,c,3n] of energies whose derivatives with respect to the coordinates are ``slope`` [T,c]."""
    frames, count = slope.shape
    forces = np.zeros((frames, count, atoms, 3))
    index = np.arange(count)
    for place in range(coordinates.atoms.shape[1]):
        forces[:, index, coordinates.atoms[:, place]] -= slope[..., None] * coordinates.gradients[:, :, place]
    return forces.reshape(frames, count, 3 * atoms)


def _ridge(matrix: Array, right: Array, kept: NDArray[np.bool_]) -> Array:
    """Regularised solution of the normal equations in the kept coefficients; 0 in the others."""
    scale = 1 / np.sqrt(np.diag(matrix)[kept] + 1e-12 * np.diag(matrix).max())
    small = matrix[np.ix_(kept, kept)] * scale[:, None] * scale
    small[np.diag_indices_from(small)] += _RIDGE
    solution = np.zeros(len(right))
    solution[kept] = scale * np.linalg.solve(small, scale * right[kept])
    return solution
