"""Where link atoms stand, and what all levels take them for."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.io.frames import describe_region
from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.qmmm.boundary.link_atoms import LinkAtomError
from openmmkstep.qmmm.force_field.recognition import UnsupportedForceFieldError
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.qmmm.region import QMRegion
from tests.support.qmmm.cut_molecules import HOST, SIDE_CHAIN
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule

CB = SIDE_CHAIN[0]
FF14SB_CT_CT = 0.1526  # nm


def region_of(molecule: Molecule, atoms: list[int] = SIDE_CHAIN, charge: int = 0, **options: object) -> QMRegion:
    return QMRegion.create(molecule.topology, molecule.create_system(), atoms, charge, 1, **options)  # type: ignore[arg-type]


def test_place_by_the_standard_length(ala2: Molecule) -> None:
    region = region_of(ala2)
    assert region.links == (LinkAtom(CB, HOST, pytest.approx(0.109 / FF14SB_CT_CT)),)
    assert region.site_numbers.tolist() == [6, 1, 1, 1, 1]
    assert region.site_names[-1] == "L1"
    assert [0, 4] in region.site_bonds.tolist()
    assert region.numbers.tolist() == [6, 1, 1, 1]


@pytest.mark.parametrize("distance", [0.1, 1.0 * unit.angstrom])
@pytest.mark.parametrize("pair", [(CB, HOST), (HOST, CB)])
def test_place_by_a_given_length(ala2: Molecule, distance: object, pair: tuple[int, int]) -> None:
    region = region_of(ala2, link_atom_distances=[(*pair, distance)])
    assert region.links[0].ratio == pytest.approx(0.1 / FF14SB_CT_CT)


def test_a_constraint_tells_the_length(ala2: Molecule) -> None:
    system = ala2.create_system(constraints=app.AllBonds)
    region = QMRegion.create(ala2.topology, system, SIDE_CHAIN, 0, 1)
    assert region.links[0].ratio == pytest.approx(0.109 / FF14SB_CT_CT)


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        ([(CB, 9, 0.1)], "names the particles 10 and 9, between which no bond is cut; cut are .*: 10, 8"),
        ([(CB, HOST, 0.1), (HOST, CB, 0.1)], "two entries for CB of ALA 2 .* - CA of ALA 2"),
        ([(CB, HOST, 0.16)], "must stand between the two atoms, which are 0.1526 nm apart at rest; .* 0.16 nm"),
        ([(CB, HOST, -0.1)], "must stand between"),
    ],
)
def test_lengths_that_make_no_sense(ala2: Molecule, distances: list[tuple[int, int, float]], message: str) -> None:
    with pytest.raises(LinkAtomError, match=message):
        QMMMPotential("gfn2-xtb").createMixedSystem(
            ala2.topology, ala2.create_system(), SIDE_CHAIN, linkAtomDistances=distances
        )


def test_electrons_of_link_atoms_count(ala2: Molecule) -> None:
    """A methyl group has an odd number of electrons, methane an even one."""
    assert region_of(ala2).multiplicity == 1
    with pytest.raises(ValueError, match="must be odd"):
        QMRegion.create(ala2.topology, ala2.create_system(), SIDE_CHAIN, 0, 2)


def test_terms_with_mm_atoms_stay(ala2: Molecule) -> None:
    """Bond, angles and dihedrals across the cut, and Lennard-Jones, are those of the force field."""
    system = ala2.create_system()
    mixed = QMMMPotential("test-analytic").createMixedSystem(ala2.topology, system, SIDE_CHAIN)
    inside = set(SIDE_CHAIN)
    kept = {force.getName(): force for force in mixed.getForces()}
    bonds = kept["HarmonicBondForce"]
    pairs = {frozenset(bonds.getBondParameters(i)[:2]) for i in range(bonds.getNumBonds())}
    assert frozenset((CB, HOST)) in pairs and not any(pair <= inside for pair in pairs)
    angles = kept["HarmonicAngleForce"]
    triples = [set(angles.getAngleParameters(i)[:3]) for i in range(angles.getNumAngles())]
    assert {HOST, CB, SIDE_CHAIN[1]} in triples and not any(triple <= inside for triple in triples)
    before = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    after = kept["NonbondedForce"]
    across = {}
    for force in (before, after):
        across[force] = {
            frozenset((i, j)): (sigma._value, epsilon._value)
            for i, j, _, sigma, epsilon in map(force.getExceptionParameters, range(force.getNumExceptions()))
            if (i in inside) != (j in inside)
        }
    assert across[before] == across[after] and len(across[before]) > 10


def test_whole_system_as_region_has_no_links(ala2: Molecule) -> None:
    region = region_of(ala2, list(range(22)))
    assert region.links == ()
    energy, forces = energy_and_forces(
        QMMMPotential("gfn2-xtb").createMixedSystem(ala2.topology, ala2.create_system(), range(22)), ala2.positions
    )
    alone = openmm.System()
    for _ in range(22):
        alone.addParticle(1.0)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(ala2.topology, ala2.create_system(), range(22))
    alone.addForce(openmm.XmlSerializer.clone(find_qm_force(mixed)))
    pure = energy_and_forces(alone, ala2.positions)
    assert energy == pytest.approx(pure[0], abs=1e-8)
    np.testing.assert_allclose(forces, pure[1], atol=1e-8)


def test_frames_hold_all_sites(ala2: Molecule) -> None:
    description = describe_region(region_of(ala2), {"method": "gfn2-xtb"}, "")
    assert description.numbers.tolist() == [6, 1, 1, 1, 1]
    assert len(description.masses) == 5 and len(description.names) == 5
    assert len(description.bonds) == 4


def test_force_field_as_base_level(ala2: Molecule) -> None:
    """The region's own terms; a constraint without a bond term is still refused."""
    with pytest.raises(UnsupportedForceFieldError, match="held by a constraint"):
        QMMMPotential("gfn2-xtb").createMixedSystem(
            ala2.topology, ala2.create_system(constraints=app.HBonds), SIDE_CHAIN, baseLevel="force-field"
        )
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, ala2.create_system(), SIDE_CHAIN, baseLevel="force-field"
    )
    base = {force.getName(): force for force in mixed.getForces() if force.getName().startswith("Base")}
    assert base["BaseHarmonicBondForce"].getNumBonds() == 3
