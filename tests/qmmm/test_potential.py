"""Mixed systems: groups, embedding charges, energies, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.qmmm.embedding.errors import EmbeddingError
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.qmmm.region import RegionError
from openmmkstep.surrogates.suitability import SurrogateError
from tests.support.models.springs import write_springs
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule

SPRINGS = {"harmonic": [{"atoms": [0, 1], "k": 1000.0, "length": 0.1}], "charges": [0.1, -0.1] + 20 * [0.0]}
CUTOFF = {"cutoff": 0.6, "switchDistance": 0.45}


def analytic() -> QMMMPotential:
    return QMMMPotential("test-analytic", **SPRINGS)


def periodic(molecule: Molecule) -> openmm.System:
    return molecule.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)


def groups_of(system: openmm.System) -> dict[str, int]:
    return {force.getName(): force.getForceGroup() for force in system.getForces()}


def test_groups_of_all_levels(solvated_ala2: Molecule, ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)
    mixed = analytic().createMixedSystem(
        solvated_ala2.topology,
        periodic(solvated_ala2),
        ala2_atoms,
        surrogate=archive,
        baseLevel="force-field",
        splitNonbonded=True,
        **CUTOFF,
    )
    groups = groups_of(mixed)
    assert set(groups.values()) == force_groups.RESERVED - {force_groups.RECIPROCAL}
    assert groups["NonbondedForce"] == force_groups.SLOW_COMMON
    assert [force.getForceGroup() for force in mixed.getForces()].count(force_groups.SURROGATE) == 1
    assert find_qm_force(mixed).getForceGroup() == force_groups.QM
    assert groups["BaseHarmonicBondForce"] == groups["BaseRegionPairs"] == force_groups.BASE_LEVEL


def test_both_levels_see_the_same_charges(
    solvated_ala2: Molecule, ala2: Molecule, ala2_atoms: list[int], tmp_path: Path
) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)
    system = periodic(solvated_ala2)
    mixed = analytic().createMixedSystem(solvated_ala2.topology, system, ala2_atoms, surrogate=archive, **CUTOFF)
    qm_charges = find_qm_force(mixed).getEmbeddingCharges()
    surrogate = TorchScriptForce.cast(
        next(force for force in mixed.getForces() if force.getForceGroup() == force_groups.SURROGATE)
    )
    assert surrogate.getEmbeddingCharges() == qm_charges
    particles, charges, groups = qm_charges.getCharges()
    assert list(particles) == list(range(22, system.getNumParticles()))
    assert np.all(np.bincount(groups) == 3), "each water is one group"
    assert sum(charges) == pytest.approx(0.0, abs=1e-9)
    assert qm_charges.getCutoffDistance() == 0.6 and qm_charges.getSwitchingDistance() == 0.45
    assert qm_charges.usesPeriodicBoundaryConditions()


def test_mechanical_embedding_adds_up(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff)
    mixed = analytic().createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, embedding="mechanical", baseLevel="force-field"
    )
    whole, _ = energy_and_forces(system, solvated_ala2.positions)
    everything, _ = energy_and_forces(mixed, solvated_ala2.positions)
    qm, _ = energy_and_forces(mixed, solvated_ala2.positions, {force_groups.QM})
    internal, _ = energy_and_forces(mixed, solvated_ala2.positions, {force_groups.BASE_LEVEL})
    hamiltonian, _ = energy_and_forces(mixed, solvated_ala2.positions, {force_groups.COMMON, force_groups.QM})
    assert everything - qm == pytest.approx(whole, rel=1e-10)
    assert hamiltonian - qm + internal == pytest.approx(whole, rel=1e-10)


def test_electrostatic_embedding_by_hand(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """The analytic engine's charges in the MM charges are a plain Coulomb sum."""
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff)
    mixed = analytic().createMixedSystem(solvated_ala2.topology, system, ala2_atoms)
    energy, _ = energy_and_forces(mixed, solvated_ala2.positions, {force_groups.QM})
    x = np.asarray(solvated_ala2.positions)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    mm = np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(22, len(x))])
    inverse = 1 / np.linalg.norm(x[:22, None] - x[None, 22:], axis=2)
    qm = np.array(SPRINGS["charges"])
    bond = float(np.linalg.norm(x[0] - x[1]))
    expected = 138.935457644 * qm @ inverse @ mm + 0.5 * 1000.0 * (bond - 0.1) ** 2
    assert energy == pytest.approx(expected, rel=1e-7)


def test_isolated_molecule_has_nothing_left_in_common(ala2: Molecule, ala2_atoms: list[int]) -> None:
    mixed = analytic().createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms)
    assert groups_of(mixed) == {
        "CMMotionRemover": force_groups.COMMON,
        find_qm_force(mixed).getName(): force_groups.QM,
    }


