"""Frames of QM results for HDF5 files (schema of kstep_models.frames)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kstep_models.frames import Environment, Frame, FrameFile, FrameFileError, RegionDescription
from kstep_models.hdf5_changes import changed
from kstep_models.provenance import software_versions
from openmmkstep.openmmapi.qmmm_force import QMResult
from openmmkstep.provenance import PACKAGES
from openmmkstep.qmmm.region import QMRegion


def describe_region(region: QMRegion, level_of_theory: Mapping[str, Any], command: str) -> RegionDescription:
    """What all frames of a region have in common, for the head of a file."""
    return RegionDescription(
        numbers=region.site_numbers,
        masses=region.site_masses,
        bonds=region.site_bonds,
        charge=region.charge,
        multiplicity=region.multiplicity,
        level_of_theory=level_of_theory,
        software=software_versions(PACKAGES),
        command=command,
        names=region.site_names,
    )


def frame_of_result(result: QMResult, embedded: bool, trajectory: int, time: float, temperature: float) -> Frame:
    """A frame from what the QM level computed.

    Args:
        result: What QMMMForce.getLastResult() gave.
        embedded: whether the region is embedded in charges; the frame has an environment then, empty or not.
        trajectory: index of the trajectory.
        time: ps since its start.
        temperature: Temperature of the thermostat, K; 0 at constant energy.
    """
    environment = None
    if embedded:
        environment = Environment(
            potential=result.potential,
            potential_gradient=result.potentialGradient,
            positions=result.environmentPositions,
            charges=result.environmentCharges,
            forces=result.environmentForces,
        )
    return Frame(
        positions=result.positions,
        energy=result.energy,
        forces=result.forces,
        charges=result.charges,
        dipole=result.dipole,
        trajectory=trajectory,
        time=time,
        temperature=temperature,
        environment=environment,
    )


def difference_of_results(above: QMResult, below: QMResult) -> QMResult:
    """What one method says beyond another of the same geometry in the same surroundings.

    Raises:
        FrameFileError: The two are not of the same geometry.
    """
    same = ("positions", "environmentPositions", "environmentCharges", "environmentParticles")
    if not all(np.array_equal(getattr(above, name), getattr(below, name)) for name in same):
        raise FrameFileError(
            "the results of the two levels are not of the same geometry: read them at the end of an outer step, in the "
            "same embedding charges"
        )
    differences = {
        name: getattr(above, name) - getattr(below, name)
        for name in ("energy", "forces", "charges", "dipole", "environmentForces")
    }
    return replace(above, **differences)


def difference_of_theories(above: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """The level of theory of what one method says beyond another."""
    return {**above, "minus": dict(below)}


def keep_frames(path: str | os.PathLike[str], count: int) -> None:
    """Cut a frames file back to its first ``count`` frames; a writer that resumes it continues from there.

    Raises:
        ValueError: the file has fewer.
    """
    with FrameFile(path) as file:
        present = len(file)
    if count > present:
        raise ValueError(f"{path} has {present} frames, fewer than the {count} that should be kept")
    if count < present:
        # Readers and writers take this number for the truth and ignore what lies beyond.
        with changed(Path(path)) as data:
            data.attrs["frames"] = count


def count_frames(path: str | os.PathLike[str]) -> int:
    """Complete frames in a file."""
    with FrameFile(path) as file:
        return len(file)
