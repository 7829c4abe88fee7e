"""The fitted potential: bonds and angles as polynomials, dihedrals as Fourier series, pairs that couple them.

    U = sum_bonds sum_n a_n (r - r0)^n + sum_angles sum_n b_n (theta - theta0)^n
      + sum_dihedrals sum_n c_n cos(n phi) + d_n sin(n phi)
      + sum_pairs sum_n e_n (r - r0)^n

Pairs are atoms two or three bonds apart (Urey-Bradley terms and the like): they couple bonds with angles and dihedrals,
which on alanine dipeptide takes the force error from 190 to 105 meV/A. The potential is linear in its coefficients, so
that fitting it to forces is one least-squares problem, and it runs as four of OpenMM's own forces in 0.1 to 0.3
milliseconds for 20 atoms.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from kstep_models.files import write_atomically
from kstep_models.regression.bonded import ANGLE_ORDER, BOND_ORDER, DIHEDRAL_ORDER, PAIR_ORDER
from openmmkstep.openmmapi.region import LinkAtom

from .link_pairs import LinkPairs

SCHEMA = "kstep-bonded-fit"
VERSION = 2


class BondedFitError(ValueError):
    """A bonded fit that cannot be made or used."""


@dataclass(frozen=True)
class BondedFit:
    """Terms and coefficients; energies in kJ/mol, lengths in nm, angles in radians.

    Attributes:
        numbers: atomic numbers of the region.
        bonds: [i, j, r0, a1 .. a4] for each bond.
        angles: [i, j, k, theta0, b1 .. b3] for each angle.
        dihedrals: [i, j, k, l, c1, d1, .. c3, d3] for each dihedral.
        pairs: [i, j, r0, e1, e2] for each two atoms that are two or three bonds apart.
        about: level of theory, data, errors; any JSON object.
    """

    numbers: tuple[int, ...]
    bonds: list[list[float]]
    angles: list[list[float]]
    dihedrals: list[list[float]]
    pairs: list[list[float]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def create_forces(self, particles: Sequence[int], links: Sequence[LinkAtom] = ()) -> list[openmm.Force]:
        """OpenMM forces for a region.

        A link atom stands on the line from its QM atom to its MM atom, so that the MM atom takes its place in angles
        and dihedrals, and bonds to it are those to the MM atom, shortened.

        Args:
            particles: particle index of each atom of the region, in the order of the model.
            links: link atoms, which follow the atoms in the model.

        Raises:
            BondedFitError: not as many particles as the model has atoms; terms of the model with a link atom at
                another place than the end of a bond to its QM atom.
        """
        sites = len(particles) + len(links)
        if sites != len(self.numbers):
            raise BondedFitError(f"the bonded fit is for {len(self.numbers)} atoms, the region has {sites}")
        self._check_links(particles, links)
        pairs_of_links = LinkPairs(particles, links, PAIR_ORDER)
        ratios = {len(particles) + place: link.ratio for place, link in enumerate(links)}
        particles = [*particles, *(link.mmParticle for link in links)]
        bond = openmm.CustomBondForce(_polynomial("ratio*r", BOND_ORDER))
        pair = openmm.CustomBondForce(_polynomial("r", PAIR_ORDER))
        angle = openmm.CustomAngleForce(_polynomial("theta", ANGLE_ORDER))
        torsion = openmm.PeriodicTorsionForce()
        for name in ("ratio", *_parameters(BOND_ORDER)):
            bond.addPerBondParameter(name)
        for name in _parameters(PAIR_ORDER):
            pair.addPerBondParameter(name)
        for name in _parameters(ANGLE_ORDER):
            angle.addPerAngleParameter(name)
        for i, j, *values in self.bonds:
            ratio = ratios.get(int(i), ratios.get(int(j), 1.0))
            bond.addBond(particles[int(i)], particles[int(j)], [ratio, *values])
        for i, j, *values in self.pairs:
            if ratios.keys() & {int(i), int(j)}:
                pairs_of_links.add(int(i), int(j), values)
            else:
                pair.addBond(particles[int(i)], particles[int(j)], values)
        for i, j, k, *values in self.angles:
            angle.addAngle(particles[int(i)], particles[int(j)], particles[int(k)], values)
        for i, j, k, m, *values in self.dihedrals:
            atoms = [particles[int(index)] for index in (i, j, k, m)]
            for n in range(1, DIHEDRAL_ORDER + 1):
                # c cos(n phi) + d sin(n phi) = K cos(n phi - phase); OpenMM's constant K does not matter.
                c, d = values[2 * n - 2], values[2 * n - 1]
                torsion.addTorsion(*atoms, n, math.atan2(d, c), math.hypot(c, d))
        forces = {"BaseBonds": bond, "BaseAngles": angle, "BaseDihedrals": torsion, "BasePairs": pair}
        forces.update(pairs_of_links.forces)
        for name, force in forces.items():
            force.setName(name)
        return list(forces.values())

    def _check_links(self, particles: Sequence[int], links: Sequence[LinkAtom]) -> None:
        """Refuse a model whose terms do not have the link atoms where the region has them.

        A bond, or the side of an angle, points the same way to the MM atom as to the link atom; a plane of a dihedral
        that holds the QM atom and one of the two holds the other as well.
        """
        host = {len(particles) + n: list(particles).index(link.qmParticle) for n, link in enumerate(links)}
        # For each kind of term: the atoms one of which must be the QM atom, by the place of the link atom.
        kinds = (
            (self.bonds, ((1,), (0,))),
            (self.angles, ((1,), (), (1,))),
            (self.dihedrals, ((1, 2), (2,), (1,), (1, 2))),
        )
        for rows, beside in kinds:
            for row in rows if host else ():
                atoms = [int(index) for index in row[: len(beside)]]
                for place, atom in enumerate(atoms):
                    if atom in host and host[atom] not in [atoms[other] for other in beside[place]]:
                        self._refuse_link(atom, atoms)

    @staticmethod
    def _refuse_link(site: int, atoms: list[int]) -> None:
        raise BondedFitError(
            f"the bonded fit has atom {site}, a link atom of this region, in a term with the atoms {atoms}, which the "
            "link atom is not bonded to: fit one for this region"
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, atomically."""
        content = {
            "schema": SCHEMA,
            "version": VERSION,
            "units": {"length": "nm", "angle": "radian", "energy": "kJ/mol"},
            "numbers": list(self.numbers),
            "bonds": self.bonds,
            "angles": self.angles,
            "dihedrals": self.dihedrals,
            "pairs": self.pairs,
            "about": self.about,
        }
        write_atomically(path, json.dumps(content))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> BondedFit:
        """Read what write() wrote.

        Raises:
            BondedFitError: no such file, or not a file of a bonded fit.
        """
        file = Path(path)
        if not file.is_file():
            raise BondedFitError(
                f"the bonded fit {file} does not exist: check the path, or make it with `kstep fit-bonded`"
            )
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BondedFitError(f"{file} is not valid JSON: {error}") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("version") != VERSION:
            raise BondedFitError(f"{file} is not a bonded fit of version {VERSION}: make it with `kstep fit-bonded`")
        model = cls(
            tuple(content["numbers"]),
            content["bonds"],
            content["angles"],
            content["dihedrals"],
            content["pairs"],
            content["about"],
        )
        model._check(file)
        return model

    def _check(self, file: Path) -> None:
        widths = (
            ("bonds", self.bonds, 2, 3 + BOND_ORDER),
            ("angles", self.angles, 3, 4 + ANGLE_ORDER),
            ("dihedrals", self.dihedrals, 4, 4 + 2 * DIHEDRAL_ORDER),
            ("pairs", self.pairs, 2, 3 + PAIR_ORDER),
        )
        for name, rows, atoms, width in widths:
            table = np.array(rows, dtype=np.float64) if rows else np.zeros((0, width))
            if table.ndim != 2 or table.shape[1] != width or not np.all(np.isfinite(table)):
                raise BondedFitError(f"{file}: {name} must be rows of {width} finite numbers")
            if len(table) and not np.all((table[:, :atoms] >= 0) & (table[:, :atoms] < len(self.numbers))):
                raise BondedFitError(f"{file}: {name} name atoms that the region does not have")


def _polynomial(variable: str, order: int) -> str:
    terms = " + ".join(f"a{n}*x^{n}" for n in range(1, order + 1))
    return f"{terms}; x = {variable} - x0"


def _parameters(order: int) -> list[str]:
    return ["x0", *(f"a{n}" for n in range(1, order + 1))]
