"""DFT of a substrate in the field of its whole enzyme: B3LYP/6-31G* of chorismate in chorismate mutase."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app

from openmmkstep import SinglePoint
from openmmkstep.engines.single_point import SinglePointResult
from tests.support.qmmm.fixtures import chorismate_mutase

__all__ = ["chorismate_mutase"]

pytest.importorskip("pyscf", reason="needs PySCF")

Array = NDArray[np.float64]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_forces_in_all_charges(chorismate_mutase: Path, record_property: Callable[[str, object], None]) -> None:
    """Three coordinates of atoms and two of charges against central differences: half an hour on one core.

    What each call took is in the recorded properties.
    """
    prmtop = app.AmberPrmtopFile(str(chorismate_mutase / "wt.sp20.prmtop"))
    restart = app.AmberInpcrdFile(str(chorismate_mutase / "md1.rst7"))
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff)
    positions = np.array(restart.getPositions(asNumpy=True)._value, dtype=np.float64)
    atoms = [atom for atom in prmtop.topology.atoms() if atom.residue.name == "CHO"]
    region = [atom.index for atom in atoms]
    others = np.setdiff1d(np.arange(len(positions)), region)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = np.array([nonbonded.getParticleParameters(int(i))[0]._value for i in others])
    x, y = positions[region], positions[others]
    assert (len(x), len(y)) == (24, 6764)

    point = SinglePoint(
        "pyscf", [atom.element.atomic_number for atom in atoms], -2, xc="b3lyp", basis="6-31g*", conv_tol=1e-10
    )
    calls: list[dict[str, float]] = []

    def calculate(at: Array, charges_at: Array) -> SinglePointResult:
        start = time.perf_counter()
        result = point.compute(at, charges_at, charges)
        calls.append({"seconds": round(time.perf_counter() - start, 1), "iterations": result.iterations})
        return result

    found = calculate(x, y)
    nearest = np.argsort(np.linalg.norm(y[:, None] - x[None], axis=2).min(axis=1))
    coordinates = [(0, 0, 0), (0, 7, 1), (0, 15, 2), (1, int(nearest[0]), 0), (1, int(nearest[3]), 2)]
    step, pairs = 5e-5, []
    for kind, index, axis in coordinates:
        energies = []
        for sign in (1, -1):
            moved = [x.copy(), y.copy()]
            moved[kind][index, axis] += sign * step
            energies.append(calculate(*moved).energy)
        analytic = (found.forces, found.charge_forces)[kind][index, axis]
        pairs.append((float(analytic), (energies[1] - energies[0]) / (2 * step)))
    record_property("calls", json.dumps(calls))
    record_property("forces and differences", json.dumps(pairs))
    scales = [np.abs(found.forces).max()] * 3 + [np.abs(found.charge_forces).max()] * 2
    for (analytic, numerical), scale, coordinate in zip(pairs, scales, coordinates, strict=True):
        assert abs(analytic - numerical) < 1e-5 * scale, (coordinate, analytic, numerical)
