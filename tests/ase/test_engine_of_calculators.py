"""Calculators of ASE as a QM engine: the numbers are theirs, and what they cannot do is refused in time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import openmm
import pytest
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from numpy.typing import NDArray
from openmm import app

from openmmkstep import EmbeddingCharges, QMMMForce, QMMMPotential, SinglePoint
from openmmkstep.ase import QMCalculator
from openmmkstep.engines import registry
from openmmkstep.engines.ase import calculators
from openmmkstep.engines.ase.calculators import register_calculator
from openmmkstep.engines.ase.conversion import ENERGY, FORCE, LENGTH
from openmmkstep.engines.protocol import EngineError
from tests.suites.engine import EngineProperties
from tests.support.ase.systems import ethanol
from tests.support.engines.polarizable import Polarizable
from tests.support.packages import Install, install
from tests.support.platforms import reference

__all__ = ["install", "reference"]

Array = NDArray[np.float64]

NO_CHARGES = np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=bool)


@pytest.fixture(autouse=True)
def clean_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculators, "_registered", {})
    monkeypatch.setattr(registry, "_registered", {"polarizable": Polarizable})
    register_calculator("polarizable", lambda **more: QMCalculator("polarizable", stiffness=3e5, **more))


class TestACalculatorWithEmbed(EngineProperties):
    """All that an engine must do, but for the potentials at the charges, which ASE does not tell."""

    name = "ase"
    # ASE takes atoms for unmoved that moved by less than 1e-15 A, and all numbers are converted twice.
    symmetry = 1e-8

    def settings(self) -> dict[str, Any]:
        return {"calculator": "Polarizable", "state": "arguments"}

    def numbers(self) -> list[int]:
        return [8, 1, 1]

    def geometry(self) -> Array:
        return np.array([[0.0, 0.0, 0.0], [0.099, 0.002, 0.0], [-0.024, 0.093, 0.01]])

    def compute(
        self, positions: Any = None, places: Any = None, values: Any = None, needed: Any = None, engine: Any = None
    ) -> Any:
        count = len(self.charges()[1] if values is None else values)
        return super().compute(positions, places, values, np.zeros(count, dtype=bool), engine)

    def assert_alike(self, actual: Any, expected: Any, tolerance: float) -> None:
        for name in ("energy", "gradient", "charge_gradient", "atomic_charges", "dipole"):
            self.assert_same(getattr(actual, name), getattr(expected, name), tolerance, name)

    def test_potential_at_the_charges(self) -> None:
        with pytest.raises(EngineError, match="needs the potential of the molecule at the charges"):
            self.engine().compute(self.geometry(), *self.charges(), np.ones(5, dtype=bool))

    def test_dipole_and_units(self) -> None:
        """Of the engine behind the calculator, which has passed this test itself."""
        direct = SinglePoint("polarizable", self.numbers(), self.charge, self.multiplicity, stiffness=3e5)
        expected, actual = direct.compute(self.geometry(), *self.charges()), self.compute()
        assert actual.energy == pytest.approx(expected.energy, rel=1e-12)
        np.testing.assert_allclose(actual.gradient, -expected.forces, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(actual.charge_gradient, -expected.charge_forces, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(actual.dipole, expected.dipole, rtol=0, atol=1e-12)
        np.testing.assert_allclose(actual.atomic_charges, expected.atomic_charges, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("period", [0], ids=["none"])
    def test_potentials_are_where_they_are_asked_for(self, period: int) -> None:
        assert np.isnan(self.compute().potential_at_charges).all()

    def assert_same(self, actual: Any, expected: Any, tolerance: float, what: str) -> None:  # type: ignore[override]
        if what != "potential_at_charges":
            super().assert_same(actual, expected, tolerance, what)

    def test_arguments_are_only_read(self) -> None:
        arguments = [self.geometry(), *self.charges(), np.zeros(5, dtype=bool)]
        copies = [argument.copy() for argument in arguments]
        self.engine().engine.compute(*arguments)  # type: ignore[arg-type]
        for argument, copy in zip(arguments, copies, strict=True):
            np.testing.assert_array_equal(argument, copy)

    def test_answers_are_not_taken_back(self) -> None:
        engine, unasked = self.engine().engine, np.zeros(5, dtype=bool)
        first = engine.compute(self.geometry(), *self.charges(), unasked)
        arrays = [value for value in vars(first).values() if isinstance(value, np.ndarray)]
        copies = [array.copy() for array in arrays]
        engine.compute(*self.another(5), unasked)
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
        for array in arrays:
            array[...] = np.nan
        self.assert_alike(engine.compute(self.geometry(), *self.charges(), unasked), self.compute(), self.start)


class TestInACell(TestACalculatorWithEmbed):
    """The molecule's place in space does not matter, also for the dipole moment of an ion."""

    charge = 1
    multiplicity = 2

    def settings(self) -> dict[str, Any]:
        return {"calculator": "polarizable", "state": "arguments", "cell": [2.0, 2.1, 2.2]}


