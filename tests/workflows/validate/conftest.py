from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openmm import app, unit

from tests.support.models.springs import write_springs

_WATER = """\
HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O
HETATM    2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H
HETATM    3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H
END
"""


@pytest.fixture
def water(tmp_path: Path) -> dict[str, Any]:
    """A configuration of one water molecule at GFN2-xTB, with springs as surrogate; its files are in the folder."""
    structure = tmp_path / "water.pdb"
    structure.write_text(_WATER)
    pdb = app.PDBFile(str(structure))
    positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    write_springs(tmp_path / "springs.pt", pdb.topology, positions)
    return {
        "system": {"structure": str(structure), "force_field": ["amber14/tip3p.xml"]},
        "qm": {"method": "gfn2-xtb", "atoms": "0-2"},
        "surrogate": {"archive": str(tmp_path / "springs.pt")},
        "force_field_equilibration": "0.05 ps",
        "equilibration": "4 fs",
        "ensemble": {
            "ks": [2],
            "time": "0.3 ps",
            "plain_time": "0.2 ps",
            "discard": "4 fs",
            "frame_interval": "2 fs",
            "segment": "50 fs",
            "checkpoint": "0.1 ps",
            "second_temperature": "400 K",
        },
        "seed": 3,
    }
