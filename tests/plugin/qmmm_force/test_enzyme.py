"""QMMMForce on an enzyme: chorismate in the field of all charges of chorismate mutase and its water."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import EmbeddingCharges, QMMMForce
from tests.support.engines.libxtb import single_point

BOHR = 0.0529177210903  # nm
HARTREE = 2625.4996394798254  # kJ/mol


def test_substrate_in_all_charges(chorismate_mutase, reference):
    prmtop = app.AmberPrmtopFile(str(chorismate_mutase / "wt.sp20.prmtop"))
    inpcrd = app.AmberInpcrdFile(str(chorismate_mutase / "md1.rst7"))
    positions = np.array(inpcrd.positions.value_in_unit(unit.nanometer))
    atoms = list(prmtop.topology.atoms())
    region = [atom.index for atom in atoms if atom.residue.name == "CHO"]
    numbers = [atoms[i].element.atomic_number for i in region]
    environment = [atom.index for atom in atoms if atom.residue.name != "CHO"]
    amber = prmtop.createSystem()
    nonbonded = next(force for force in amber.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = [nonbonded.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in environment]
    groups = [atoms[i].residue.index for i in environment]
    assert len(region) == 24

    system = openmm.System()
    for _ in atoms:
        system.addParticle(1.0)
    force = QMMMForce(
        region, numbers, "gfn2-xtb", charge=-2, embeddingCharges=EmbeddingCharges(environment, charges, groups)
    )
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    forces = state.getForces(asNumpy=True)._value

    centre = positions[region].mean(axis=0)
    energy, gradient, charge_gradient, atomic_charges = single_point(
        numbers,
        (positions[region] - centre) / BOHR,
        charge=-2,
        charges=charges,
        charge_positions=(positions[environment] - centre) / BOHR,
    )
    assert state.getPotentialEnergy()._value == pytest.approx(energy * HARTREE, abs=1e-8 * HARTREE)
    assert forces[region] == pytest.approx(-gradient * HARTREE / BOHR, abs=1e-2)
    assert forces[environment] == pytest.approx(-charge_gradient * HARTREE / BOHR, abs=1e-2)
    result = force.getLastResult(context)
    assert result.charges == pytest.approx(atomic_charges, abs=1e-6)
    assert result.charges.sum() == pytest.approx(-2.0, abs=1e-8)
    assert np.abs(forces.sum(axis=0)).max() < 1e-6