def test_numbers_are_those_of_ase() -> None:
    atoms = ethanol()
    atoms.calc = EMT()
    result = SinglePoint("ase", atoms.numbers, calculator="emt").compute(atoms.positions / LENGTH)
    assert result.energy == pytest.approx(atoms.get_potential_energy() / ENERGY, rel=1e-13)
    np.testing.assert_allclose(result.forces, atoms.get_forces() / FORCE, rtol=1e-12, atol=1e-9)
    assert np.isnan(result.atomic_charges).all() and np.isnan(result.dipole).all() and result.orbitals is None


def context_of(force: openmm.Force, particles: int, platform: openmm.Platform) -> openmm.Context:
    system = openmm.System()
    for _ in range(particles):
        system.addParticle(1.0)
    system.addForce(force)
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


def test_a_calculator_with_embed_in_a_context(reference: openmm.Platform) -> None:
    """The engine in C++, and the same one behind two layers of ASE."""
    register_calculator("xtb", lambda charge, multiplicity: QMCalculator(charge=charge, multiplicity=multiplicity))
    atoms = ethanol()
    positions = np.concatenate([atoms.positions / LENGTH, [[0.5, 0.1, 0.0], [-0.1, 0.5, 0.3]]])
    surroundings = EmbeddingCharges([9, 10], [0.6, -0.7])
    states = []
    for engine, settings in (("gfn2-xtb", {}), ("ase", {"calculator": "xtb"})):
        force = QMMMForce(
            range(9), atoms.numbers, engine, settings=settings, charge=1, multiplicity=2, embeddingCharges=surroundings
        )
        context = context_of(force, 11, reference)
        context.setPositions(positions)
        states.append(context.getState(energy=True, forces=True))
    native, behind = states
    assert behind.getPotentialEnergy()._value == pytest.approx(native.getPotentialEnergy()._value, rel=1e-12)
    forces = [state.getForces(asNumpy=True)._value for state in states]
    np.testing.assert_allclose(forces[1], forces[0], rtol=0, atol=1e-8 * np.abs(forces[0]).max())
    assert np.abs(forces[0][9:]).max() > 10


def water_with_methane() -> tuple[app.Topology, openmm.System]:
    topology = app.Topology()
    chain = topology.addChain()
    element = app.Element.getBySymbol
    system, nonbonded = openmm.System(), openmm.NonbondedForce()
    for name, symbols in (("HOH", "OHH"), ("CH4", "CHHHH")):
        residue = topology.addResidue(name, chain)
        atoms = [topology.addAtom(f"{s}{i}", element(s), residue) for i, s in enumerate(symbols)]
        for other in atoms[1:]:
            topology.addBond(atoms[0], other)
        for atom in atoms:
            system.addParticle(atom.element.mass)
            nonbonded.addParticle(0.1 if atom.element.symbol == "H" else -0.1 * (len(atoms) - 1), 0.3, 0.4)
        for i in range(len(atoms)):
            for j in range(i):
                nonbonded.addException(atoms[i].index, atoms[j].index, 0, 1, 0)
    system.addForce(nonbonded)
    return topology, system


