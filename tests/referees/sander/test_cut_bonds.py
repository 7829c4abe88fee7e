"""Side chains cut at CA - CB, without a box: sander's link atoms, and what it does to the charges beside them.

sander keeps a link atom at a fixed distance, this plugin at a fixed fraction of the bond. At one geometry both are at
the same place, so that the energies are the same; the forces differ by what the chain rule makes of the force on the
link atom along the bond, and by nothing else.

sander takes the charge of the MM end away for everybody, among the MM atoms too, and what its `adjust_q` adds acts
among them as well. Here the force field's charges stay as they are among the MM atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app

from openmmkstep import EmbeddingCharges, QMMMForce, QMMMPotential
from openmmkstep.qmmm.forces import find_qm_force
from tests.support.referees.link_atoms import (
    at_fixed_distances,
    charges_of,
    charges_with_nothing_to_choose,
    distances_at,
)
from tests.support.referees.orca_program import SETTINGS
from tests.support.referees.sander import Answer, calculate, positions_of, tleap, with_charges
from tests.support.referees.terms import TOLERANCE, deviations, terms_of


@dataclass(frozen=True)
class Peptide:
    """A peptide with side chains as the region.

    Attributes:
        folder: Where its prmtop is.
        prmtop: The force field.
        positions: [N,3], nm.
        region: Particles of the side chains.
        charge: Charge of the region, e.
        cuts: The cut bonds as (CB, CA).
    """

    folder: Path
    prmtop: app.AmberPrmtopFile
    positions: NDArray[np.float64]
    region: list[int]
    charge: int
    cuts: list[tuple[int, int]]

    def mixed(self, prmtop: app.AmberPrmtopFile) -> openmm.System:
        """The mixed system with link atoms where sander has them, and the charges of the MM ends as they are."""
        system = prmtop.createSystem(nonbondedMethod=app.NoCutoff)
        return QMMMPotential("gfn2-xtb", **SETTINGS).createMixedSystem(
            prmtop.topology,
            system,
            self.region,
            charge=self.charge,
            linkAtomDistances=distances_at(system, self.positions, self.cuts),
            chargeScheme="none",
        )


@pytest.fixture(scope="module", params=["SER", "LYS SER"])
def peptide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Peptide:
    folder = tmp_path_factory.mktemp("peptide")
    prmtop = tleap(folder, f"source leaprc.protein.ff14SB\nm = sequence {{ ACE {request.param} NME }}")
    backbone = {"N", "H", "CA", "HA", "C", "O"}
    residues = [residue for residue in prmtop.topology.residues() if residue.name not in ("ACE", "NME")]
    region = [atom.index for residue in residues for atom in residue.atoms() if atom.name not in backbone]
    cuts = [tuple(index(residue, name) for name in ("CB", "CA")) for residue in residues]
    charge = sum(residue.name == "LYS" for residue in residues)
    return Peptide(folder, prmtop, positions_of(folder / "system.rst7", seed=4), region, charge, cuts)


def index(residue: app.Residue, name: str) -> int:
    return next(atom.index for atom in residue.atoms() if atom.name == name)


def compare(peptide: Peptide, mixed: openmm.System, theirs: Answer) -> dict[str, float]:
    """Relative deviations of all energies and of the forces, once these are sander's."""
    ours = terms_of(mixed, peptide.positions)
    found = deviations(ours, theirs)
    # They do differ, so that the comparison says something.
    assert found["force"] > 1e-4
    rest = at_fixed_distances(mixed, peptide.positions, peptide.cuts, ours.total_force) - theirs.forces
    found["force"] = float(np.abs(rest).max() / np.abs(theirs.forces).max())
    return found


