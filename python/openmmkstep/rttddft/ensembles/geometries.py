"""Geometries of a molecule: from files that ASE reads, and from frames of QM/MM runs with their charges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openmmkstep.rttddft.errors import ElectronDynamicsError, MissingDependencyError
from openmmkstep.rttddft.observables.absorption import Geometry
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges
from openmmkstep.rttddft.units import NM_PER_BOHR


def read_geometries(path: Path, charge: int, multiplicity: int) -> list[Geometry]:
    """The geometries of a file that ASE reads.

    Raises:
        ElectronDynamicsError: no such file, no geometry in it, or not all of the same molecule.
        MissingDependencyError: ASE is not installed.
    """
    try:
        import ase.io
    except ImportError as error:
        raise MissingDependencyError(
            "reading geometries needs ASE, which is not installed: pip install 'openmm-kstep[rttddft]'"
        ) from error
    if not path.is_file():
        raise ElectronDynamicsError(f"the geometries {path} do not exist: check the path")
    try:
        images = ase.io.read(path, index=":")
    except Exception as error:  # of many kinds, by format
        raise ElectronDynamicsError(f"{path} cannot be read as geometries: {error}") from error
    if not images:
        raise ElectronDynamicsError(f"{path} has no geometry in it")
    molecules = [
        Molecule.create(image.get_chemical_symbols(), image.positions / 10.0, charge, multiplicity) for image in images
    ]
    for index, molecule in enumerate(molecules):
        if not np.array_equal(molecule.numbers, molecules[0].numbers):
            raise ElectronDynamicsError(
                f"geometry {index} of {path} is {molecule.name}, the first is {molecules[0].name}: all must be of the "
                "same molecule with its atoms in the same order"
            )
    return [Geometry(molecule) for molecule in molecules]


def read_frames(path: Path, in_vacuum: bool = False) -> list[Geometry]:
    """The frames of an HDF5 file that ``kstep generate`` or ``kstep run`` wrote, in the charges that they were made in.

    Args:
        path: the file.
        in_vacuum: leave the charges out, which shows what they do.

    Raises:
        FrameFileError: no such file, or not one of frames.
        ElectronDynamicsError: no frame in it.
    """
    from kstep_models.frames import FrameFile

    with FrameFile(path) as file:
        if len(file) == 0:
            raise ElectronDynamicsError(f"{path} has no frame in it")
        region = file.region
        geometries = []
        for frame in file:
            molecule = Molecule(
                region.numbers, np.asarray(frame.positions) / NM_PER_BOHR, region.charge, region.multiplicity
            )
            charges = None
            if frame.environment is not None and not in_vacuum:
                positions, values = (
                    np.asarray(array) for array in (frame.environment.positions, frame.environment.charges)
                )
                charges = PointCharges(positions / NM_PER_BOHR, values)
            geometries.append(Geometry(molecule, charges))
    return geometries


def thinned(geometries: Sequence[Geometry], number: int | None) -> dict[int, Geometry]:
    """At most so many of the geometries, evenly spread from the first to the last, by their numbers from 0.

    All for None.
    """
    if number is None or len(geometries) <= number:
        return dict(enumerate(geometries))
    kept = np.linspace(0, len(geometries) - 1, number).round()
    return {int(index): geometries[int(index)] for index in kept}