def test_mechanical_embedding_is_for_all_and_electrostatic_for_some() -> None:
    topology, system = water_with_methane()
    emt = QMMMPotential("ase", calculator="emt")
    emt.createMixedSystem(topology, system, range(3), embedding="mechanical")
    with pytest.raises(EngineError, match=r"'emt' takes no point charges .*: use embedding='mechanical'"):
        emt.createMixedSystem(topology, system, range(3))
    embeddable = QMMMPotential("ase", calculator="polarizable", state="parameters")
    embeddable.createMixedSystem(topology, system, range(3))
    with pytest.raises(EngineError, match=r"switched off with the distance.*Give no cut-off, or use embedding='mech"):
        embeddable.createMixedSystem(topology, system, range(3), cutoff=0.9)
    # Of a class it is known without making one.
    register_calculator("class", EMT)
    with pytest.raises(EngineError, match="'class' takes no point charges"):
        QMMMPotential("ase", calculator="class").createMixedSystem(topology, system, range(3))


def test_charges_by_hand_are_refused_when_they_come() -> None:
    engine = registry.create_engine("ase", '{"calculator": "emt"}', [8, 1, 1], 0, 1)
    x = molecule("H2O").positions / LENGTH
    engine.compute(x, *NO_CHARGES)
    with pytest.raises(EngineError, match="'emt' takes no point charges"):
        engine.compute(x, np.ones((1, 3)), np.ones(1), np.zeros(1, dtype=bool))


