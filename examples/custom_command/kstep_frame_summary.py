"""A command of your own: ``kstep frame-summary frames.h5`` prints what is in files of labelled frames.

The entry point in pyproject.toml tells ``kstep`` of it; nothing in openmm-kstep knows this package:

    pip install examples/custom_command
    kstep frame-summary output/frames.h5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def frame_summary(
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of frames.")],
    below: Annotated[float | None, typer.Option(help="Count only frames with an energy below this, kJ/mol.")] = None,
) -> None:
    """Print number, energies and largest force of labelled frames."""
    # Imported when the command runs, so that `kstep --help` stays fast.
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from kstep_models.frames import FrameFile

    table = Table("file", "frames", "lowest energy, kJ/mol", "mean", "largest force, kJ/mol/nm")
    for path in frames:
        with FrameFile(path) as file:  # raises FrameFileError, which `kstep` shows in one line
            energy, forces = file.frames("energy"), file.frames("forces")
        kept = np.ones(len(energy), dtype=bool) if below is None else energy < below
        if not kept.any():
            raise ValueError(f"{path} has no frame with an energy below {below}: raise --below")
        largest = np.linalg.norm(forces[kept], axis=2).max()
        table.add_row(
            path.name, str(kept.sum()), f"{energy[kept].min():.1f}", f"{energy[kept].mean():.1f}", f"{largest:.0f}"
        )
    Console().print(table)
