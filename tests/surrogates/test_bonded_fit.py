"""The bonded fit: derivatives, a fit that must be exact, files, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from kstep_models.frames import Environment, Frame, FrameWriter, RegionDescription
from kstep_models.regression import internal_coordinates as internal
from openmmkstep import QMMMPotential
from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.surrogates.bonded_fit.fitting import fit_bonded
from openmmkstep.surrogates.bonded_fit.model import BondedFit, BondedFitError
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import EXAMPLES, Molecule

BONDS = np.array([[0, 1], [1, 2], [2, 3], [2, 4]])


def positions(frames: int, seed: int = 1) -> Any:
    """Distorted copies of a branched molecule of five atoms [T,5,3], nm."""
    base = np.array([[0, 0, 0], [0.11, 0, 0.01], [0.16, 0.13, 0], [0.27, 0.14, 0.06], [0.12, 0.22, -0.06]])
    return base + 0.006 * np.random.default_rng(seed).normal(size=(frames, 5, 3))


@pytest.mark.parametrize("kind", ["lengths", "angles", "dihedrals"])
def test_derivatives(kind: str) -> None:
    table = {"lengths": internal.find_bonds, "angles": internal.find_angles, "dihedrals": internal.find_dihedrals}[
        kind
    ](BONDS)
    function, x, h = getattr(internal, kind), positions(3), 1e-6
    analytic = function(x, table)
    assert len(table) == {"lengths": 4, "angles": 4, "dihedrals": 3}[kind]
    for place in range(table.shape[1]):
        for axis in range(3):
            for row, atoms in enumerate(table):
                plus, minus = x.copy(), x.copy()
                plus[:, atoms[place], axis] += h
                minus[:, atoms[place], axis] -= h
                numeric = (function(plus, table).values - function(minus, table).values)[:, row] / (2 * h)
                np.testing.assert_allclose(analytic.gradients[:, row, place, axis], numeric, atol=1e-5)


def linked(ends: dict[int, int]) -> tuple[openmm.System, list[LinkAtom]]:
    """The true model, in which link atoms stand for some atoms: their particle is the MM atom (atom -> QM atom)."""
    links = [LinkAtom(host, atom, 0.6 + 0.1 * number) for number, (atom, host) in enumerate(ends.items())]
    system = openmm.System()
    for _ in range(5):
        system.addParticle(1.0)
    kept = [atom for atom in range(5) if atom not in ends]
    order = {atom: place for place, atom in enumerate([*kept, *ends])}
    model = true_model(order)
    for force in model.create_forces(kept, links):
        system.addForce(force)
    return system, links


@pytest.mark.parametrize("ends", [{4: 2}, {0: 1}, {4: 2, 3: 2}, {0: 1, 4: 2}])
def test_link_atoms(ends: dict[int, int]) -> None:
    """Energy of the atoms at the places of the link atoms; forces by the chain rule."""
    system, links = linked(ends)
    plain = openmm.System()
    for _ in range(5):
        plain.addParticle(1.0)
    for force in true_model().create_forces(range(5)):
        plain.addForce(force)
    x = positions(1)[0]
    placed = x.copy()
    for link in links:
        placed[link.mmParticle] = x[link.qmParticle] + link.ratio * (x[link.mmParticle] - x[link.qmParticle])
    energy, forces = energy_and_forces(system, x)
    expected_energy, expected = energy_and_forces(plain, placed)
    # OpenMM drops the constants of the dihedrals, which are the same in both.
    assert energy == pytest.approx(expected_energy, abs=1e-8)
    for link in links:
        on_link = expected[link.mmParticle].copy()
        expected[link.mmParticle] = link.ratio * on_link
        expected[link.qmParticle] += (1 - link.ratio) * on_link
    np.testing.assert_allclose(forces, expected, atol=1e-7)


def test_a_link_atom_elsewhere_is_refused() -> None:
    with pytest.raises(BondedFitError, match=r"atom 4, a link atom of this region, in a term with the atoms \[2, 4\]"):
        true_model().create_forces([0, 1, 2, 3], [LinkAtom(0, 7, 0.7)])


def test_pairs_are_two_or_three_bonds_apart() -> None:
    assert internal.find_pairs(BONDS).tolist() == [[0, 2], [0, 3], [0, 4], [1, 3], [1, 4], [3, 4]]
    ring = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])
    # In a five-membered ring nothing is three bonds away by the shortest way.
    assert internal.find_pairs(ring).tolist() == [[0, 2], [0, 3], [1, 3], [1, 4], [2, 4]]


def true_model(order: Mapping[int, int] | None = None) -> BondedFit:
    """A potential of the form that is fitted, of the atoms in this or another order (atom -> place)."""
    bonds = [[i, j, 0.12, 0.0, 150000.0, -300000.0, 500000.0] for i, j in BONDS.tolist()]
    angles = [[*row, 1.9, 3.0, 250.0, -60.0] for row in internal.find_angles(BONDS).tolist()]
    dihedrals = [[*row, 4.0, 1.0, -3.0, 2.0, 0.5, -1.0] for row in internal.find_dihedrals(BONDS).tolist()]
    pairs = [[*row, 0.25, 100.0, 5000.0] for row in internal.find_pairs(BONDS).tolist()]
    numbers = (1, 6, 6, 1, 1)
    if order is not None:
        numbers = tuple(numbers[atom] for atom in order)
        for rows, atoms in ((bonds, 2), (angles, 3), (dihedrals, 4), (pairs, 2)):
            for row in rows:
                row[:atoms] = [order[atom] for atom in row[:atoms]]
    return BondedFit(numbers, bonds, angles, dihedrals, pairs)


def system_of(model: BondedFit, particles: list[int], size: int) -> openmm.System:
    system = openmm.System()
    for _ in range(size):
        system.addParticle(1.0)
    for force in model.create_forces(particles):
        system.addForce(force)
    return system


def write_frames(
    path: Path, frames: int, environment: bool = False, numbers: tuple[int, ...] = (1, 6, 6, 1, 1)
) -> Path:
    region = RegionDescription(np.array(numbers), np.ones(5), BONDS, 0, 1, {"method": "test"})
    system = system_of(true_model(), list(range(5)), 5)
    field = Environment(np.zeros(5), np.zeros((5, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)))
    with FrameWriter(path, region, environment=environment) as writer:
        for index, x in enumerate(positions(frames)):
            energy, forces = energy_and_forces(system, x)
            labels = (np.zeros(5), np.zeros(3), index % 10, 0.1, 300.0)
            writer.append(Frame(x, energy, forces, *labels, environment=field if environment else None))
    return path


def test_a_potential_of_its_own_form_is_found_again(tmp_path: Path) -> None:
    result = fit_bonded([write_frames(tmp_path / "frames.h5", 300)], 1000, lambda text: None)
    assert result.test_error is not None
    system, fitted = (system_of(model, list(range(5)), 5) for model in (true_model(), result.model))
    size, error = [], []
    for x in positions(5, seed=7):
        _, expected = energy_and_forces(system, x)
        _, found = energy_and_forces(fitted, x)
        size.append(np.mean(expected**2))
        error.append(np.mean((found - expected) ** 2))
    # The ridge keeps it from being exact.
    assert np.sqrt(np.mean(error) / np.mean(size)) < 0.01
    assert result.test_error < 0.02 * np.sqrt(np.mean(size))


def test_file_round_trip_and_particles(tmp_path: Path) -> None:
    model = true_model()
    model.write(tmp_path / "base.json")
    copy = BondedFit.read(tmp_path / "base.json")
    assert copy == model
    x = positions(1)[0]
    scattered = np.random.default_rng(5).normal(size=(9, 3))
    particles = [2, 8, 3, 5, 0]
    scattered[particles] = x
    here, forces = energy_and_forces(system_of(model, list(range(5)), 5), x)
    there, scattered_forces = energy_and_forces(system_of(copy, particles, 9), scattered)
    assert there == pytest.approx(here)
    np.testing.assert_allclose(scattered_forces[particles], forces)
    with pytest.raises(BondedFitError, match="for 5 atoms"):
        model.create_forces([1, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{", "not valid JSON"),
        ('{"schema": "other"}', "not a bonded fit"),
        (
            '{"schema": "kstep-bonded-fit", "version": 2, "numbers": [1], "bonds": [[0, 7, 1, 1, 1, 1, 1]], '
            '"angles": [], "dihedrals": [], "pairs": [], "about": {}}',
            "atoms that the region does not have",
        ),
    ],
)
def test_bad_files(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "base.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BondedFitError, match=message):
        BondedFit.read(path)


def test_bad_frames(tmp_path: Path) -> None:
    wet = write_frames(tmp_path / "wet.h5", 3, environment=True)
    dry = write_frames(tmp_path / "dry.h5", 3)
    other = write_frames(tmp_path / "other.h5", 3, numbers=(6, 6, 6, 1, 1))
    for files, message in (([wet], "in an environment"), ([dry, other], "atomic numbers differ"), ([], "no frames")):
        with pytest.raises(BondedFitError, match=message):
            fit_bonded(files, 100, lambda text: None)


def test_mixed_system_takes_it(ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    shipped = EXAMPLES / "alanine_dipeptide" / "ala2-base.json"
    potential = QMMMPotential("gfn2-xtb")
    mixed = potential.createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, baseLevel=shipped)
    names = {force.getName() for force in mixed.getForces() if force.getForceGroup() == force_groups.BASE_LEVEL}
    assert names == {"BaseBonds", "BaseAngles", "BaseDihedrals", "BasePairs"}
    _, fitted = energy_and_forces(mixed, ala2.positions, {force_groups.BASE_LEVEL})
    _, qm = energy_and_forces(mixed, ala2.positions, {force_groups.QM})
    force_field = potential.createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, baseLevel="force-field")
    _, terms = energy_and_forces(force_field, ala2.positions, {force_groups.BASE_LEVEL})
    assert np.sqrt(np.mean((fitted - qm) ** 2)) < 0.4 * np.sqrt(np.mean((terms - qm) ** 2))
    foreign = tmp_path / "foreign.json"
    true_model().write(foreign)
    with pytest.raises(BondedFitError, match="was fitted for"):
        potential.createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms, baseLevel=foreign)
