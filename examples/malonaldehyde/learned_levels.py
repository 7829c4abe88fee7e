"""Dynamics of the learned levels alone, without a QM call: ``results/learned_levels.json``, rewritten every 2 ps.

Not exact, as the run in ``output`` is, and long enough to count transfers. GFN1-xTB and the difference that was learned
are summed as calculators of ASE. The first half picosecond heats the molecule from its minimum and is not counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.calculators.mixing import SumCalculator
from ase.io import read
from ase.md.langevin import Langevin
from ase.optimize import BFGS
from transfers import TEMPERATURE, of_trajectory

from openmmkstep.ase import QMCalculator, SurrogateCalculator

FOLDER = Path(__file__).parent
HEATING, BETWEEN_FRAMES, BETWEEN_FILES = 1000, 10, 4000  # steps of 0.5 fs


def main() -> None:
    picoseconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    archive = sys.argv[2] if len(sys.argv) > 2 else str(FOLDER / "output" / "learning" / "surrogate-1.pt")
    molecule = read(FOLDER / "malonaldehyde.pdb")
    molecule.calc = SumCalculator([QMCalculator("gfn1-xtb"), SurrogateCalculator(archive)])
    BFGS(molecule, logfile=None).run(fmax=0.05, steps=100)
    dynamics = Langevin(
        molecule,
        0.5 * units.fs,
        temperature_K=TEMPERATURE,
        friction=2 / (1000 * units.fs),
        fixcm=False,
        rng=np.random.RandomState(7),
    )
    dynamics.run(HEATING)
    frames = []
    for step in range(BETWEEN_FRAMES, round(2000 * picoseconds) + 1, BETWEEN_FRAMES):
        dynamics.run(BETWEEN_FRAMES)
        frames.append(molecule.positions / 10)
        if step % BETWEEN_FILES == 0:
            results = {"time_ps": step / 2000, **of_trajectory(np.array(frames))}
            (FOLDER / "results" / "learned_levels.json").write_text(json.dumps(results, indent=1) + "\n")
            print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
