"""What an import, or `kstep --help`, does not load: a second of OpenMM and torch is too long for what needs neither."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.electrons.systems import WATER

HEAVY = ("openmm", "torch", "lightning", "pyscf", "openmmkstep._plugin", "openmmkstep._openmmkstep")
HELP = "from openmmkstep.cli import app; app(['--help'], standalone_mode=False)"


@pytest.mark.parametrize(
    "statement",
    ["import openmmkstep.rttddft", "import openmmkstep", "import kstep_models", "import kstep_training", HELP],
)
def test_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; sys.stderr.write(repr([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]")


def test_names_of_electron_dynamics_are_loaded_when_used() -> None:
    import openmmkstep.rttddft as face

    assert set(face.__all__) <= set(dir(face))
    assert all(getattr(face, name).__module__.startswith("openmmkstep.rttddft.") for name in face.__all__)
    assert isinstance(WATER, face.Molecule)
    with pytest.raises(AttributeError, match="has no attribute 'Molecul'"):
        face.Molecul  # noqa: B018
