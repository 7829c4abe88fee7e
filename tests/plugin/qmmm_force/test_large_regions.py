"""Regions that need more stack than a process has: libxtb keeps its arrays there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import QMMMPotential
from tests.support.qmmm.molecules import water_box

ROOT = Path(__file__).resolve().parents[3]


def energy(waters: int) -> float:
    """Of the waters in the middle of a box, in the charges of the others, kJ/mol."""
    box = water_box(2.5)
    oxygens = box.positions[::3]
    order = np.argsort(np.linalg.norm(oxygens - oxygens.mean(0), axis=1))[:waters]
    system = box.create_system(nonbondedMethod=app.NoCutoff, rigidWater=False)
    atoms = sorted(int(3 * k + i) for k in order for i in range(3))
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, atoms)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(box.positions)
    return context.getState(energy=True, groups={2}).getPotentialEnergy()._value


SCRIPT = """
import sys, threading
from tests.plugin.qmmm_force.test_large_regions import energy

tell = lambda: print(repr(energy(int(sys.argv[1]))), flush=True)
tell()
if sys.argv[2] == "in a thread too":
    other = threading.Thread(target=tell)
    other.start()
    other.join()
"""


def energies(waters: int, stack: int, where: str = "") -> list[float]:
    """The same from a process with a stack of so many kB."""
    command = ["bash", "-c", f'ulimit -s {stack}; exec "$@"', "bash", sys.executable, "-c", SCRIPT, str(waters), where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in done.stdout.splitlines()]


def test_a_small_stack() -> None:
    """Called directly, libxtb ends a process of 384 kB with 40 waters."""
    assert energies(40, 384, "in a thread too") == pytest.approx(2 * [energy(40)], abs=1e-6)


@pytest.mark.slow
def test_six_hundred_atoms() -> None:
    """Where the usual 8 MB end; the value is libxtb's with a stack without limit."""
    assert energies(200, 8192) == pytest.approx([-2671981.7995], abs=1e-3)
