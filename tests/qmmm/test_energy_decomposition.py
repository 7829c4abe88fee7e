"""Parts of the energy: they sum to it, and each is what it says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import EmbeddingCharges, QMMMForce, SinglePoint, createIntegrator
from openmmkstep.qmmm.energy_decomposition import EnergyDecomposition
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.reporters import EnergyReporter
from tests.support.models.springs import write_springs
from tests.support.qmmm.cut_molecules import SIDE_CHAIN
from tests.support.qmmm.molecules import Molecule

CUT = {"cutoff": 0.8, "switchDistance": 0.6}
PME = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9}


def context_of(system: openmm.System, positions: Any) -> openmm.Context:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context


def decompose(mixed: openmm.System, positions: Any, **options: Any) -> tuple[dict[str, float], float]:
    """The parts, and the energy of the Context without the levels below the QM level."""
    context = context_of(mixed, positions)
    made = EnergyDecomposition(mixed, openmm.Platform.getPlatformByName("Reference"), **options)
    terms = made.evaluate(context)
    below = {force_groups.SURROGATE, force_groups.BASE_LEVEL}
    groups = {force.getForceGroup() for force in mixed.getForces()} - below
    energy = context.getState(energy=True, groups=groups).getPotentialEnergy()._value
    assert sum(terms[name] for name in made.summands) == pytest.approx(energy, rel=1e-9)
    return terms, energy


def lennard_jones(system: openmm.System, region: list[int], positions: np.ndarray, box: float, cutoff: float) -> float:
    """Between region and the rest, by hand: nearest images, plain cut-off."""
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    parameters = np.array([[v._value for v in force.getParticleParameters(i)] for i in range(len(positions))])
    special = {frozenset(force.getExceptionParameters(k)[:2]): k for k in range(force.getNumExceptions())}
    total = 0.0
    for i in region:
        for j in sorted(set(range(len(positions))) - set(region)):
            delta = positions[i] - positions[j]
            distance = np.linalg.norm(delta - box * np.round(delta / box))
            sigma, epsilon = (
                (parameters[i, 1] + parameters[j, 1]) / 2,
                np.sqrt(parameters[i, 2] * parameters[j, 2]),
            )
            if frozenset((i, j)) in special:
                _, _, _, s, e = force.getExceptionParameters(special[frozenset((i, j))])
                sigma, epsilon = s._value, e._value
            elif distance >= cutoff:
                continue
            power = (sigma / distance) ** 6
            total += 4 * epsilon * (power**2 - power)
    return float(total)


@pytest.mark.parametrize("region", [list(range(22)), SIDE_CHAIN], ids=["molecule", "cut"])
@pytest.mark.parametrize("far_field", ["force-field", "none"])
def test_parts_in_a_box(solvated_ala2: Molecule, region: list[int], far_field: str) -> None:
    system = solvated_ala2.create_system(**PME)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setUseDispersionCorrection(False)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, system, region, farField=far_field, splitNonbonded=True, **CUT
    )
    positions = np.asarray(solvated_ala2.positions)
    terms, _ = decompose(mixed, positions, polarisation=True)
    assert terms["lennard_jones"] == pytest.approx(lennard_jones(system, region, positions, 2.2, 0.9), rel=1e-8)
    assert (abs(terms["long_range"]) < 1e-6) == (far_field == "none")
    assert terms["qm"] == pytest.approx(terms["qm_vacuum"] + terms["permanent_coulomb"] + terms["polarisation"])
    # Water pulls at the molecule's electrons; what they yield is less than the interaction itself.
    assert terms["polarisation"] < 0
    if region == SIDE_CHAIN:
        assert terms["HarmonicBondForce"] > 0


@pytest.mark.parametrize(
    ("method", "settings"), [("gfn2-xtb", {"accuracy": 1e-3}), ("pyscf", {"xc": "hf", "basis": "sto-3g"})]
)
def test_polarisation_is_the_response_of_the_method(method: str, settings: dict[str, Any]) -> None:
    """An ammonium ion with two hydrogen bonds to water: its atomic charges by Coulomb's law would not do."""
    if method == "pyscf":
        pytest.importorskip("pyscf", reason="needs PySCF")
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) / np.sqrt(3)
    ion = np.concatenate([np.zeros((1, 3)), 0.1027 * corners])
    # The oxygen atoms of water, and its hydrogen atoms behind them in one place, at 1.7 and 2.3 angstrom.
    places = np.concatenate([ion, *[[(0.1027 + d) * corner for d in (0.17, 0.23)] for corner in corners[:2]]])
    numbers, charges = [7, 1, 1, 1, 1], np.tile([-0.834, 0.834], 2)

    system = openmm.System()
    for _ in places:
        system.addParticle(14.0)
    force = QMMMForce(range(5), numbers, method, 1, 1, settings, EmbeddingCharges(range(5, 9), charges))
    force.setForceGroup(force_groups.QM)
    system.addForce(force)
    terms, _ = decompose(system, places, polarisation=True)

    point = SinglePoint(method, numbers, 1, **settings)
    energies = {part: point.compute(ion, places[5:], part * charges).energy for part in (-0.02, 0.02, 1.0)}
    alone = point.compute(ion).energy
    permanent = (energies[0.02] - energies[-0.02]) / 0.04
    assert terms["qm_vacuum"] == pytest.approx(alone, abs=1e-3)
    assert terms["permanent_coulomb"] == pytest.approx(permanent, abs=0.05)
    assert terms["polarisation"] == pytest.approx(energies[1.0] - alone - permanent, abs=0.05)
    assert terms["polarisation"] < -1


