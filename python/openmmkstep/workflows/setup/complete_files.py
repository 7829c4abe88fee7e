"""Reads topologies of Amber, CHARMM and GROMACS, which bring their force field along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep.workflows.config.sections import SystemSection


class PreparationError(ValueError):
    """A structure or force field from which no system can be made."""


@dataclass(frozen=True)
class CompleteFiles:
    """What files with a force field of their own say.

    Attributes:
        topology: Atoms and bonds, and the box where there is one.
        positions: [N,3] nm.
        create_system: Takes the arguments of ``openmm.app.ForceField.createSystem``.
    """

    topology: app.Topology
    positions: NDArray[np.float64]
    create_system: Callable[..., openmm.System]


def read_complete_files(section: SystemSection) -> CompleteFiles:
    """The system of ``prmtop``, ``psf`` or ``top``, with ``coordinates``.

    Raises:
        PreparationError: Files that are missing, cannot be read, or do not fit each other; a box given twice.
    """
    key = next(name for name in ("prmtop", "psf", "top") if getattr(section, name) is not None)
    path = existing(getattr(section, key), key)
    positions, box = _read_coordinates(existing(section.coordinates, "coordinates"))
    box = chosen_box(section, box, "coordinates")
    try:
        topology, create_system = _READERS[key](section, path, box)
    except PreparationError:
        raise
    except Exception as error:
        # OpenMM's readers raise whatever their parsing hits; the user needs the file's name.
        raise PreparationError(f"system.{key}: {path} cannot be read: {error}") from error
    if len(positions) != topology.getNumAtoms():
        raise PreparationError(
            f"system.{key}: {path} has {topology.getNumAtoms()} atoms, and system.coordinates: {section.coordinates} "
            f"has {len(positions)}: give two files of the same system"
        )
    return CompleteFiles(topology, positions, create_system)


def existing(path: Path | None, key: str) -> Path:
    """A file that is there. Raises PreparationError."""
    if path is None or not path.is_file():
        raise PreparationError(f"system.{key}: {path} does not exist")
    return path


def chosen_box(section: SystemSection, of_the_file: Any, key: str) -> Any:
    """The box of a file or of the configuration, None where neither has one. Raises PreparationError if both have."""
    if section.box is None:
        return of_the_file
    if of_the_file is not None:
        raise PreparationError(f"system.box: {getattr(section, key)} has a box already: leave 'box' out")
    return [openmm.Vec3(*row) for row in np.diag(section.box).tolist()] * unit.nanometer


def _read_coordinates(path: Path) -> tuple[NDArray[np.float64], Any]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".gro":
            file: Any = app.GromacsGroFile(str(path))
            box = file.getPeriodicBoxVectors()
            # A box of zeros is how the format says that there is none.
            box = box if box is not None and box[0][0] > 0 * unit.nanometer else None
        elif suffix in (".crd", ".cor"):
            file, box = app.CharmmCrdFile(str(path)), None
        elif suffix in (".pdb", ".cif", ".mmcif"):
            file = app.PDBFile(str(path)) if suffix == ".pdb" else app.PDBxFile(str(path))
            box = file.topology.getPeriodicBoxVectors()
        else:
            file = app.AmberInpcrdFile(str(path))
            box = file.boxVectors
    except Exception as error:
        raise PreparationError(
            f"system.coordinates: {path} cannot be read (by its ending, one of gro, crd, cor, pdb, cif, mmcif, or "
            f"Amber's): {error}"
        ) from error
    return np.array(file.positions.value_in_unit(unit.nanometer), dtype=np.float64), box


def _read_amber(section: SystemSection, path: Path, box: Any) -> tuple[app.Topology, Callable[..., openmm.System]]:
    prmtop = app.AmberPrmtopFile(str(path), periodicBoxVectors=box)
    return prmtop.topology, prmtop.createSystem


def _read_charmm(section: SystemSection, path: Path, box: Any) -> tuple[app.Topology, Callable[..., openmm.System]]:
    psf = app.CharmmPsfFile(str(path), periodicBoxVectors=box)
    files = [str(existing(file, "parameters")) for file in section.parameters]
    try:
        parameters = app.CharmmParameterSet(*files)
    except Exception as error:
        raise PreparationError(f"system.parameters: {', '.join(files)} cannot be read: {error}") from error

    def create_system(**options: Any) -> openmm.System:
        return psf.createSystem(parameters, **options)

    return psf.topology, create_system


def _read_gromacs(section: SystemSection, path: Path, box: Any) -> tuple[app.Topology, Callable[..., openmm.System]]:
    folder = section.include_folder
    if folder is not None and not folder.is_dir():
        raise PreparationError(f"system.include_folder: {folder} is no folder")
    top = app.GromacsTopFile(str(path), periodicBoxVectors=box, includeDir=None if folder is None else str(folder))

    def create_system(flexibleConstraints: bool = False, **options: Any) -> openmm.System:  # noqa: N803
        return top.createSystem(**options)

    return top.topology, create_system


_READERS: dict[str, Callable[[SystemSection, Path, Any], tuple[app.Topology, Callable[..., openmm.System]]]] = {
    "prmtop": _read_amber,
    "psf": _read_charmm,
    "top": _read_gromacs,
}
