"""`OpenMMCalculator`, a System of OpenMM as a calculator of ASE: force fields, and whatever else is a Force."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import openmm
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorSetupError, all_changes
from ase.constraints import FixBondLengths
from numpy.typing import ArrayLike, NDArray
from openmm import unit

from openmmkstep.engines.ase.conversion import ENERGY, FORCE, LENGTH
from openmmkstep.units import value_in

Array = NDArray[np.float64]


class OpenMMCalculator(Calculator):
    """The potential of a System as a calculator of ASE: energies in eV, forces in eV/A.

    Atoms are the particles of the System in their order, without its virtual sites, which are placed by OpenMM and
    whose forces it hands on. In a periodic System the box is the cell of the atoms. Masses are those of the atoms.

    As the MM part of ASE's `SimpleQMMM` it is given twice, of the whole and of the region. As that of `EIQMMM` it is of
    the surroundings alone, and tells their charges, which are those of the NonbondedForce.

    Args:
        system: The System; it is copied.
        platform: Platform, or its name; None for the fastest. Single precision of a GPU is not enough for constant
            energy.
        properties: Properties of the platform, such as ``{"Precision": "mixed"}``.
        groups: Force groups that count; None for all.
        constrained: Whether the System's constraints are held by the caller, with ``atoms.set_constraint(
            calculator.get_constraint())``. They are distances for which the force field has no energy.

    Raises:
        CalculatorSetupError: The System has constraints, and the caller does not say that he holds them.

    Example:
        >>> atoms.calc = OpenMMCalculator(force_field.createSystem(topology))
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's own type)

    def __init__(
        self,
        system: openmm.System,
        platform: openmm.Platform | str | None = None,
        properties: dict[str, str] | None = None,
        groups: Collection[int] | None = None,
        constrained: bool = False,
    ) -> None:
        super().__init__()
        self.system = openmm.XmlSerializer.clone(system)
        count = self.system.getNumParticles()
        self._real = [particle for particle in range(count) if not self.system.isVirtualSite(particle)]
        if self.system.getNumConstraints() and not constrained:
            raise CalculatorSetupError(
                f"the System holds {self.system.getNumConstraints()} distances by constraints, along which it has no "
                "forces: create it with constraints=None and rigidWater=False, or pass constrained=True and hold them "
                "with atoms.set_constraint(calculator.get_constraint())"
            )
        self._groups = -1 if groups is None else set(groups)
        self._platform = platform.getName() if isinstance(platform, openmm.Platform) else platform
        self._properties = properties
        self._context: openmm.Context | None = self._new_context()

    @property
    def context(self) -> openmm.Context:
        """The Context that calculates; a copy of the calculator makes one of its own."""
        if self._context is None:
            self._context = self._new_context()
        return self._context

    def _new_context(self) -> openmm.Context:
        arguments: list[Any] = [self.system, openmm.VerletIntegrator(0.001)]
        if self._platform is not None:
            arguments.append(openmm.Platform.getPlatformByName(self._platform))
            arguments += [] if self._properties is None else [self._properties]
        return openmm.Context(*arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_context": None}

    def _get_name(self) -> str:
        return "openmm"

    def get_constraint(self) -> FixBondLengths:
        """The System's constraints, for the atoms."""
        places = {particle: place for place, particle in enumerate(self._real)}
        pairs, lengths = [], []
        for index in range(self.system.getNumConstraints()):
            first, second, distance = self.system.getConstraintParameters(index)
            pairs.append([places[first], places[second]])
            lengths.append(value_in(distance, unit.nanometer) * LENGTH)
        return FixBondLengths(pairs, bondlengths=np.array(lengths))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy and forces at once.

        Raises:
            CalculatorSetupError: Another number of atoms than the System has, or a cell that does not fit it.
            openmm.OpenMMException: OpenMM fails.
        """
        present: Atoms | None = self.atoms if atoms is None else atoms
        if present is None:
            raise CalculatorSetupError("OpenMMCalculator needs atoms to calculate")
        super().calculate(present, properties, system_changes)
        if len(present) != len(self._real):
            raise CalculatorSetupError(
                f"the System has {len(self._real)} particles (virtual sites left out), and there are {len(present)} "
                "atoms: give the atoms that it was made for, in the same order"
            )
        self._set_box(present)
        positions = np.zeros((self.system.getNumParticles(), 3))
        positions[self._real] = present.positions / LENGTH
        self.context.setPositions(positions)
        if len(self._real) < len(positions):
            self.context.computeVirtualSites()
        state = self.context.getState(energy=True, forces=True, groups=self._groups)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * ENERGY
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer) * FORCE
        self.results = {"energy": energy, "free_energy": energy, "forces": np.asarray(forces)[self._real]}

    def _set_box(self, atoms: Atoms) -> None:
        periodic = self.system.usesPeriodicBoundaryConditions()
        if periodic != bool(atoms.pbc.all()) or periodic != bool(atoms.pbc.any()):
            needed = "True and a cell" if periodic else "False"
            raise CalculatorSetupError(
                f"the System is {'' if periodic else 'not '}periodic, and the atoms' pbc is {atoms.pbc.tolist()}: set "
                f"atoms.pbc = {needed}"
            )
        if not periodic:
            return
        box = np.asarray(atoms.cell) / LENGTH
        if np.abs(np.triu(box, 1)).max() > 0 or not (np.diag(box) > 0).all():
            raise CalculatorSetupError(
                f"OpenMM takes cells with the first vector along x and the second in the xy plane, not {box.tolist()} "
                "nm: bring the atoms into the standard form of their cell (ase.Atoms.cell.standard_form)"
            )
        self.context.setPeriodicBoxVectors(*box)

    # What EIQMMM asks of its MM calculator.

    def get_virtual_charges(self, atoms: Atoms) -> Array:
        """Charges of the atoms [n], e, of the one NonbondedForce.

        Raises:
            CalculatorSetupError: There are virtual sites, or there is not one NonbondedForce.
        """
        nonbonded = [force for force in self.system.getForces() if isinstance(force, openmm.NonbondedForce)]
        if len(nonbonded) != 1 or len(self._real) != self.system.getNumParticles():
            raise CalculatorSetupError(
                "the charges for EIQMMM are those of one NonbondedForce without virtual sites: use a System that has it"
            )
        charges = [nonbonded[0].getParticleParameters(particle)[0] for particle in self._real]
        return np.array([value_in(charge, unit.elementary_charge) for charge in charges])

    def add_virtual_sites(self, positions: ArrayLike) -> Array:
        """Where the charges are: at the atoms."""
        return np.array(positions, dtype=np.float64)

    def redistribute_forces(self, forces: ArrayLike) -> Array:
        """Forces on the charges are those on the atoms."""
        return np.array(forces, dtype=np.float64)
