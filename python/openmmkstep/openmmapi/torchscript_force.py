"""`TorchScriptForce`, a potential from an exported archive, as OpenMM scripts use it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import openmm

from openmmkstep import _openmmkstep

from .embedding_charges import EmbeddingCharges
from .region import LinkAtom, RegionForce, nativeRegion


class TorchScriptForce(RegionForce, openmm.Force):
    """A potential from a TorchScript archive on some particles, with forces on embedding charges if coupled to any.

    The archive (written by ``kstep export`` or `kstep_models.potential.export`) carries a contract: units, elements,
    atomic numbers if the model was made for one molecule, inputs and outputs. It is checked here, before anything is
    computed. The module is called as ``forward(positions) -> energy`` or ``(energy, forces)``, or ``forward(positions,
    potential) -> (energy, forces, charges)`` with positions [N, 3] in nm, the electrostatic potential of the embedding
    charges at the atoms [N] in kJ/mol/e, forces [N, 3] in kJ/mol/nm at fixed potential, and charges [N] in e, the
    derivative of the energy with respect to the potential. Atoms are the particles, followed by link atoms.

    Evaluated on the CPU in the precision of the model, with one torch thread unless `setNumThreads` says otherwise. The
    XML form contains the archive.

    Args:
        archive: File name of the archive, or its content.
        particles: The particles it acts on, in the order of the model's atoms.
        atomicNumbers: Their atomic numbers.
        linkAtoms: Atoms that saturate cut bonds; they come after the particles.
        bonds: Pairs of particles that are bonded, so that barostats and wrapping keep them together.

    Raises:
        FileNotFoundError: The archive does not exist.
        openmm.OpenMMException: It cannot be read, has no contract or one that is not understood, or does not cover
            these atoms.

    Example:
        >>> force = TorchScriptForce("ala2-gfn2.pt", range(22), numbers)
        >>> force.setForceGroup(1)
        >>> system.addForce(force)
    """

    _is_instance = staticmethod(_openmmkstep.TorchScriptForce_isInstance)

    def __init__(
        self,
        archive: str | PathLike[str] | bytes,
        particles: Sequence[int],
        atomicNumbers: Sequence[int],
        linkAtoms: Iterable[LinkAtom] = (),
        bonds: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        content = archive if isinstance(archive, bytes) else Path(archive).read_bytes()
        region = nativeRegion(particles, atomicNumbers, 0, 1, linkAtoms, bonds)
        self.this = openmm.XmlSerializer._deserializeForce(_openmmkstep.TorchScriptForce_create(content, region)).this

    def getArchive(self) -> bytes:
        """The content of the archive."""
        return _openmmkstep.TorchScriptForce_getArchive(self)

    def getContract(self) -> dict[str, Any]:
        """What the archive says of itself."""
        return json.loads(_openmmkstep.TorchScriptForce_getContract(self))

    def _region(self) -> _openmmkstep.QMRegion:
        return _openmmkstep.TorchScriptForce_getRegion(self)

    def getEmbeddingCharges(self) -> EmbeddingCharges:
        """A copy of the embedding charges that the model is coupled to."""
        return EmbeddingCharges._from_native(_openmmkstep.TorchScriptForce_getEmbeddingCharges(self))

    def setEmbeddingCharges(self, charges: EmbeddingCharges) -> None:
        """Couple the model to embedding charges.

        Raises:
            openmm.OpenMMException: The model does not take a potential.
        """
        _openmmkstep.TorchScriptForce_setEmbeddingCharges(self, charges)

    def getNumThreads(self) -> int:
        """How many threads torch uses in an evaluation."""
        return _openmmkstep.TorchScriptForce_getNumThreads(self)

    def setNumThreads(self, number: int) -> None:
        """Set how many threads torch uses in an evaluation."""
        _openmmkstep.TorchScriptForce_setNumThreads(self, number)

    def getCompiledPackage(self) -> str:
        """File name of the compiled package that is evaluated; empty if the archive is interpreted."""
        return _openmmkstep.TorchScriptForce_getCompiledPackage(self)

    def setCompiledPackage(self, path: str | PathLike[str]) -> None:
        """Evaluate a package that was compiled ahead of time from this archive, instead of interpreting the archive.

        Make it with ``kstep compile`` or `kstep_models.potential.compilation`. A package is native code for one kind of
        processor, and so no part of the XML form: a copy of the force, or one out of a file, interprets its archive
        until it is told otherwise. The package is loaded when a Context is created, and refused there (OpenMMException)
        if it cannot be loaded or does not give the forces of the archive.
        """
        _openmmkstep.TorchScriptForce_setCompiledPackage(self, str(path))
