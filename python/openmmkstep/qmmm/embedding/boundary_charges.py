"""What becomes of the MM charges next to bonds that a QM region cuts.

The charge at the MM end M1 of a cut bond is so near to the link atom that the QM region would be polarised by it as no
molecule is. The schemes take it away and keep the sum of all charges:

    none    it stays
    delete  the other MM atoms of its residue share it
    shift   its MM neighbours M2 share it; two opposite charges at each M2 restore the dipole moment (Sherwood et al.,
            J. Mol. Struct. THEOCHEM 632, 1 (2003))
    rc      charges q/n in the middle of its n bonds M1-M2 (Lin and Truhlar, J. Phys. Chem. A 109, 3991 (2005))
    rcd     charges 2 q/n there and -q/n at M2, which keeps the dipole moments of the bonds (same source)

A cut through a residue leaves fractions of a charge on both sides, where the QM region has a whole one. What the region
of the force field has more than a whole charge goes to the MM ends first, with all schemes, so that the charges which
the region sees and its own charge sum to that of the whole system.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmmkstep.openmmapi.region import LinkAtom

from ..molecule_graph import MoleculeGraph
from ..part_charges import charge_of_parts
from .errors import EmbeddingError

ChargeScheme = Literal["none", "delete", "shift", "rc", "rcd"]
CHARGE_SCHEMES: tuple[ChargeScheme, ...] = ("none", "delete", "shift", "rc", "rcd")
DEFAULT_CHARGE_SCHEME: ChargeScheme = "shift"

DIPOLE_OFFSET = 0.06
"""Distance from M2 of the two charges of the scheme "shift", as a fraction of the bond M1-M2."""


@dataclass(frozen=True)
class BondCharge:
    """A charge at x_first + weight (x_second - x_first), e."""

    first: int
    second: int
    weight: float
    charge: float


@dataclass(frozen=True)
class BoundaryCharges:
    """The charges that a region sees.

    Attributes:
        charges: Charges of all particles [N], e; those of the region are not seen and are as they were.
        bond_charges: Charges between particles outside the region.
    """

    charges: NDArray[np.float64]
    bond_charges: tuple[BondCharge, ...]


def boundary_charges(
    charges: ArrayLike,
    region: Collection[int],
    links: Sequence[LinkAtom],
    graph: MoleculeGraph,
    scheme: ChargeScheme,
) -> BoundaryCharges:
    """Apply a scheme to the charges of a force field.

    Args:
        charges: Charges of all particles [N], e.
        region: Particle indices of the QM region, virtual sites included.
        links: Its link atoms.
        graph: The molecular graph of the system.
        scheme: One of CHARGE_SCHEMES.

    Raises:
        EmbeddingError: An unknown scheme; an MM end without neighbours that could take its charge.
    """
    if scheme not in CHARGE_SCHEMES:
        raise EmbeddingError(f"chargeScheme must be one of {', '.join(CHARGE_SCHEMES)}, got {scheme!r}")
    values = np.array(charges, dtype=np.float64)
    hosts = sorted({link.mmParticle for link in links})
    if not hosts:
        return BoundaryCharges(values, ())
    members = set(region)
    for host, excess in _excess_by_host(values, members, hosts, graph).items():
        values[host] += excess
    if scheme == "none":
        return BoundaryCharges(values, ())
    if scheme == "delete":
        return BoundaryCharges(_shared_by_residues(values, members, hosts, graph), ())
    bond_charges: list[BondCharge] = []
    moved = values.copy()
    for host in hosts:
        moved[host] = 0.0
    for host in hosts:
        neighbours = [n for n in graph.neighbours(host) if n not in members and n not in hosts]
        if not neighbours:
            raise EmbeddingError(
                f"{graph.name(host)}, at the MM end of a bond that the QM region cuts, has no MM neighbour that could "
                "take its charge: take it into the region, or choose chargeScheme='delete'"
            )
        share = values[host] / len(neighbours)
        for neighbour in neighbours:
            if scheme == "shift":
                moved[neighbour] += share
                # Moving q by the bond vector b has changed the dipole moment by q b; -q' f b + q' (-f b) = -q b.
                pair = share / (2 * DIPOLE_OFFSET)
                bond_charges.append(BondCharge(neighbour, host, DIPOLE_OFFSET, pair))
                bond_charges.append(BondCharge(neighbour, host, -DIPOLE_OFFSET, -pair))
            elif scheme == "rc":
                bond_charges.append(BondCharge(neighbour, host, 0.5, share))
            else:
                moved[neighbour] -= share
                bond_charges.append(BondCharge(neighbour, host, 0.5, 2 * share))
    return BoundaryCharges(moved, tuple(bond_charges))


def _excess_by_host(
    values: NDArray[np.float64], members: set[int], hosts: Sequence[int], graph: MoleculeGraph
) -> dict[int, float]:
    """What the force field's charges of the region have more than a whole charge, to be given to each MM end, e.

    Each residue that is cut keeps its own fraction of a charge; what is left is shared by all.
    """
    inside = sorted(members)
    whole = round(charge_of_parts(inside, values[inside].tolist(), graph))
    residues = graph.residues
    by_residue: dict[int, list[int]] = defaultdict(list)
    for host in hosts:
        by_residue[residues[host]].append(host)
    excess = dict.fromkeys(hosts, 0.0)
    for residue, ends in by_residue.items():
        part = float(values[[particle for particle in inside if residues[particle] == residue]].sum())
        for host in ends:
            excess[host] += (part - round(part)) / len(ends)
    left = float(values[inside].sum()) - whole - sum(excess.values())
    return {host: value + left / len(hosts) for host, value in excess.items()}


def _shared_by_residues(
    values: NDArray[np.float64], members: set[int], hosts: Sequence[int], graph: MoleculeGraph
) -> NDArray[np.float64]:
    residues, moved = graph.residues, values.copy()
    moved[list(hosts)] = 0.0
    for host in hosts:
        others = [
            particle
            for particle, residue in enumerate(residues)
            if residue == residues[host] and particle not in members and particle not in hosts
        ]
        if not others:
            raise EmbeddingError(
                f"{graph.name(host)}, at the MM end of a bond that the QM region cuts, is alone in its residue: "
                "nothing can take its charge, so take it into the region, or choose another chargeScheme"
            )
        moved[others] += values[host] / len(others)
    return moved
