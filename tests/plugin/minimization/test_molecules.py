"""Minima of GFN2-xTB, of molecules alone, among rigid waters and with a link atom."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import minimize
from tests.support.qmmm.minimizing import (
    energy_of,
    positions_of,
    root_mean_square_force,
)
from tests.support.qmmm.systems import ETHANOL, ETHANOL_NUMBERS, make_case


@pytest.mark.parametrize("how", ["minimize", "LocalEnergyMinimizer", "Simulation"])
def test_a_small_molecule_from_a_good_geometry(platform, how):
    """OpenMM's minimiser begins with a step of 1 nm, at which no calculation converges."""
    case = make_case(platform=platform.getName())
    before = case.energy()
    if how == "minimize":
        result = minimize(case.context)
        assert result.energyBefore._value == pytest.approx(before, abs=1e-6)
        assert result.qmCalls == case.force.getNumCalls(case.context) - 1 < 60
        assert result.energyAfter._value == case.context.getState(energy=True).getPotentialEnergy()._value
    elif how == "LocalEnergyMinimizer":
        openmm.LocalEnergyMinimizer.minimize(case.context, 10)
    else:
        system = openmm.XmlSerializer.clone(case.context.getSystem())
        simulation = app.Simulation(app.Topology(), system, openmm.VerletIntegrator(0.001), platform)
        simulation.context.setPositions(case.positions)
        simulation.minimizeEnergy()
        case.context.setPositions(positions_of(simulation.context))
    # To 10 kJ/mol/nm, within 0.01 kJ/mol of the energy to which a tighter tolerance leads.
    assert root_mean_square_force(case.context) < 10
    after = energy_of(case.context)
    assert after < before - 1
    minimize(case.context, 0.5)
    assert after == pytest.approx(energy_of(case.context), abs=0.05)


WATER = [[0, 0, 0], [0.09572, 0, 0], [-0.023999, 0.092663, 0]]
METHYL = [[0, 0, 0], [0.1079, 0, 0], [-0.054, 0.0934, 0], [-0.054, -0.0934, 0]]
INPUTS = {
    "water": ([8, 1, 1], WATER, 0, 1),
    "stretched by half": ([8, 1, 1], np.array(WATER) * 1.5, 0, 1),
    "hydrogen": ([1, 1], [[0, 0, 0], [0.1, 0, 0]], 0, 1),
    "anion": ([8, 1], [[0, 0, 0], [0.12, 0, 0]], -1, 1),
    "radical in a plane": ([6, 1, 1, 1], METHYL, 0, 2),
}


@pytest.mark.parametrize("name", INPUTS)
def test_other_molecules(reference, name):
    numbers, positions, charge, multiplicity = INPUTS[name]
    case = make_case(numbers=numbers, solute=np.array(positions), charge=charge, multiplicity=multiplicity)
    before = case.energy()
    result = minimize(case.context)
    assert result.energyAfter._value < before
    assert root_mean_square_force(case.context) < 10
    assert abs(positions_of(case.context) - case.positions).max() < 0.1


def test_among_rigid_waters(platform):
    """Constraints hold afterwards as they did before, and charges have moved too."""
    case = make_case(num_waters=20)
    system = openmm.XmlSerializer.clone(case.context.getSystem())
    nonbonded = openmm.NonbondedForce()
    for i in range(system.getNumParticles()):
        oxygen = i >= 9 and (i - 9) % 3 == 0
        nonbonded.addParticle(0, 0.315 if i < 9 or oxygen else 0.05, 0.6 if i < 9 or oxygen else 0.0)
    for first in range(9, system.getNumParticles(), 3):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            a, b = case.positions[first + i], case.positions[first + j]
            system.addConstraint(first + i, first + j, np.linalg.norm(a - b))
            nonbonded.addException(first + i, first + j, 0, 1, 0)
    for i in range(9):
        for j in range(i):
            nonbonded.addException(i, j, 0, 1, 0)
    system.addForce(nonbonded)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.getIntegrator().setConstraintTolerance(1e-6)
    context.setPositions(case.positions)
    result = minimize(context, maxIterations=30)
    assert result.energyAfter < result.energyBefore
    x = positions_of(context)
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length._value, rel=2e-6)
    assert abs(x[9:] - case.positions[9:]).max() > 0.01


def test_with_a_link_atom(reference):
    """The MM host of the bond moves with the link atom's force."""
    keep = [1, 2, 3, 4, 5]
    case = make_case(
        numbers=[ETHANOL_NUMBERS[i] for i in keep],
        solute=ETHANOL[keep],
        extra=[ETHANOL[0] + 0.02],
        extra_charges=[0.0],
        link_atoms=[(0, 5, 0.72)],
    )
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 5, 0.153, 2e5)
    system = openmm.XmlSerializer.clone(case.context.getSystem())
    system.addForce(bond)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(case.positions)
    result = minimize(context)
    assert result.energyAfter._value < result.energyBefore._value - 10
    assert root_mean_square_force(context) < 10
    x = positions_of(context)
    assert np.linalg.norm(x[0] - x[5]) == pytest.approx(0.153, abs=0.003)
