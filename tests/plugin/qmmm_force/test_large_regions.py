"""Regions that need more stack than a process usually has: libxtb keeps its arrays there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import sys, threading
import numpy as np, openmm
from openmm import app
from openmmkstep import QMMMPotential
from tests.support.qmmm.molecules import water_box

def energy(waters):
    box = water_box(2.5)
    x = box.positions
    oxygens = x[::3]
    order = np.argsort(np.linalg.norm(oxygens - oxygens.mean(0), axis=1))[:waters]
    system = box.create_system(nonbondedMethod=app.NoCutoff, rigidWater=False)
    atoms = sorted(int(3 * k + i) for k in order for i in range(3))
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, atoms)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    print(repr(context.getState(energy=True, groups={2}).getPotentialEnergy()._value), flush=True)

if sys.argv[2] == "thread":
    other = threading.Thread(target=energy, args=(int(sys.argv[1]),))
    other.start()
    other.join()
else:
    energy(int(sys.argv[1]))
"""


def energy(waters: int, stack: str, where: str = "main") -> float:
    """Of as many waters in the charges of the others, in a process with a stack of so many kB."""
    command = ["bash", "-c", f'ulimit -s {stack}; exec "$@"', "bash", sys.executable, "-c", SCRIPT, str(waters), where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_small_stack(where: str) -> None:
    """180 atoms need between 1 and 2 MB: libxtb itself, called with 1 MB, ends the process."""
    assert energy(60, "512", where) == pytest.approx(energy(60, "hard"), abs=1e-6)


@pytest.mark.slow
def test_six_hundred_atoms() -> None:
    """Where the usual 8 MB end."""
    value = energy(200, "8192")
    # As of libxtb itself with a stack without limit.
    assert value == pytest.approx(-2671981.7995, abs=1e-3)
    assert np.isfinite(value)
