"""Molecules that the tests share, and where their structures are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ALA2_PDB = EXAMPLES / "alanine_dipeptide" / "alanine_dipeptide.pdb"


@dataclass
class Molecule:
    """A topology with positions [N,3] in nm and a way to make its system."""

    topology: app.Topology
    positions: Any
    create_system: Callable[..., openmm.System]
