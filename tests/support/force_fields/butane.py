"""Two molecules of butane in CHARMM's and in GROMACS's files, with every kind of term that these have for them.

The numbers are of the size that force fields have, and of no force field.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CARBON_BONDS = [(0, 1), (1, 2), (2, 3)]
_OWNERS = [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]
NAMES = ["C1", "C2", "C3", "C4", *(f"H{number}" for number in range(1, 11))]
TYPES = ["CT3", "CT2", "CT2", "CT3", *("HA3" if owner in (0, 3) else "HA2" for owner in _OWNERS)]
CHARGES = [-0.27, -0.18, -0.18, -0.27, *[0.09] * 10]
MASSES = [12.011] * 4 + [1.008] * 10
BONDS = [*_CARBON_BONDS, *((owner, 4 + place) for place, owner in enumerate(_OWNERS))]
METHYL = [0, 4, 5, 6]
"""C1 and its hydrogen atoms; the bond C1 - C2 is cut then."""
SIZE = len(NAMES)


def positions() -> NDArray[np.float64]:
    """Positions [28,3], nm: two molecules, gauche, 0.45 nm apart, of which no term is at rest."""
    carbons = np.array([[0.0, 0.0, 0.0], [0.153, 0.0, 0.0], [0.205, 0.144, 0.0], [0.180, 0.212, 0.133]])
    towards = {
        0: [[-0.4, 1.0, 0.1], [-0.4, -0.5, 0.8], [-0.4, -0.4, -0.9]],
        1: [[0.3, -0.6, 0.8], [0.4, -0.6, -0.8]],
        2: [[1.0, 0.1, -0.2], [-0.3, 0.6, -0.9]],
        3: [[0.2, 1.0, 0.1], [0.7, -0.4, 0.8], [-1.0, -0.2, 0.3]],
    }
    hydrogens = [
        carbons[owner] + 0.109 * np.array(direction) / np.linalg.norm(direction)
        for owner, directions in towards.items()
        for direction in directions
    ]
    molecule = np.concatenate([carbons, hydrogens])
    turned = molecule @ np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]) + [0.1, 0.2, 0.45]
    both = np.concatenate([molecule, turned])
    return both + np.random.default_rng(7).uniform(-0.003, 0.003, both.shape)


def _neighbours(particle: int) -> list[int]:
    return [j if i == particle else i for i, j in BONDS if particle in (i, j)]


def angles() -> list[tuple[int, int, int]]:
    """All angles of a molecule."""
    return [(i, centre, k) for centre in range(4) for i, k in combinations(_neighbours(centre), 2)]


def torsions() -> list[tuple[int, int, int, int]]:
    """All torsions of a molecule."""
    return [
        (i, j, k, m)
        for j, k in _CARBON_BONDS
        for i in _neighbours(j)
        if i != k
        for m in _neighbours(k)
        if m not in (j, i)
    ]


def _rows(terms: Sequence[Sequence[int]], per_row: int) -> str:
    """Numbers from 1 of the particles of both molecules, as PSF files have them."""
    numbers = [SIZE * molecule + particle + 1 for molecule in range(2) for term in terms for particle in term]
    width = per_row * len(terms[0])
    return "\n".join("".join(f"{n:10d}" for n in numbers[k : k + width]) for k in range(0, len(numbers), width))


def write_charmm(folder: Path) -> tuple[Path, Path]:
    """A PSF and a file of parameters: Urey-Bradley terms, other Lennard-Jones parameters at 1-4, and an NBFIX."""
    atoms = [
        f"{SIZE * molecule + place + 1:10d} BUT      {molecule + 1:<8d} BUT      {NAMES[place]:<8s} "
        f"{TYPES[place]:<6s} {CHARGES[place]:14.6f}{MASSES[place]:14.4f}{0:12d}"
        for molecule in range(2)
        for place in range(SIZE)
    ]
    sections = [
        f"{2 * len(BONDS):10d} !NBOND: bonds\n{_rows(BONDS, 4)}",
        f"{2 * len(angles()):10d} !NTHETA: angles\n{_rows(angles(), 3)}",
        f"{2 * len(torsions()):10d} !NPHI: dihedrals\n{_rows(torsions(), 2)}",
        f"{0:10d} !NIMPHI: impropers\n",
        f"{0:10d} !NDON: donors\n",
        f"{0:10d} !NACC: acceptors\n",
        f"{0:10d} !NNB\n\n" + "".join(f"{0:10d}" for _ in range(8)),
    ]
    psf = folder / "butane.psf"
    head = f"PSF EXT XPLOR\n\n{1:10d} !NTITLE\n REMARKS butane\n\n{len(atoms):10d} !NATOM\n"
    psf.write_text(head + "\n".join(atoms) + "\n\n" + "\n\n".join(sections) + "\n\n")
    prm = folder / "butane.prm"
    kinds = ("CT3", "CT2", "HA3", "HA2")
    masses = "\n".join(f"MASS -1 {kind} {12.011 if kind[0] == 'C' else 1.008}" for kind in kinds)
    prm.write_text(f"""* butane
