"""A small run: alanine dipeptide in the gas phase, GFN2-xTB, springs as surrogate."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from openmm import app, unit

from tests.support.models.springs import write_springs
from tests.support.qmmm.molecules import ALA2_PDB


def fill_folder(folder: Path) -> None:
    """Put the structure and the surrogate into a folder."""
    shutil.copy(ALA2_PDB, folder / "alanine_dipeptide.pdb")
    pdb = app.PDBFile(str(ALA2_PDB))
    write_springs(folder / "springs.pt", pdb.topology, pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


def configuration() -> dict[str, Any]:
    """A run of 60 outer steps with everything switched on."""
    return {
        "system": {"structure": "alanine_dipeptide.pdb", "force_field": ["amber14-all.xml"]},
        "qm": {"method": "gfn2-xtb", "atoms": "all"},
        "surrogate": {"archive": "springs.pt", "period": 2, "base_level": "force-field"},
        "integrator": {"k": 2, "inner_step": "0.5 fs", "temperature": "300 K", "friction": "1 /ps"},
        "equilibration": {"force_field": "0.05 ps", "kstep": "0.004 ps"},
        "time": "0.06 ps",
        "output": {
            "folder": "out",
            "trajectory": "2 fs",
            "frames": "3 fs",
            "statistics": "1 fs",
            "energies": "2 fs",
            "polarisation": True,
            "checkpoint": "10 fs",
        },
        "speed": {"time": "2 fs", "segments": 1},
        "platform": "Reference",
        "seed": 3,
    }


def process_environment() -> dict[str, str]:
    """For subprocesses: one thread, and the packages of this process."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
