"""PySCF as an engine has the properties of every engine, with each kind of reference and functional."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.suites.engine import EngineProperties

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")

FORMALDEHYDE = np.array(
    [[0.0012, 0.0003, 0.1205], [0.0, 0.001, 0.0], [0.0942, 0.0013, -0.0571], [-0.0935, 0.0101, -0.0596]]
)
WATER = np.array([[0.001, 0.002, 0.0117], [0.0765, 0.003, -0.0469], [-0.0757, 0.0012, -0.0472]])


class PySCFProperties(EngineProperties):
    """Tolerances: convergence to 1e-12 hartree, and 1e-7 in the gradient of orbitals, leaves as much in forces."""

    name = "pyscf"
    derivative = 1e-5
    symmetry = 1e-7
    start = 1e-5

    def numbers(self) -> list[int]:
        return [8, 1, 1]

    def geometry(self) -> Any:
        return WATER + 0.4

    def settings(self) -> dict[str, Any]:
        return {"xc": "hf", "basis": "sto-3g", "conv_tol": 1e-12, **self.more()}

    def more(self) -> dict[str, Any]:
        return {}


class TestRestrictedHartreeFock(PySCFProperties):
    def numbers(self) -> list[int]:
        return [8, 6, 1, 1]

    def geometry(self) -> Any:
        return FORMALDEHYDE + 0.4

    def more(self) -> dict[str, Any]:
        return {"basis": "6-31g"}


class TestWithoutDensityFitting(PySCFProperties):
    def more(self) -> dict[str, Any]:
        return {"density_fit": False}


class TestUnrestrictedHartreeFock(PySCFProperties):
    charge = 1
    multiplicity = 2


class TestRestrictedOpenShell(PySCFProperties):
    charge = 1
    multiplicity = 2

    def more(self) -> dict[str, Any]:
        return {"reference": "restricted-open"}


class KohnShamProperties(PySCFProperties):
    """The grid is fixed in space: a turned molecule has another one, with an error of its own."""

    symmetry = 3e-4

    def more(self) -> dict[str, Any]:
        return {"xc": "b3lyp", "grid_level": 2}


class TestHybrid(KohnShamProperties):
    pass


class TestHybridOfAnOpenShell(KohnShamProperties):
    """On a coarser grid, for its cost: levels 0, 1 and 2 give a turned gradient that differs by 2e-2, 2e-3 and 5e-5."""

    symmetry = 3e-3
    charge = 1
    multiplicity = 2

    def more(self) -> dict[str, Any]:
        return {"xc": "pbe0", "grid_level": 1}


@pytest.mark.slow
class TestMetaGGAOfAnOpenShell(KohnShamProperties):
    charge = 1
    multiplicity = 2

    def more(self) -> dict[str, Any]:
        return {"xc": "tpss", "grid_level": 2}


class TestLearnedGuess(PySCFProperties):
    def more(self) -> dict[str, Any]:
        return {"initial_guess": "learned"}
