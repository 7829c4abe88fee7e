"""What potentials are fitted to: geometries of one region with energies and forces, in vacuum or among charges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames import FrameFile, FrameFileError, RegionDescription

Array = NDArray[np.float64]
Table = NDArray[np.int64]


@dataclass(frozen=True)
class Surroundings:
    """The charges around one geometry of n atoms, m of them.

    Attributes:
        potential: At the atoms [n], kJ/mol/e.
        gradient: Of that potential at the atoms [n,3], kJ/mol/e/nm.
        positions: Of the charges [m,3], nm.
        charges: [m], e.
        forces: On the charges [m,3], kJ/mol/nm.
    """

    potential: Array
    gradient: Array
    positions: Array
    charges: Array
    forces: Array


@dataclass(frozen=True)
class Labels:
    """Labelled geometries of one region: of a method, or of the difference of two.

    Attributes:
        numbers: Atomic numbers [n].
        bonds: Molecular graph [b,2]; empty where there is none to rely on.
        total_charge: What the charges of the region sum to, e: 0 for a difference of two methods.
        positions: [T,n,3], nm.
        energies: [T], kJ/mol.
        forces: On the atoms at fixed surroundings [T,n,3], kJ/mol/nm.
        surroundings: Of each geometry; empty in vacuum.
    """

    numbers: Table
    bonds: Table
    total_charge: float
    positions: Array
    energies: Array
    forces: Array
    surroundings: Sequence[Surroundings] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.positions)

    def subset(self, which: NDArray[np.int64]) -> Labels:
        """Some of them, by their places."""
        return Labels(
            self.numbers,
            self.bonds,
            self.total_charge,
            self.positions[which],
            self.energies[which],
            self.forces[which],
            tuple(self.surroundings[int(place)] for place in which) if self.surroundings else (),
        )


@dataclass(frozen=True)
class LabelFiles:
    """Labels out of frames files.

    Attributes:
        labels: Of all files.
        region: What all frames have in common.
        digests: Of each file.
    """

    labels: Labels
    region: RegionDescription
    digests: tuple[str, ...]

    @classmethod
    def read(cls, files: Sequence[Path]) -> LabelFiles:
        """Read frames files of one region and one level of theory, all in vacuum or all among charges.

        Raises:
            FrameFileError: A file that cannot be read, or that does not belong with the others.
        """
        if not files:
            raise FrameFileError("no frames: give at least one HDF5 file of `kstep generate` or of a run")
        parts: list[Labels] = []
        digests = []
        first: RegionDescription | None = None
        embedded = False
        for path in files:
            with FrameFile(path) as file:
                if first is None:
                    first, embedded = file.region, file.has_environment
                reason = first.difference(file.region)
                if reason is None and file.has_environment != embedded:
                    reason = "some frames are in vacuum and others among charges"
                if reason is not None:
                    raise FrameFileError(f"{path} does not belong with {files[0]}: {reason}")
                parts.append(_labels_of(file))
                digests.append(file.digest())
        if first is None:
            raise FrameFileError("no frames")
        return cls(_joined(parts), first, tuple(digests))


def net_charge(region: RegionDescription) -> float:
    """What the charges of a potential for a region sum to, e: nothing for the difference of two methods."""
    return 0.0 if "minus" in region.level_of_theory else float(region.charge)


def _labels_of(file: FrameFile) -> Labels:
    surroundings: list[Surroundings] = []
    if file.has_environment:
        for index in range(len(file)):
            place = file.environment(index)
            surroundings.append(
                Surroundings(
                    np.asarray(place.potential),
                    np.asarray(place.potential_gradient),
                    np.asarray(place.positions),
                    np.asarray(place.charges),
                    np.asarray(place.forces),
                )
            )
    return Labels(
        file.region.numbers,
        file.region.bonds,
        net_charge(file.region),
        file.frames("positions"),
        file.frames("energy"),
        file.frames("forces"),
        tuple(surroundings),
    )


def _joined(parts: Sequence[Labels]) -> Labels:
    first = parts[0]
    return Labels(
        first.numbers,
        first.bonds,
        first.total_charge,
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.energies for part in parts]),
        np.concatenate([part.forces for part in parts]),
        tuple(place for part in parts for place in part.surroundings),
    )
