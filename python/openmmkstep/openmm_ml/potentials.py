"""The potentials themselves, by the interface of openmm-ml.

Mechanical embedding and interpolation are openmm-ml's, of regions that cut no bond. ``embedding="electrostatic"`` is
ours: the charges of the surroundings polarise the region, with the arguments of `QMMMPotential.createMixedSystem`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import openmm
from openmm import app
from openmmml.mlpotential import MLPotentialImpl

from openmmkstep.engines.registry import specification
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.surrogates.suitability import SurrogateError, read_surrogate_contract

from .electrostatic import mix_archive

ELECTROSTATIC = "electrostatic"


class _RegionPotential(MLPotentialImpl):
    """What both kinds have in common."""

    @abstractmethod
    def force(
        self,
        atoms: list[int],
        numbers: list[int],
        bonds: list[tuple[int, int]],
        periodic: bool,
        charge: int,
        multiplicity: int,
    ) -> Any:
        """The force of a region, without surroundings."""

    @abstractmethod
    def mixed(self, topology: app.Topology, system: openmm.System, atoms: list[int], options: dict[str, Any]) -> Any:
        """A system with the region among charges, and the force of the region in it."""

    def addForces(  # noqa: N802 (openmm-ml's own name)
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,  # noqa: N803 (openmm-ml's own name)
        charge: int = 0,
        multiplicity: int = 1,
        **args: Any,
    ) -> None:
        """Add the force of a region to a System; openmm-ml calls this.

        Args:
            topology: Topology of the System.
            system: The System.
            atoms: Atoms of the region; None for all.
            forceGroup: Group of the force.
            charge: Total charge of the region, e.
            multiplicity: Its spin multiplicity.
            **args: Arguments of openmm-ml's embedding.

        Raises:
            ValueError: Atoms without element, a bond that is cut under openmm-ml's mechanical embedding, or a region
                that the potential does not cover.
        """
        everything = list(topology.atoms())
        chosen = list(range(len(everything))) if atoms is None else [int(atom) for atom in atoms]
        numbers = []
        for atom in chosen:
            if system.isVirtualSite(atom):
                raise ValueError(
                    "the region cuts a bond, and openmm-ml's link atoms are virtual sites, which cannot be QM atoms "
                    "here: use embedding='electrostatic', or openmmkstep's QMMMPotential.createMixedSystem with "
                    "embedding='mechanical', which have link atoms of their own"
                )
            element = everything[atom].element
            if element is None:
                raise ValueError(f"atom {atom} ({everything[atom].name}) has no element: set it in the topology")
            numbers.append(element.atomic_number)
        inside = set(chosen)
        bonds = [(a.index, b.index) for a, b in topology.bonds() if a.index in inside and b.index in inside]
        periodic = system.usesPeriodicBoundaryConditions()
        force = self.force(chosen, numbers, bonds, periodic, charge, multiplicity)
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getSupportedEmbeddings(self) -> list[str]:  # noqa: N802 (openmm-ml's own name)
        """Our own, beside openmm-ml's."""
        return [ELECTROSTATIC]

    def getMLLongRange(self) -> bool:  # noqa: N802 (openmm-ml's own name)
        """The region does not see its own images."""
        return False

    def createMixedSystem(  # noqa: N802 (openmm-ml's own name)
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: list[int],
        forceGroup: int,  # noqa: N803 (openmm-ml's own name)
        interpolate: bool,
        embedding: str,
        returnInfo: bool = False,  # noqa: N803 (openmm-ml's own name)
        **args: Any,
    ) -> openmm.System | dict[str, Any]:
        """A System with the region among the charges of its surroundings; openmm-ml calls this.

        Args:
            topology: Topology of the System.
            system: The MM System.
            atoms: Atoms of the region.
            forceGroup: Group of the region's force.
            interpolate: Must be False.
            embedding: Is "electrostatic".
            returnInfo: Whether to return topology and places of atoms too.
            **args: Arguments of `QMMMPotential.createMixedSystem`.

        Raises:
            ValueError: Interpolation is asked for; or anything that createMixedSystem refuses.
        """
        if interpolate:
            raise ValueError("interpolate=True is for embedding='mechanical': the region's charges cannot be both")
        mixed, force = self.mixed(topology, system, [int(atom) for atom in atoms], args)
        force.setForceGroup(forceGroup)
        if not returnInfo:
            return mixed
        return {"system": mixed, "topology": topology, "oldToNew": list(range(topology.getNumAtoms()))}


class ArchivePotential(_RegionPotential):
    """An exported archive.

    Args:
        archive: Its file name.
        threads: Threads of torch.

    Raises:
        SurrogateError: No archive of ours, or one of another kind than a potential.
    """

    def __init__(self, archive: str | os.PathLike[str], threads: int) -> None:
        self._contract = read_surrogate_contract(archive)
        self._archive, self._threads = archive, threads

    def force(
        self,
        atoms: list[int],
        numbers: list[int],
        bonds: list[tuple[int, int]],
        periodic: bool,
        charge: int,
        multiplicity: int,
    ) -> Any:
        """A `TorchScriptForce`."""
        for name, value in (("charge", charge), ("multiplicity", multiplicity)):
            if value != getattr(self._contract, name):
                raise SurrogateError(
                    f"{os.fspath(self._archive)} was trained with {name} {getattr(self._contract, name)}, and {value} "
                    f"is asked for: pass {name}={getattr(self._contract, name)}"
                )
        try:
            self._contract.check_atoms(numbers)
        except ValueError as error:
            raise SurrogateError(f"{os.fspath(self._archive)} does not fit these atoms: {error}") from error
        force = TorchScriptForce(self._archive, atoms, numbers, bonds=bonds)
        if periodic and "potential" in self._contract.inputs:
            # Which puts a region of several molecules in one piece.
            force.setEmbeddingCharges(EmbeddingCharges(periodic=True))
        force.setNumThreads(self._threads)
        return force

    def mixed(self, topology: app.Topology, system: openmm.System, atoms: list[int], options: dict[str, Any]) -> Any:
        """As for a surrogate, without a QM level above it."""
        mixed = mix_archive(self._archive, self._threads, topology, system, atoms, **options)
        (force,) = [each for each in mixed.getForces() if TorchScriptForce.isInstance(each)]
        return mixed, force


class EnginePotential(_RegionPotential):
    """A QM engine.

    Args:
        method: Its name.
        settings: Its settings.

    Raises:
        EngineError: An unknown engine, or settings that it refuses.
    """

    def __init__(self, method: str, settings: dict[str, Any]) -> None:
        self._method, self._settings = method, settings
        self._engine = specification(method, settings, others=QMMMForce.getEngines())

    def force(
        self,
        atoms: list[int],
        numbers: list[int],
        bonds: list[tuple[int, int]],
        periodic: bool,
        charge: int,
        multiplicity: int,
    ) -> Any:
        """A `QMMMForce`."""
        self._engine.check(numbers, charge, multiplicity)
        return QMMMForce(
            atoms,
            numbers,
            self._engine.name,
            charge,
            multiplicity,
            settings=self._engine.settings,
            embeddingCharges=EmbeddingCharges(periodic=periodic),
            bonds=bonds,
        )

    def mixed(self, topology: app.Topology, system: openmm.System, atoms: list[int], options: dict[str, Any]) -> Any:
        """By `QMMMPotential`."""
        mixed = QMMMPotential(self._method, **self._settings).createMixedSystem(topology, system, atoms, **options)
        (force,) = [each for each in mixed.getForces() if QMMMForce.isInstance(each)]
        return mixed, force
