"""The program ``orca`` as sander's EXTERN interface calls it, with the GFN2 of this plugin in its place.

sander writes charge, multiplicity and the names of two files of coordinates into an input file, runs ``orca INPUT``,
and reads energy and gradients from files beside it. Numbers are written with as many digits as its formats have
columns.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from openmmkstep import EmbeddingCharges, QMMMForce

# What sander multiplies by (CODATA 2008, thermochemical calories), so that it has our kJ/mol and nm to the last digit.
HARTREE = 627.50946943 * 4.184
"""kJ/mol."""
HARTREE_PER_BOHR = HARTREE * 18.89726132873
"""kJ/mol/nm."""
SETTINGS: dict[str, Any] = {"accuracy": 1e-4}
"""Of GFN2, the same on both sides."""


@dataclass(frozen=True)
class Question:
    """What sander asks.

    Attributes:
        numbers: Atomic numbers [n].
        positions: [n,3], nm.
        charge: e.
        multiplicity: Spin multiplicity.
        charges: Point charges [m], e.
        charge_positions: [m,3], nm.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int
    multiplicity: int
    charges: NDArray[np.float64]
    charge_positions: NDArray[np.float64]


def read_question(path: Path) -> Question:
    """Read an input file of sander, and the two files that it names.

    Raises:
        ValueError: It is not one.
    """
    text = path.read_text()
    found = re.search(r"^\*xyzfile\s+(-?\d+)\s+(\d+)\s+(\S+)", text, re.MULTILINE)
    if found is None or "ENGRAD" not in text:
        raise ValueError(f"{path} asks for no gradient at coordinates in a file")
    atoms = [line.split() for line in (path.parent / found[3]).read_text().splitlines()[2:] if line.strip()]
    numbers = [app.Element.getBySymbol(symbol).atomic_number for symbol, *_ in atoms]
    positions = np.array([row[1:4] for row in atoms], dtype=np.float64)
    charges = np.zeros((0, 4))
    named = re.search(r'%pointcharges "(\S+)"', text)
    if named is not None:
        rows = [line.split() for line in (path.parent / named[1]).read_text().splitlines()[1:] if line.strip()]
        charges = np.array(rows, dtype=np.float64)
    return Question(np.array(numbers), positions / 10, int(found[1]), int(found[2]), charges[:, 0], charges[:, 1:] / 10)


def answer(question: Question) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Energy (kJ/mol), and forces on atoms [n,3] and charges [m,3] (kJ/mol/nm), of GFN2 alone in a Context."""
    count, seen = len(question.numbers), len(question.charges)
    system = openmm.System()
    for _ in range(count + seen):
        system.addParticle(1.0)
    embedding = EmbeddingCharges(range(count, count + seen), question.charges) if seen else None
    system.addForce(
        QMMMForce(
            range(count),
            [int(number) for number in question.numbers],
            "gfn2-xtb",
            question.charge,
            question.multiplicity,
            SETTINGS,
            embedding,
        )
    )
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(np.concatenate([question.positions, question.charge_positions]))
    state = context.getState(energy=True, forces=True)
    forces = np.array(state.getForces(asNumpy=True)._value)
    return state.getPotentialEnergy()._value, forces[:count], forces[count:]


def main(path: Path) -> None:
    """Answer an input file of sander beside it."""
    energy, forces, charge_forces = answer(read_question(path))
    gradient = -forces.reshape(-1) / HARTREE_PER_BOHR
    text = f"#\n# Number of atoms\n#\n {len(forces)}\n"
    text += f"#\n# The current total energy in Eh\n#\n{energy / HARTREE:22.14f}\n"
    text += "#\n# The current gradient in Eh/bohr\n#\n" + "".join(f"{value:16.13f}\n" for value in gradient)
    path.with_suffix(".engrad").write_text(text)
    rows = -charge_forces / HARTREE_PER_BOHR
    lines = "".join("".join(f"{value:17.14f}" for value in row) + "\n" for row in rows)
    path.with_suffix(".pcgrad").write_text(f"{len(rows)}\n{lines}")
    if max(np.abs(gradient).max(), np.abs(rows).max(initial=0.0)) >= 10:
        raise ValueError("a gradient does not fit into the columns that sander reads")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
