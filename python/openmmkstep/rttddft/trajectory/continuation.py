"""Whether a file may be continued by a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import TrajectoryError
from openmmkstep.rttddft.propagation.fields import ElectricField
from openmmkstep.rttddft.systems.molecule import Molecule

from .reader import TrajectoryFile

RealArray = NDArray[np.float64]

# A file belongs to a run when the integrals agree this well; other versions of libraries differ by round-off.
_SAME_INTEGRALS = 1e-9


def refuse_other_run(
    file: TrajectoryFile,
    molecule: Molecule,
    settings: Mapping[str, Any],
    field: ElectricField,
) -> None:
    """Raise TrajectoryError unless a file was made for a molecule, by a run of the same settings and field.

    Args:
        file: what is there.
        molecule: nuclei and electrons.
        settings: attribute of the file -> what it would be for this run; JSON values.
        field: external field.
    """
    other = file.molecule
    if (
        not np.array_equal(other.numbers, molecule.numbers)
        or not np.allclose(other.positions, molecule.positions, rtol=0.0, atol=1e-12)
        or (other.charge, other.multiplicity) != (molecule.charge, molecule.multiplicity)
    ):
        raise TrajectoryError(
            f"{file.path} belongs to another molecule, geometry, charge or multiplicity ({other.name} with charge "
            f"{other.charge} and multiplicity {other.multiplicity}): write to another file"
        )
    for name, value in settings.items():
        stored = file.attributes[name]
        # Through JSON, as the stored one went.
        if stored != json.loads(json.dumps(value)):
            raise TrajectoryError(
                f"{file.path} cannot be continued with another {name}: it has {stored}, this run {value}. "
                "Use the same, or write to another file"
            )
    for time, recorded in zip(file.time, file.field, strict=True):
        if not np.allclose(field.at(float(time)), recorded, rtol=1e-12, atol=1e-15):
            raise TrajectoryError(f"{file.path} was made in another field at t = {time}: use the same field function")


def refuse_other_integrals(file: TrajectoryFile, overlap: RealArray, core: RealArray) -> None:
    """Raise TrajectoryError unless a file has the same overlap matrix and core Hamiltonian [n,n]."""
    for name, stored, own in (
        ("overlap matrix", file.overlap, overlap),
        ("core Hamiltonian", file.core_hamiltonian, core),
    ):
        if stored.shape != own.shape or np.abs(stored - own).max() > _SAME_INTEGRALS:
            raise TrajectoryError(
                f"{file.path} cannot be continued: its {name} is not that of this molecule and basis set. "
                "Another version of PySCF may define the basis set differently"
            )
