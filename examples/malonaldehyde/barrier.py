"""The barrier of the transfer at each level, and with what the run in ``output`` learned: ``results/barrier.json``.

Minima are optimised without symmetry; the top of the barrier is the minimum among planar geometries whose two halves
are each other's image, which forces made symmetric never leave.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.mixing import SumCalculator
from ase.io import read
from ase.optimize import BFGS

from openmmkstep.ase import QMCalculator, SurrogateCalculator

FOLDER = Path(__file__).parent
O1, C2, O2, PROTON = 0, 2, 4, 5
IMAGES = [4, 3, 2, 1, 0, 5, 8, 7, 6]
LARGEST_FORCE = 0.02  # eV/A


def symmetric(vectors: np.ndarray) -> np.ndarray:
    """The part that the mirror plane x = 0 and the plane z = 0 leave as it is."""
    mirrored = vectors[IMAGES] * (-1, 1, 1)
    return 0.5 * (vectors + mirrored) * (1, 1, 0)


class Symmetric(Calculator):
    """Another calculator with forces that keep the symmetry."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, inner: Calculator) -> None:
        super().__init__()
        self.inner = inner

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        molecule = atoms.copy()
        molecule.calc = self.inner
        self.results = {"energy": molecule.get_potential_energy(), "forces": symmetric(molecule.get_forces())}


def in_frame(positions: np.ndarray) -> np.ndarray:
    """Turned so that the oxygen atoms lie along x and C2 in the plane z = 0."""
    places = positions - 0.5 * (positions[O1] + positions[O2])
    x = places[O2] / np.linalg.norm(places[O2])
    z = np.cross(x, places[C2])
    z /= np.linalg.norm(z)
    return places @ np.array([x, np.cross(z, x), z]).T


def barrier(molecule: Atoms, calculator: Calculator) -> dict[str, float]:
    """Energy of the top over the minimum, kcal/mol, with distances, A; the molecule is left in the minimum."""
    molecule.calc = calculator
    BFGS(molecule, logfile=None).run(fmax=LARGEST_FORCE, steps=100)
    top = Atoms(molecule.symbols, symmetric(in_frame(molecule.positions)), calculator=Symmetric(calculator))
    BFGS(top, logfile=None).run(fmax=LARGEST_FORCE, steps=100)
    height = top.get_potential_energy() - molecule.get_potential_energy()
    return {
        "barrier_kcal_mol": height * units.mol / units.kcal,
        "minimum_o1_h": molecule.get_distance(O1, PROTON),
        "minimum_o2_h": molecule.get_distance(O2, PROTON),
        "minimum_o_o": molecule.get_distance(O1, O2),
        "top_o_h": top.get_distance(O1, PROTON),
        "top_o_o": top.get_distance(O1, O2),
    }


def main() -> None:
    archive = sys.argv[1] if len(sys.argv) > 1 else str(FOLDER / "output" / "learning" / "surrogate-1.pt")
    molecule = read(FOLDER / "malonaldehyde.pdb")
    levels = {
        "gfn2-xtb": QMCalculator("gfn2-xtb"),
        "gfn1-xtb": QMCalculator("gfn1-xtb"),
        "gfn1-xtb and the learned difference": SumCalculator([QMCalculator("gfn1-xtb"), SurrogateCalculator(archive)]),
        "pbe/6-31g*": QMCalculator("pyscf", xc="pbe", basis="6-31g*", grid_level=2),
    }
    results = {}
    for name, calculator in levels.items():
        results[name] = barrier(molecule, calculator)
        print(name, json.dumps(results[name]), flush=True)
    (FOLDER / "results").mkdir(exist_ok=True)
    (FOLDER / "results" / "barrier.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