class Told(Calculator):
    """Remembers what it was told of charge and spin; its free energy is not its energy."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's own type)
    default_parameters = {"charge": 7, "multiplicity": 8}  # noqa: RUF012 (ASE's own type)
    last: Told

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        Told.last = self
        self.results = {"energy": 1.0, "free_energy": 2.0, "forces": np.zeros((len(self.atoms), 3))}


def told(factory: Any = Told, numbers: Any = (8, 1), charge: int = -1, multiplicity: int = 1, **settings: Any) -> Told:
    register_calculator("told", factory)
    SinglePoint("ase", numbers, charge, multiplicity, calculator="told", **settings).compute([[0, 0, 0], [0.1, 0, 0]])
    return Told.last


def test_charge_and_spin_are_told() -> None:
    by_arguments = told(state="arguments").parameters
    assert (by_arguments["charge"], by_arguments["multiplicity"]) == (-1, 1)
    by_name = told(lambda charge, multiplicity: Told(charge=charge, multiplicity=multiplicity)).parameters
    assert (by_name["charge"], by_name["multiplicity"]) == (-1, 1)
    atoms = told(charge=0, multiplicity=4, state="atoms").atoms
    assert atoms.get_initial_charges().sum() == pytest.approx(0)
    assert atoms.get_initial_magnetic_moments().sum() == pytest.approx(3)
    atoms = told(state="atoms").atoms
    assert atoms.get_initial_charges().sum() == pytest.approx(-1)
    assert told(state="parameters", parameters={"charge": -1}).parameters["multiplicity"] == 8
    with pytest.raises(EngineError, match="charge -1 and the multiplicity 1, and nothing says how"):
        told()


def test_the_energy_is_that_of_the_forces() -> None:
    register_calculator("told", Told)
    energy = SinglePoint("ase", [2], calculator="told").compute([[0, 0, 0]]).energy
    assert energy == pytest.approx(2.0 / ENERGY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calculator": "orca"}, r"'orca' of ASE starts programs or reads files.*register_calculator\('orca'\) first"),
        ({"calculator": "lammpslib"}, "starts programs or reads files"),
        ({"calculator": "em"}, "no calculator 'em' is known in this process: did you mean 'emt'"),
        ({"calculator": "os:system"}, "no calculator 'os:system' is known"),
        ({"calculator": ""}, "must be a text"),
        ({"calculator": 3}, "must be a text"),
        ({"calculator": "emt", "parameters": {"restart": "x"}}, "takes the parameters asap_cutoff here, not 'restart'"),
        ({"calculator": "polarizable", "parameters": {"command": "ls"}}, "'command' is not taken from settings"),
        ({"calculator": "emt", "parameters": [1]}, "must be a mapping"),
        ({"calculator": "emt", "state": "guess"}, "state must be one of arguments, atoms, parameters"),
        ({"calculator": "emt", "cell": [1, 2]}, "cell must be three positive lengths"),
        ({"calculator": "emt", "cell": [1, 2, -1]}, "cell must be three positive lengths"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        QMMMPotential("ase", **settings)


def test_calculators_that_fail() -> None:
    register_calculator("broken", lambda: 1 / 0)
    with pytest.raises(EngineError, match=r"'broken' cannot be made of {}: ZeroDivisionError"):
        SinglePoint("ase", [2], calculator="broken")

    class Energies(EMT):
        implemented_properties = ["energy"]  # noqa: RUF012 (ASE's own type)

    register_calculator("energies", Energies)
    with pytest.raises(EngineError, match="'energies' gives no forces"):
        SinglePoint("ase", [2], calculator="energies")
    with pytest.raises(EngineError, match="NotImplementedError: No EMT-potential for He"):
        SinglePoint("ase", [2], calculator="emt").compute([[0, 0, 0]])
    with pytest.raises(EngineError, match=r"outside of the cell \[0.1, 0.1, 0.1\] nm: make it larger"):
        SinglePoint("ase", [1, 1], calculator="emt", cell=[0.1] * 3).compute([[0, 0, 0], [0, 0, 0.2]])


def test_names() -> None:
    assert {"emt", "lj", "morse", "polarizable"} <= set(calculators.names())
    register_calculator("ORCA")
    assert calculators.find("Orca").name == "orca"
    with pytest.raises(EngineError, match="ASE has no calculator 'orcas'"):
        register_calculator("orcas")
    with pytest.raises(EngineError, match="must be a class or function"):
        register_calculator("three", 3)  # type: ignore[arg-type]


def test_calculators_of_packages(install: Install) -> None:
    module = "from ase.calculators.emt import EMT as Calculator\nnumber = 3\n"
    offered = {"Metals": "of_metals:Calculator", "number": "of_metals:number", "absent": "of_metals:Absent"}
    install("of-metals", offered, module, calculators.ENTRY_POINT_GROUP)
    atoms = molecule("H2O")
    atoms.calc = EMT()
    result = SinglePoint("ase", atoms.numbers, calculator="metals").compute(atoms.positions / LENGTH)
    assert result.energy == pytest.approx(atoms.get_potential_energy() / ENERGY, rel=1e-13)
    with pytest.raises(EngineError, match=r"of-metals \(of_metals:number\) is neither a class nor a function"):
        QMMMPotential("ase", calculator="number")
    with pytest.raises(EngineError, match=r"'absent' of the package of-metals .* cannot be loaded"):
        QMMMPotential("ase", calculator="absent")


def test_settings_survive_a_file(reference: openmm.Platform) -> None:
    atoms = molecule("H2O")
    force = QMMMForce(range(3), atoms.numbers, "ase", settings={"calculator": "emt", "parameters": {}})
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force))
    energies = []
    for each in (force, copy):
        context = context_of(each, 3, reference)
        context.setPositions(atoms.positions / LENGTH)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies[0] == energies[1]


def test_without_ase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ase.calculators.calculator", None)
    with pytest.raises(EngineError, match=r"the engine 'ase' needs ASE, .*: pip install 'openmm-kstep\[ase\]'"):
        QMMMPotential("ase", calculator="emt")
