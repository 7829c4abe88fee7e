"""What openmm-ml finds by entry points: makers of its potentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .potentials import ArchivePotential, EnginePotential


class ArchiveFactory:
    """Makes the potential ``kstep``: an exported archive."""

    def createImpl(  # noqa: N802 (openmm-ml's own name)
        self,
        name: str,
        modelPath: str | os.PathLike[str],  # noqa: N803 (openmm-ml's own name)
        threads: int = 1,
    ) -> ArchivePotential:
        """The potential.

        Args:
            name: Name under which openmm-ml was asked for it.
            modelPath: File name of the archive.
            threads: Threads of torch.

        Raises:
            SurrogateError: No archive of ours.
        """
        from .potentials import ArchivePotential

        return ArchivePotential(modelPath, threads)


class EngineFactory:
    """Makes the potentials ``gfn2-xtb``, ``gfn1-xtb``, and ``kstep-qm`` for any engine: a QM method."""

    def createImpl(  # noqa: N802 (openmm-ml's own name)
        self, name: str, method: str | None = None, **settings: Any
    ) -> EnginePotential:
        """The potential.

        Args:
            name: Name under which openmm-ml was asked for it.
            method: Name of an engine of `openmmkstep.engines.registry`; None for ``name`` itself.
            **settings: Settings of the engine.

        Raises:
            EngineError: An unknown engine, or settings that it refuses.
        """
        from .potentials import EnginePotential

        return EnginePotential(name if method is None else method, settings)
