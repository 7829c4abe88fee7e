"""From the configuration of ``kstep generate-responses`` to a file of responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kstep_models.provenance import software_versions
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.response_file import ResponseWriter
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import local_auxiliary_basis
from openmmkstep.rttddft.ensembles.geometries import read_geometries
from openmmkstep.rttddft.ensembles.threads import one_thread
from openmmkstep.rttddft.errors import ElectronDynamicsError, MissingDependencyError
from openmmkstep.rttddft.learned.response_data import displaced, response_record
from openmmkstep.rttddft.reduction.response_sources import COMPUTED, check_response
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.units import NM_PER_BOHR
from openmmkstep.rttddft.versions import PACKAGES
from openmmkstep.workflows.config.responses import ResponsesConfig


@dataclass(frozen=True)
class ResponseRun:
    """A checked computation.

    Attributes:
        config: as read.
        molecules: name in the file -> the geometries to start from, in turn.
        level: level of theory.
        basis: auxiliary basis.
    """

    config: ResponsesConfig
    molecules: dict[str, list[Molecule]]
    level: LevelOfTheory
    basis: AuxiliaryBasis

    def compute(self, path: Path, log: Callable[[int], None]) -> None:
        """Write the file, or what it lacks; ``log`` is called with the number of geometries that are there.

        Geometries depend on seed, molecule and their number only, so that an interrupted or extended file is the same
        as one written in one go.

        Raises:
            ResponseFileError: the file belongs to another auxiliary basis or level of theory.
            ConvergenceError: an SCF did not converge.
        """
        writer = ResponseWriter(path, self.basis, self.level.describe(), software_versions(PACKAGES))
        deviation = self.config.displacement / 10.0 / NM_PER_BOHR
        # Molecule by molecule within each round: a file that is cut off has some of everything.
        done = 0
        for index in range(self.config.geometries):
            for name, starts in self.molecules.items():
                if index >= writer.count(name):
                    generator = np.random.default_rng([self.config.seed, index, *map(ord, name)])
                    molecule = displaced(starts[index % len(starts)], deviation, generator)
                    with one_thread():
                        record = response_record(molecule, self.level, self.basis)
                    writer.append(name, molecule.numbers, record)
                done += 1
                log(done)


def prepare_responses(config: ResponsesConfig) -> ResponseRun:
    """Read molecules and check everything, before any expensive work.

    Args:
        config: what to compute.

    Raises:
        ElectronDynamicsError: no such molecule, or one that the level of theory does not suit.
        MissingDependencyError: PySCF or ASE is not installed.
    """
    section = config.level
    level = LevelOfTheory(
        section.method, section.basis, section.functional, section.density_fitting, grid_level=section.grid_level
    )
    molecules: dict[str, list[Molecule]] = {}
    for entry in config.molecules:
        name = Path(entry).stem
        if name in molecules:
            raise ElectronDynamicsError(f"two molecules are called {name}: rename a file")
        molecules[name] = _molecules(entry)
        level.check(molecules[name][0])
        check_response(COMPUTED, molecules[name][0], level)
    present = {int(number) for starts in molecules.values() for number in starts[0].numbers}
    missing = sorted(present - set(config.elements)) if config.elements else []
    if missing:
        raise ElectronDynamicsError(f"elements lacks {missing}, which the molecules have")
    return ResponseRun(
        config, molecules, level, local_auxiliary_basis(config.auxiliary_basis, config.elements or present)
    )


def _molecules(entry: str | Path) -> list[Molecule]:
    if isinstance(entry, Path):
        return [geometry.molecule for geometry in read_geometries(entry, 0, 1)]
    try:
        from ase.build import molecule as known
    except ImportError as error:
        raise MissingDependencyError(
            "molecules by name need ASE, which is not installed: pip install 'openmm-kstep[rttddft]'"
        ) from error
    try:
        atoms = known(entry)
    except KeyError as error:
        raise ElectronDynamicsError(
            f"ASE knows no molecule {entry}: give a name of its G2 set, such as H2O or CH3OH, or a geometry file"
        ) from error
    return [Molecule.create(atoms.get_chemical_symbols(), atoms.positions / 10.0, name=entry)]
