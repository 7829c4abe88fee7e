"""What a frames file holds: the fields with their shapes, and the objects that carry them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_models.hdf5 import Schema

UNITS: Mapping[str, str] = {"length": "nm", "time": "ps", "energy": "kJ/mol", "mass": "amu", "charge": "e"}

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

# name -> (trailing shape with "n" for the number of atoms, stored type)
FRAME_FIELDS: Mapping[str, tuple[tuple[int | str, ...], str]] = {
    "positions": (("n", 3), "f8"),
    "energy": ((), "f8"),
    "forces": (("n", 3), "f8"),
    "charges": (("n",), "f8"),
    "dipole": ((3,), "f8"),
    "trajectory": ((), "i8"),
    "time": ((), "f8"),
    "temperature": ((), "f8"),
}
OBSERVABLES = ("charges", "dipole")
"""Fields of a frame that are NaN throughout if the QM engine does not tell them."""
SITE_FIELDS: Mapping[str, tuple[tuple[int | str, ...], str]] = {
    "potential": (("n",), "f8"),
    "potential_gradient": (("n", 3), "f8"),
}
ROW_FIELDS: Mapping[str, tuple[tuple[int, ...], str]] = {
    "positions": ((3,), "f4"),
    "charges": ((), "f4"),
    "forces": ((3,), "f4"),
}


class FrameFileError(ValueError):
    """A frames file, or a frame on its way into one, is not what it should be."""


SCHEMA = Schema("kstep-frames", 1, "frames", "`kstep generate`", FrameFileError, UNITS)


@dataclass(frozen=True)
class RegionDescription:
    """What all frames of one file have in common.

    Attributes:
        numbers: atomic numbers [n].
        masses: atomic masses [n], amu.
        bonds: molecular graph [b,2], indices into the region; may be empty.
        charge: total charge of the region, e.
        multiplicity: spin multiplicity (1 is closed shell).
        level_of_theory: method and settings that made the labels; any JSON object.
        software: name -> version of the programs that made the labels.
        command: the command line that made the file.
        names: atom names [n], or empty.
    """

    numbers: NDArray[np.int64]
    masses: FloatArray
    bonds: NDArray[np.int64]
    charge: int
    multiplicity: int
    level_of_theory: Mapping[str, Any]
    software: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "numbers", np.asarray(self.numbers, dtype=np.int64))
        set_(self, "masses", np.asarray(self.masses, dtype=np.float64))
        set_(self, "bonds", np.asarray(self.bonds, dtype=np.int64).reshape(-1, 2))
        set_(self, "names", tuple(str(name) for name in self.names))
        n = len(self.numbers)
        if self.numbers.ndim != 1 or n == 0:
            raise FrameFileError("the region needs at least one atom: pass its atomic numbers as a list")
        if np.any(self.numbers < 1) or np.any(self.numbers > 118):
            raise FrameFileError(f"atomic numbers must lie between 1 and 118, got {sorted(set(self.numbers.tolist()))}")
        if self.masses.shape != (n,) or not np.all(np.isfinite(self.masses)) or np.any(self.masses < 0):
            raise FrameFileError(f"masses must be {n} finite non-negative numbers, one per atom")
        if self.bonds.size and (self.bonds.min() < 0 or self.bonds.max() >= n):
            raise FrameFileError(f"bonds must index the region's {n} atoms (0 to {n - 1}), got {self.bonds.max()}")
        if np.any(self.bonds[:, 0] == self.bonds[:, 1]):
            raise FrameFileError("a bond must join two different atoms")
        if self.names and len(self.names) != n:
            raise FrameFileError(f"{len(self.names)} atom names given for {n} atoms")
        if self.multiplicity < 1:
            raise FrameFileError(f"multiplicity must be at least 1, got {self.multiplicity}")

    def difference(self, other: RegionDescription) -> str | None:
        """Why frames of ``other`` do not belong with frames of this region, or None if they do."""
        if not np.array_equal(self.numbers, other.numbers):
            return "the atomic numbers differ"
        if not np.array_equal(_sorted_bonds(self.bonds), _sorted_bonds(other.bonds)):
            return "the bonds differ"
        if (self.charge, self.multiplicity) != (other.charge, other.multiplicity):
            return (
                f"charge and multiplicity differ ({self.charge}, {self.multiplicity} "
                f"against {other.charge}, {other.multiplicity})"
            )
        if plain(self.level_of_theory) != plain(other.level_of_theory):
            return f"the levels of theory differ ({self.level_of_theory} against {other.level_of_theory})"
        return None


@dataclass(frozen=True)
class Environment:
    """The embedding charges of one frame (m of them) and what they do to the region (n atoms).

    Attributes:
        potential: potential of the effective charges at the region atoms [n], kJ/mol/e.
        potential_gradient: its gradient [n,3], kJ/mol/e/nm.
        positions: of the charges, in the image seen by the region [m,3], nm.
        charges: effective (switched) charges [m], e.
        forces: on the charges at fixed charge [m,3], kJ/mol/nm.
    """

    potential: ArrayLike
    potential_gradient: ArrayLike
    positions: ArrayLike
    charges: ArrayLike
    forces: ArrayLike


@dataclass(frozen=True)
class Frame:
    """One labelled configuration; shapes and units as in :mod:`kstep_models.frames`.

    Attributes:
        positions: [n,3] nm.
        energy: kJ/mol.
        forces: [n,3] kJ/mol/nm, at fixed environment charges.
        charges: atomic charges [n], e; NaN if the QM engine does not tell them.
        dipole: [3] e nm; NaN likewise.
        trajectory: index of the independent trajectory the frame belongs to (splits never divide one).
        time: ps since the start of that trajectory.
        temperature: of its thermostat, K (0 for NVE).
        environment: None in the gas phase.
    """

    positions: ArrayLike
    energy: float
    forces: ArrayLike
    charges: ArrayLike
    dipole: ArrayLike
    trajectory: int
    time: float
    temperature: float
    environment: Environment | None = None


def _sorted_bonds(bonds: NDArray[np.int64]) -> list[tuple[int, int]]:
    return sorted((int(min(pair)), int(max(pair))) for pair in bonds)


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as JSON would give it back (tuples become lists, keys strings)."""
    result: dict[str, Any] = json.loads(json.dumps(dict(value), sort_keys=True))
    return result
