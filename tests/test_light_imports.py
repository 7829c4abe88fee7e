"""What does not need OpenMM, torch or the plugin does not load them: they take seconds, or are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("openmm", "torch", "pyscf", "lightning", "openmmkstep._openmmkstep")
USES = {
    "the package": "import openmmkstep",
    "electron dynamics": "import openmmkstep.rttddft",
    "a molecule": "from openmmkstep.rttddft import Molecule; Molecule.create(['He'], [[0, 0, 0]])",
    "files of NWChem": "import openmmkstep.rttddft.nwchem",
}


@pytest.mark.parametrize("use", USES)
def test_heavy_packages_stay_out(use: str) -> None:
    code = f"{USES[use]}\nimport sys\nprint('loaded:', *(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
