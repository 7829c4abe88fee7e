"""Dynamics of an enzyme: chorismate in chorismate mutase, GFN2-xTB in the field of all charges, a QM call per step."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import KStepIntegrator, QMMMPotential


@pytest.mark.slow
def test_hundred_outer_steps(chorismate_mutase, record_property):
    """The substrate is the QM region: 24 atoms, charge -2. What lies beyond 2 nm of it is fixed, as in Amber."""
    prmtop = app.AmberPrmtopFile(str(chorismate_mutase / "wt.sp20.prmtop"))
    restart = app.AmberInpcrdFile(str(chorismate_mutase / "md1.rst7"))
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    positions = np.array(restart.positions.value_in_unit(unit.nanometer))
    substrate = [atom.index for atom in prmtop.topology.atoms() if atom.residue.name == "CHO"]
    centre = positions[substrate].mean(axis=0)
    fixed = set()
    for residue in prmtop.topology.residues():
        members = [atom.index for atom in residue.atoms()]
        if np.linalg.norm(positions[members] - centre, axis=1).min() > 2.0:
            fixed.update(members)
    for index in reversed(range(system.getNumConstraints())):
        i, j, _ = system.getConstraintParameters(index)
        if i in fixed and j in fixed:
            system.removeConstraint(index)
        elif i in fixed or j in fixed:
            raise AssertionError("a constraint crosses the boundary of what is fixed")
    for particle in fixed:
        system.setParticleMass(particle, 0.0)

    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(prmtop.topology, system, substrate, charge=-2)
    integrator = KStepIntegrator(300, 1, 0.0005, 1, monitoredParticles=substrate)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(mixed, integrator, platform, {"Threads": "1"})
    context.setPositions(positions)
    context.applyConstraints(1e-6)
    context.setVelocities(restart.velocities)
    context.applyVelocityConstraints(1e-6)
    integrator.step(1)
    start = integrator.getStatistics()
    integrator.step(100)
    end = integrator.getStatistics()

    parts = {
        "QM": end.qmTime - start.qmTime,
        "MM": end.commonTime - start.commonTime,
        "integrator": end.integratorTime - start.integratorTime,
    }
    for name, seconds in parts.items():
        record_property(f"{name}_ms_per_step", round(10 * seconds, 2))
        print(f"{name}: {10 * seconds:.1f} ms per step")
    assert end.qmCalls - start.qmCalls == 100
    assert end.fallbacks == 0
    # The substrate starts from a force-field geometry, so heat flows; the balance must close all the same.
    assert abs(end.cumulativeEnergyError - start.cumulativeEnergyError) < 0.01 * 1.5 * 8.314e-3 * 300 * len(positions)
    assert np.isfinite(context.getState(positions=True).getPositions(asNumpy=True)._value).all()