def test_masses_constraints_and_order_are_kept(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = periodic(solvated_ala2)
    mixed = analytic().createMixedSystem(solvated_ala2.topology, system, list(reversed(ala2_atoms)), **CUTOFF)
    assert mixed.getNumConstraints() == system.getNumConstraints()
    assert [mixed.getParticleMass(i) for i in range(40)] == [system.getParticleMass(i) for i in range(40)]
    assert list(find_qm_force(mixed).getParticles()) == ala2_atoms


def test_units_are_taken(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    mixed = analytic().createMixedSystem(
        solvated_ala2.topology, periodic(solvated_ala2), ala2_atoms, cutoff=6 * unit.angstrom
    )
    charges = find_qm_force(mixed).getEmbeddingCharges()
    assert charges.getCutoffDistance() == pytest.approx(0.6)
    assert charges.getSwitchingDistance() == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        ([], "empty"),
        ([0, 1, 5000], r"\[5000\] do not exist"),
        ([-1, 0], r"\[-1\] do not exist"),
        ([0, 1, 1], r"\[1\] are given more than once"),
        ([0.5], "integers"),
        (list(range(6)), r"C of ACE 1 \(index 4\) - N of ALA 2 \(index 6\) .* cannot be cut: .* amide"),
    ],
)
def test_impossible_regions(solvated_ala2: Molecule, atoms: list[Any], message: str) -> None:
    with pytest.raises(RegionError, match=message):
        analytic().createMixedSystem(solvated_ala2.topology, periodic(solvated_ala2), atoms, **CUTOFF)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"charge": 1}, "must be even"),
        ({"multiplicity": 2}, "do not fit"),
        ({"multiplicity": 0}, "at least 1"),
        ({"charge": 500}, "impossible"),
        ({"charge": 0.5}, "integers"),
    ],
)
def test_impossible_charge_and_spin(
    ala2: Molecule, ala2_atoms: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegionError, match=message):
        analytic().createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs an embedding cut-off"),
        ({"cutoff": 1.2}, "less than twice the embedding cut-off"),
        ({"cutoff": -1.0}, "must be positive"),
        ({"cutoff": 0.6, "switchDistance": 0.7}, "between 0 and the cut-off"),
        ({"switchDistance": 0.7}, "without cutoff"),
        ({"embedding": "mechanical", "cutoff": 0.6}, "belong to electrostatic"),
        ({"embedding": "polarizable"}, "'electrostatic' or 'mechanical'"),
    ],
)
def test_impossible_embedding(
    solvated_ala2: Molecule, ala2_atoms: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EmbeddingError, match=message):
        analytic().createMixedSystem(solvated_ala2.topology, periodic(solvated_ala2), ala2_atoms, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": [1, 6, 8], "atomic_numbers": None}, r"also has \[7\]"),
        ({"elements": [1, 6, 8]}, r"contain \[7\], which elements"),
        ({"atomic_numbers": [8, 1, 1]}, "for 3 atoms, the region has 22"),
        ({"charge": 1}, "trained with charge 1"),
        ({"multiplicity": 3}, "trained with multiplicity 3"),
        ({"inputs": ["positions"], "outputs": ["energy", "forces"]}, "blind to the surroundings"),
        ({"version": 7}, "version 7"),
        ({"kind": "jump"}, "kind 'jump' is not supported"),
        ({"contract": "other"}, "'other' document"),
    ],
)
def test_surrogates_that_do_not_match(
    solvated_ala2: Molecule,
    ala2: Molecule,
    ala2_atoms: list[int],
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions, **changes)
    with pytest.raises(SurrogateError, match=message):
        analytic().createMixedSystem(
            solvated_ala2.topology, periodic(solvated_ala2), ala2_atoms, surrogate=archive, **CUTOFF
        )


def test_missing_and_foreign_archives(ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pt"
    foreign.write_bytes(b"no archive")
    for path, message in ((tmp_path / "nothing.pt", "does not exist"), (foreign, "not a TorchScript archive")):
        with pytest.raises(SurrogateError, match=message):
            analytic().createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, surrogate=path)


def test_another_level_of_theory_is_warned_about(ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)
    with pytest.warns(UserWarning, match="trained on gfn2-xtb"):
        analytic().createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, surrogate=archive)


def test_topology_of_another_system(ala2: Molecule, solvated_ala2: Molecule) -> None:
    with pytest.raises(ValueError, match="22 atoms and the system"):
        analytic().createMixedSystem(ala2.topology, periodic(solvated_ala2), [0])


def test_a_region_of_two_molecules_may_lie_in_different_images(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    atoms = [*ala2_atoms, 22, 23, 24]
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9, rigidWater=False)
    potential = QMMMPotential("test-analytic", charges=[0.1, -0.1] + 23 * [0.0])
    for embedding in ("mechanical", "electrostatic"):
        options = CUTOFF if embedding == "electrostatic" else {}
        mixed = potential.createMixedSystem(
            solvated_ala2.topology, system, atoms, embedding=embedding, baseLevel="force-field", **options
        )
        moved = np.array(solvated_ala2.positions)
        moved[22:25] += [2.2, 0, -2.2]
        for group in (force_groups.COMMON, force_groups.QM, force_groups.BASE_LEVEL):
            here, _ = energy_and_forces(mixed, solvated_ala2.positions, {group})
            there, _ = energy_and_forces(mixed, moved, {group})
            assert there == pytest.approx(here, abs=1e-4), (embedding, group)
