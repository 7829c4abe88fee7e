"""Reads structures, adds solvent, and makes force-field systems of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.workflows.config.sections import SolventSection, SystemSection

from .complete_files import CompleteFiles, PreparationError, chosen_box, existing, read_complete_files

__all__ = ["MolecularSystem", "PreparationError", "Structure", "SystemBuilder"]


@dataclass(frozen=True)
class MolecularSystem:
    """A system as the force field describes it.

    Attributes:
        topology: its atoms and bonds; its box, where it has one.
        positions: [N,3] nm.
        system: OpenMM system.
    """

    topology: app.Topology
    positions: NDArray[np.float64]
    system: openmm.System

    @cached_property
    def graph(self) -> MoleculeGraph:
        """The molecular graph of the system, made once."""
        return MoleculeGraph(self.topology, self.system)

    @property
    def mass(self) -> float:
        """Of all particles, amu."""
        return float(sum(self.system.getParticleMass(i)._value for i in range(self.system.getNumParticles())))


@dataclass(frozen=True)
class Structure:
    """Atoms and bonds with positions [N,3] in nm."""

    topology: app.Topology
    positions: NDArray[np.float64]


class SystemBuilder:
    """Makes systems as a configuration section describes them.

    Args:
        section: what to make.

    Raises:
        PreparationError: files that are missing or cannot be read.
    """

    def __init__(self, section: SystemSection) -> None:
        self._section = section
        self._complete: CompleteFiles | None = None
        self._force_field: app.ForceField | None = None
        if section.structure is None:
            self._complete = read_complete_files(section)
            self.structure = Structure(self._complete.topology, self._complete.positions)
        else:
            self.structure = self._read_structure()
            try:
                self._force_field = app.ForceField(*map(str, section.force_field))
            except (ValueError, OSError) as error:
                raise PreparationError(f"system.force_field: {error}") from error

    @property
    def has_solvent(self) -> bool:
        """Whether solvent is still to be added to the structure."""
        return self._section.solvent is not None

    def build(self, positions: NDArray[np.float64] | None = None) -> MolecularSystem:
        """The complete system, with solvent if the configuration asks for it.

        Args:
            positions: Positions of the structure [n,3], nm; those of the file if None.
        """
        structure = self.structure if positions is None else Structure(self.structure.topology, positions)
        if self._section.solvent is not None:
            structure = self._solvated(structure, self._section.solvent)
        return self._parametrised(structure, in_vacuum=False)

    def build_in_vacuum(self) -> MolecularSystem:
        """The structure alone, without the solvent that is to be added and without periodicity."""
        return self._parametrised(self.structure, in_vacuum=True)

    def _parametrised(self, structure: Structure, in_vacuum: bool) -> MolecularSystem:
        section = self._section
        periodic = structure.topology.getPeriodicBoxVectors() is not None and not in_vacuum
        method = section.nonbonded_method or ("PME" if periodic else "NoCutoff")
        if not periodic and method in ("CutoffPeriodic", "Ewald", "PME"):
            if not in_vacuum:
                raise PreparationError(
                    f"system.nonbonded_method {method} needs a periodic box: add system.solvent or "
                    "system.box, or a box in the file"
                )
            method = "NoCutoff"
        options: dict[str, Any] = {
            "nonbondedMethod": getattr(app, method),
            "nonbondedCutoff": section.nonbonded_cutoff * unit.nanometer,
            "constraints": None if section.constraints == "none" else getattr(app, section.constraints),
            "rigidWater": section.rigid_water,
            # Keeps the bond terms that the force field needs as a base level; without constraints it would only slow
            # rigid water.
            "flexibleConstraints": section.constraints != "none",
        }
        if section.switch_distance is not None and method != "NoCutoff":
            options["switchDistance"] = section.switch_distance * unit.nanometer
        if section.hydrogen_mass is not None:
            options["hydrogenMass"] = section.hydrogen_mass * unit.dalton
        if self._complete is not None:
            try:
                system = self._complete.create_system(**options)
            except Exception as error:
                # The readers of CHARMM and GROMACS files raise errors of many kinds for parameters that are missing.
                file = section.prmtop or section.psf or section.top
                raise PreparationError(f"system: no system can be made of {file}: {error}") from error
        elif self._force_field is not None:
            try:
                system = self._force_field.createSystem(structure.topology, **options)
            except ValueError as error:
                source = f"system.structure: {self._section.structure}"
                raise PreparationError(f"{source}: the force field does not fit the structure: {error}") from error
        return MolecularSystem(structure.topology, structure.positions, system)

    def _solvated(self, structure: Structure, solvent: SolventSection) -> Structure:
        modeller = app.Modeller(structure.topology, structure.positions * unit.nanometer)
        width = solvent.box_size
        modeller.addSolvent(
            self._force_field,
            model=solvent.model,
            boxSize=openmm.Vec3(width, width, width) * unit.nanometer,
            ionicStrength=solvent.ionic_strength * unit.molar,
            neutralize=True,
        )
        return Structure(modeller.topology, _array(modeller.positions))

    def _read_structure(self) -> Structure:
        path = existing(self._section.structure, "structure")
        try:
            file = app.PDBxFile(str(path)) if path.suffix in (".cif", ".mmcif") else app.PDBFile(str(path))
        except Exception as error:
            # OpenMM's readers raise whatever their parsing hits; the user needs the file's name.
            raise PreparationError(f"system.structure: {path} cannot be read: {error}") from error
        box = chosen_box(self._section, file.topology.getPeriodicBoxVectors(), "structure")
        file.topology.setPeriodicBoxVectors(box)
        return Structure(file.topology, _array(file.positions))


def _array(positions: Any) -> NDArray[np.float64]:
    return np.array(positions.value_in_unit(unit.nanometer), dtype=np.float64)
