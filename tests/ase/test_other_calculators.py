"""Systems of OpenMM and exported potentials as calculators of ASE."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculatorSetupError
from ase.calculators.qmmm import EIQMMM, LJInteractions, SimpleQMMM
from ase.calculators.tip3p import epsilon0, sigma0
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep import TorchScriptForce
from openmmkstep.ase import KStepDynamics, OpenMMCalculator, QMCalculator, SurrogateCalculator
from openmmkstep.engines.ase.conversion import ENERGY, FORCE, LENGTH
from openmmkstep.surrogates.suitability import SurrogateError
from tests.support.ase.systems import FOUR_PLACES, forces_by_differences, heat, waters
from tests.support.models.archives import COUPLED, Coupled, archive, contract
from tests.support.qmmm.molecules import make_topology, water_box

Array = NDArray[np.float64]


def water_topology(count: int) -> app.Topology:
    return make_topology([("HOH", ("O", "H", "H"), ((0, 1), (0, 2)))] * count)


def water_system(count: int, **options: Any) -> openmm.System:
    arguments = {"constraints": None, "rigidWater": False, **options}
    topology = water_topology(count)
    for residue in topology.residues():
        for atom, name in zip(residue.atoms(), ("O", "H1", "H2"), strict=True):
            atom.name = name
    return app.ForceField("amber14/tip3p.xml").createSystem(topology, **arguments)


def state_of(system: openmm.System, positions: Array) -> tuple[float, Array]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.computeVirtualSites()
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def test_a_force_field_without_box() -> None:
    atoms, system = waters(FOUR_PLACES), water_system(4)
    atoms.calc = OpenMMCalculator(system, "Reference")
    energy, forces = state_of(system, atoms.positions / LENGTH)
    assert atoms.get_potential_energy() == pytest.approx(energy * ENERGY, rel=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), forces * FORCE, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), forces_by_differences(atoms), rtol=0, atol=1e-6)
    atoms.positions[0] += 0.1
    assert atoms.get_potential_energy() != pytest.approx(energy * ENERGY)


@pytest.mark.parametrize(("force_field", "model"), [("amber14/tip3p.xml", "tip3p"), ("amber14/tip4pew.xml", "tip4pew")])
def test_a_box_with_and_without_virtual_sites(force_field: str, model: str) -> None:
    box = water_box(1.8, force_field, model)
    system = box.create_system(constraints=None, rigidWater=False)
    real = [i for i in range(system.getNumParticles()) if not system.isVirtualSite(i)]
    energy, forces = state_of(system, box.positions)
    symbols = [atom.element.symbol for atom in box.topology.atoms() if atom.element is not None]
    edges = [vector.value_in_unit(unit.angstrom) for vector in box.topology.getPeriodicBoxVectors()]
    atoms = Atoms(symbols, box.positions[real] * LENGTH, cell=np.array(edges), pbc=True)
    atoms.calc = OpenMMCalculator(system, "Reference")
    # PME in double precision, from positions converted to A and back.
    assert atoms.get_potential_energy() == pytest.approx(energy * ENERGY, rel=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces[real] * FORCE, rtol=0, atol=1e-6)
    wider = atoms.copy()
    wider.calc = atoms.calc
    wider.set_cell(atoms.cell * 1.05)
    assert abs(wider.get_potential_energy() - energy * ENERGY) > 0.1


def test_groups() -> None:
    system, atoms = water_system(4), waters(FOUR_PLACES)
    for index, force in enumerate(system.getForces()):
        force.setForceGroup(index)
    parts = []
    for index in range(system.getNumForces()):
        atoms.calc = OpenMMCalculator(system, "Reference", groups=[index])
        parts.append(atoms.get_potential_energy())
    atoms.calc = OpenMMCalculator(system, "Reference")
    assert atoms.get_potential_energy() == pytest.approx(sum(parts))


def test_constraints_are_handed_on() -> None:
    system = water_system(4, rigidWater=True)
    with pytest.raises(CalculatorSetupError, match=r"holds 12 distances by constraints.*or pass constrained=True"):
        OpenMMCalculator(system)
    atoms = waters(FOUR_PLACES)
    atoms.calc = OpenMMCalculator(system, "Reference", constrained=True)
    atoms.set_constraint(atoms.calc.get_constraint())
    # Of TIP3P: 0.9572 and 1.5139 A.
    assert sorted(set(np.round(atoms.calc.get_constraint().bondlengths, 3))) == [0.957, 1.514]
    atoms.set_positions(atoms.positions)
    heat(atoms, 200, seed=1)
    lengths = atoms.get_all_distances()[0, 1:3]
    KStepDynamics(atoms, 0.1, 1).run(20)
    np.testing.assert_allclose(atoms.get_all_distances()[0, 1:3], lengths, rtol=0, atol=1e-9)


def test_as_mm_part_of_simple_qmmm() -> None:
    atoms = waters(FOUR_PLACES)
    qm = QMCalculator("gfn2-xtb", accuracy=1e-3)
    one, all_of_them = (OpenMMCalculator(water_system(count), "Reference") for count in (1, 4))
    atoms.calc = SimpleQMMM([0, 1, 2], qm, one, all_of_them)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())


def test_as_mm_part_of_eiqmmm() -> None:
    atoms = waters(FOUR_PLACES)
    qm, mm = QMCalculator("gfn2-xtb", accuracy=1e-3), OpenMMCalculator(water_system(3), "Reference")
    atoms.calc = EIQMMM([0, 1, 2], qm, mm, LJInteractions({("O", "O"): (epsilon0, sigma0)}))
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-5 * np.abs(forces).max())
    np.testing.assert_allclose(mm.get_virtual_charges(atoms)[:3], [-0.834, 0.417, 0.417])


def test_systems_that_do_not_fit() -> None:
    atoms = waters(FOUR_PLACES)
    atoms.calc = OpenMMCalculator(water_system(3), "Reference")
    with pytest.raises(CalculatorSetupError, match=r"System has 9 particles .* and there are 12 atoms"):
        atoms.get_potential_energy()
    atoms.calc = OpenMMCalculator(water_system(4), "Reference")
    atoms.pbc = True
    with pytest.raises(CalculatorSetupError, match=r"System is not periodic, .*set atoms\.pbc = False"):
        atoms.get_potential_energy()
    box = water_box(1.8)
    system = box.create_system(constraints=None, rigidWater=False)
    symbols = [atom.element.symbol for atom in box.topology.atoms()]
    periodic = Atoms(symbols, box.positions * LENGTH, cell=[18, 18, 18])
    periodic.calc = OpenMMCalculator(system, "Reference")
    with pytest.raises(CalculatorSetupError, match=r"System is periodic, .*set atoms\.pbc = True and a cell"):
        periodic.get_potential_energy()
    periodic.pbc = True
    periodic.set_cell([[0, 18, 0], [18, 0, 0], [0, 0, 18]])
    with pytest.raises(CalculatorSetupError, match="first vector along x"):
        periodic.get_potential_energy()


# Exported potentials.

LEVEL = {"level_of_theory": {"method": "gfn2-xtb"}, "training_data": {"digest": "none"}}


@pytest.fixture
def coupled(tmp_path: Path) -> Path:
    path = tmp_path / "coupled.pt"
    path.write_bytes(archive(Coupled(), contract(**COUPLED, **LEVEL)))
    return path


def test_an_archive_is_that_of_the_plugin(coupled: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    atoms.calc = SurrogateCalculator(coupled)
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(TorchScriptForce(coupled, range(3), atoms.numbers))
    energy, forces = state_of(system, atoms.positions / LENGTH)
    assert atoms.get_potential_energy() == pytest.approx(energy * ENERGY, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), forces * FORCE, rtol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), forces_by_differences(atoms), rtol=0, atol=1e-7)


def test_an_archive_in_water(coupled: Path) -> None:
    atoms = waters(FOUR_PLACES)
    mm = OpenMMCalculator(water_system(3), "Reference")
    surrogate = SurrogateCalculator(coupled)
    atoms.calc = EIQMMM([0, 1, 2], surrogate, mm, LJInteractions({("O", "O"): (epsilon0, sigma0)}))
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, forces_by_differences(atoms), rtol=0, atol=1e-6 * np.abs(forces).max())
    alone = atoms[:3]
    alone.calc = SurrogateCalculator(coupled)
    assert np.abs(alone.get_forces() - surrogate.results["forces"]).max() > 1e-3


def test_an_archive_below_a_qm_method(coupled: Path) -> None:
    atoms = molecule("H2O")
    heat(atoms, 100, seed=1)
    atoms.calc = QMCalculator("gfn2-xtb")
    dynamics = KStepDynamics(atoms, 0.02, 2, SurrogateCalculator(coupled), max_correction=1e3)
    dynamics.run(10)
    assert dynamics.statistics.top_calls == 11 and dynamics.statistics.fallbacks == 0


def test_archives_that_do_not_fit(coupled: Path, tmp_path: Path) -> None:
    with pytest.raises(SurrogateError, match="cannot be used"):
        SurrogateCalculator(tmp_path / "absent.pt")
    blind = tmp_path / "blind.pt"
    blind.write_bytes(archive(Coupled(), contract(**LEVEL)))
    with pytest.raises(CalculatorSetupError, match="would be blind to point charges"):
        SurrogateCalculator(blind).embed([0.1])
    atoms = Atoms("Cl2", [[0, 0, 0], [0, 0, 2]])
    atoms.calc = SurrogateCalculator(coupled)
    with pytest.raises(SurrogateError, match="does not fit these atoms"):
        atoms.get_potential_energy()
    water = molecule("H2O", vacuum=3, pbc=True)
    water.calc = SurrogateCalculator(coupled)
    with pytest.raises(CalculatorSetupError, match="surrogate calculates molecules"):
        water.get_potential_energy()


@pytest.mark.parametrize("kind", ["qm", "archive", "system"])
def test_copies_calculate_on_their_own(coupled: Path, kind: str) -> None:
    """As ASE's parallel tools and pickle want it."""
    atoms = waters(FOUR_PLACES[:1])
    makers: dict[str, Any] = {
        "qm": lambda: QMCalculator("gfn2-xtb"),
        "archive": lambda: SurrogateCalculator(coupled),
        "system": lambda: OpenMMCalculator(water_system(1), "Reference"),
    }
    atoms.calc = makers[kind]()
    energy = atoms.get_potential_energy()
    for duplicate in (copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):
        other = atoms.copy()
        other.calc = duplicate
        other.positions[0] += 0.1
        moved = other.get_potential_energy()
        other.positions[0] -= 0.1
        assert other.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        assert moved != pytest.approx(energy, abs=1e-3)
