"""Least-squares fit of the base level to QM forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames import FrameFile
from kstep_models.regression.bonded import BondedTerms, NormalEquations, predicted_forces
from kstep_models.units import MEV_PER_ANGSTROM

from .model import BondedFit, BondedFitError

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
        self._terms = BondedTerms.of(data.bonds, data.positions)
        self.size = self._terms.size
        # A difference of two methods need not hold anything together.
        self._must_bind = "minus" not in data.level_of_theory

    def solve(self, frames: NDArray[np.int64]) -> Array:
        """Coefficients, with the anharmonicity left out where it would let a bond fall apart."""
        equations = NormalEquations(self._terms)
        equations.add(self._data.positions[frames], self._data.forces[frames])
        coefficients = equations.solve(_RIDGE)
        if not self._must_bind:
            return coefficients
        count = len(self._terms.bonds)
        # A negative quartic term makes the bond's energy fall without bound.
        unbound = np.flatnonzero(coefficients[3 * count : 4 * count] <= 0)
        if len(unbound):
            kept = np.ones(self.size, dtype=bool)
            kept[np.concatenate([2 * count + unbound, 3 * count + unbound])] = False
            coefficients = equations.solve(_RIDGE, kept)
        if np.any(coefficients[count : 2 * count] <= 0):
            raise BondedFitError("the fit gives a bond without restoring force: use more frames, or hotter ones")
        return coefficients

    def error(self, coefficients: Array, frames: NDArray[np.int64]) -> float:
        """RMS force error per coordinate, meV/A."""
        residual = predicted_forces(self._terms, coefficients, self._data.positions[frames]) - self._data.forces[frames]
        return MEV_PER_ANGSTROM * float(np.sqrt(np.mean(residual**2)))

    def model(self, coefficients: Array, about: dict[str, object]) -> BondedFit:
        """The fitted coefficients, sorted by term."""
        terms = self._terms
        bond, angle, dihedral, pair = terms.split(coefficients)
        return BondedFit(
            tuple(int(number) for number in self._data.numbers),
            _rows(terms.bonds, terms.r0, bond),
            _rows(terms.angles, terms.theta0, angle),
            _rows(terms.dihedrals, None, dihedral),
            _rows(terms.pairs, terms.s0, pair),
            dict(about),
        )


def _rows(atoms: NDArray[np.int64], rest: Array | None, coefficients: Array) -> list[list[float]]:
    """Rows of a BondedFit."""
    if len(atoms) == 0:
        return []
    rows: list[list[float]] = np.column_stack([atoms, *([] if rest is None else [rest]), coefficients]).tolist()
    return rows