def test_fixed_charges_are_not_polarised(solvated_ala2: Molecule) -> None:
    system = solvated_ala2.create_system(**PME)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(22)]
    mixed = QMMMPotential("test-analytic", charges=charges).createMixedSystem(
        solvated_ala2.topology, system, range(22), **CUT
    )
    terms, _ = decompose(mixed, solvated_ala2.positions, polarisation=True)
    assert terms["qm_vacuum"] == pytest.approx(0, abs=1e-9)
    assert terms["qm_coulomb"] == pytest.approx(terms["qm"], rel=1e-9)
    assert terms["polarisation"] == pytest.approx(0, abs=1e-8)


def test_levels_below(ala2: Molecule, tmp_path: Path) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, ala2.create_system(), range(22), surrogate=archive, baseLevel="force-field"
    )
    terms, energy = decompose(mixed, ala2.positions)
    assert terms["qm"] == pytest.approx(energy)
    context = context_of(mixed, ala2.positions)
    for name, group in (("surrogate", force_groups.SURROGATE), ("base_level", force_groups.BASE_LEVEL)):
        expected = context.getState(energy=True, groups={group}).getPotentialEnergy()._value
        assert terms[name] == pytest.approx(expected)


def test_reporter(solvated_ala2: Molecule, tmp_path: Path) -> None:
    """In a run, without additional QM calls."""
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, solvated_ala2.create_system(**PME), range(22), **CUT
    )
    bias = openmm.CustomBondForce("scale*r")
    bias.setName("pull")
    bias.addGlobalParameter("scale", 1.0)
    bias.addBond(0, 21)
    mixed.addForce(bias)
    integrator = createIntegrator(mixed, 300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 1)
    simulation = app.Simulation(
        solvated_ala2.topology, mixed, integrator, openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(solvated_ala2.positions)
    simulation.context.setParameter("scale", 7.0)
    simulation.reporters.append(EnergyReporter(tmp_path / "energies.csv", 2))
    simulation.step(4)
    rows = list(csv.DictReader((tmp_path / "energies.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4"]
    statistics = integrator.getStatistics()
    assert statistics.qmCalls == 5
    assert float(rows[-1]["potential_energy"]) == pytest.approx(statistics.potentialEnergy, rel=1e-8)
    ends = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value[[0, 21]]
    assert float(rows[-1]["pull"]) == pytest.approx(7 * np.linalg.norm(ends[0] - ends[1]))