*
ATOMS
{masses}

BONDS
CT3 CT2 222.5 1.528
CT2 CT2 222.5 1.530
CT3 HA3 322.0 1.111
CT2 HA2 309.0 1.111

ANGLES
CT3 CT2 CT2  58.0 115.0  8.0 2.561
HA3 CT3 HA3  35.5 108.4  5.4 1.802
HA2 CT2 HA2  35.5 109.0  5.4 1.802
HA3 CT3 CT2  34.6 110.1 22.5 2.179
HA2 CT2 CT3  34.6 110.1 22.5 2.179
HA2 CT2 CT2  26.5 110.1 22.5 2.179

DIHEDRALS
X CT2 CT2 X 0.19 3 0.0
X CT3 CT2 X 0.16 3 0.0
CT3 CT2 CT2 CT3 0.15 1 0.0

NONBONDED nbxmod 5 atom cdiel fshift vatom vdistance vfswitch -
cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5
CT3 0.0 -0.078 2.04 0.0 -0.01 1.9
CT2 0.0 -0.056 2.01 0.0 -0.01 1.9
HA3 0.0 -0.024 1.34
HA2 0.0 -0.035 1.34

NBFIX
CT3 HA2 -0.09 3.2

END
""")
    return psf, prm


def write_gromacs(folder: Path, combination_rule: int, pairs_changed: bool = False) -> Path:
    """A topology with Ryckaert-Bellemans torsions, Urey-Bradley angles, and pairs of a type of their own.

    Args:
        folder: Where to.
        combination_rule: 1 for C6 and C12, 2 for Lorentz and Berthelot's rule, 3 for geometric means.
        pairs_changed: Whether some pairs have Lennard-Jones parameters of their own.
    """

    def lennard_jones(sigma: float, epsilon: float) -> str:
        if combination_rule == 1:
            return f"{4 * epsilon * sigma**6:.10e} {4 * epsilon * sigma**12:.10e}"
        return f"{sigma} {epsilon}"

    atom_types = [
        f"CT3 6 12.011 0.00 A {lennard_jones(0.35, 0.28)}",
        f"CT2 6 12.011 0.00 A {lennard_jones(0.34, 0.29)}",
        f"HA3 1 1.008 0.00 A {lennard_jones(0.25, 0.13)}",
        f"HA2 1 1.008 0.00 A {lennard_jones(0.24, 0.12)}",
    ]
    changed = [f"[ nonbond_params ]\nCT3 HA3 1 {lennard_jones(0.28, 0.3)}"] if pairs_changed else []
    lines = [
        f"[ defaults ]\n1 {combination_rule} yes 0.5 0.5",
        "[ atomtypes ]",
        *atom_types,
        *changed,
        f"[ pairtypes ]\nCT3 CT3 1 {lennard_jones(0.31, 0.11)}\nCT3 HA2 1 {lennard_jones(0.27, 0.08)}",
        "[ moleculetype ]\nBUT 3",
        "[ atoms ]",
        *(
            f"{place + 1} {TYPES[place]} 1 BUT {NAMES[place]} {place + 1} {CHARGES[place]} {MASSES[place]}"
            for place in range(SIZE)
        ),
        "[ bonds ]",
        *(f"{i + 1} {j + 1} 1 {0.153 if j < 4 else 0.109} {224000 if j < 4 else 284000}" for i, j in BONDS),
        "[ pairs ]",
        *(f"{i + 1} {j + 1} 1" for i, j in _ends()),
        "[ angles ]",
        *(
            f"{i + 1} {j + 1} {k + 1} " + ("5 107.8 276 0.18 4500" if min(i, k) > 3 else "1 110.7 313")
            for i, j, k in angles()
        ),
        "[ dihedrals ]",
        *(f"{i + 1} {j + 1} {k + 1} {m + 1} 3 0.63 1.88 0.1 -2.5 0.2 0.05" for i, j, k, m in torsions()),
        "[ system ]\nbutane\n[ molecules ]\nBUT 2",
    ]
    path = folder / "butane.top"
    path.write_text("\n".join(lines) + "\n")
    return path


def _ends() -> list[tuple[int, int]]:
    return sorted({(min(i, m), max(i, m)) for i, _, _, m in torsions()})