def test_ends_without_charge(peptide, tmp_path, record_property):
    """Where the MM ends have no charge, and each side chain a whole one, nothing is left to choose."""
    changes = charges_with_nothing_to_choose(peptide.prmtop, peptide.region, peptide.cuts)
    prmtop = with_charges(peptide.folder / "system.prmtop", tmp_path / "changed.prmtop", changes)
    theirs = calculate(
        tmp_path / "sander", tmp_path / "changed.prmtop", peptide.positions, peptide.region, peptide.charge
    )
    found = compare(peptide, peptide.mixed(prmtop), theirs)
    record_property("deviations", found)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("adjust", [0, 1, 2])
def test_charges_of_the_ends(peptide, adjust, tmp_path, record_property):
    """With sander's charges in place of the force field's, and of what the scheme makes of them, all terms agree."""
    theirs = calculate(
        tmp_path / "sander",
        peptide.folder / "system.prmtop",
        peptide.positions,
        peptide.region,
        peptide.charge,
        adjust_charges=adjust,
    )
    charges = sanders_charges(peptide, adjust)
    ends = [mm for _, mm in peptide.cuts]
    seen = np.setdiff1d(np.arange(len(charges)), [*peptide.region, *ends])
    np.testing.assert_allclose(theirs.charges, charges[seen], rtol=0, atol=1e-8)

    mixed = peptide.mixed(peptide.prmtop)
    without_change = terms_of(mixed, peptide.positions).energies
    kept = deviations(terms_of(mixed, peptide.positions), theirs, without=("coulomb", "coulomb_14", "qm"))
    assert max(kept.values()) < TOLERANCE, kept
    replace_charges(mixed, charges, charges_of(peptide.prmtop))
    replace_embedding(mixed, seen, charges[seen])
    found = compare(peptide, mixed, theirs)
    record_property("deviations", found)
    assert max(found.values()) < TOLERANCE, found
    assert abs(without_change["coulomb"] - theirs.energies["coulomb"]) > 0.01


def sanders_charges(peptide: Peptide, adjust: int) -> NDArray[np.float64]:
    """What becomes of the charges: 0 in the region and at the MM ends; what is missing goes to others, or nowhere."""
    charges = charges_of(peptide.prmtop)
    ends = [mm for _, mm in peptide.cuts]
    others = np.setdiff1d(np.arange(len(charges)), [*peptide.region, *ends])
    missing = charges[peptide.region].sum() + charges[ends].sum() - peptide.charge
    charges[[*peptide.region, *ends]] = 0.0
    if adjust == 1:
        for end in ends:
            distances = np.linalg.norm(peptide.positions[others] - peptide.positions[end], axis=1)
            charges[others[np.argmin(distances)]] += missing / len(ends)
    elif adjust == 2:
        charges[others] += missing / len(others)
    return charges


def replace_charges(mixed: openmm.System, new: NDArray[np.float64], old: NDArray[np.float64]) -> None:
    force = next(force for force in mixed.getForces() if isinstance(force, openmm.NonbondedForce))
    for particle, charge in enumerate(new):
        _, sigma, epsilon = force.getParticleParameters(particle)
        force.setParticleParameters(particle, charge, sigma, epsilon)
    for exception in range(force.getNumExceptions()):
        i, j, product, sigma, epsilon = force.getExceptionParameters(exception)
        if product._value != 0.0:
            force.setExceptionParameters(
                exception, i, j, product * (new[i] * new[j] / (old[i] * old[j])), sigma, epsilon
            )


def replace_embedding(mixed: openmm.System, particles: NDArray[np.int64], charges: NDArray[np.float64]) -> None:
    old = find_qm_force(mixed)
    new = QMMMForce(
        old.getParticles(),
        old.getAtomicNumbers(),
        old.getEngine(),
        old.getCharge(),
        old.getMultiplicity(),
        old.getEngineSettings(),
        EmbeddingCharges(particles, charges),
        old.getLinkAtoms(),
        old.getBonds(),
    )
    for place in reversed(range(mixed.getNumForces())):
        if QMMMForce.isInstance(mixed.getForce(place)):
            mixed.removeForce(place)
    mixed.addForce(new)
