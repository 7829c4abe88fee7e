"""A side chain cut at CA-CB beside the same molecule in one piece."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.qmmm.embedding.boundary_charges import CHARGE_SCHEMES
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.workflows.setup.selection import select_atoms
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import EXAMPLES

REFERENCE = openmm.Platform.getPlatformByName("Reference")


@pytest.mark.parametrize("scheme", CHARGE_SCHEMES)
def test_forces_three_bonds_from_the_cut(scheme: str) -> None:
    """Lysine: of the forces on its end, 700 kJ/mol/nm, the cut changes less than a tenth, whatever the scheme."""
    pdb = app.PDBFile(str(EXAMPLES / "side_chain" / "lysine_dipeptide.pdb"))
    system = app.ForceField("amber14-all.xml").createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    atoms = select_atoms(pdb.topology, "sidechain and resname LYS")
    potential = QMMMPotential("gfn2-xtb")
    cut = potential.createMixedSystem(pdb.topology, system, atoms, charge=1, chargeScheme=scheme)
    whole = potential.createMixedSystem(pdb.topology, system, range(system.getNumParticles()), charge=1)
    graph = MoleculeGraph(pdb.topology, system)
    (beside,) = select_atoms(pdb.topology, "name CB")
    far = [atom for atom in atoms if graph.separation(beside, atom, 1) is None]
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.001)
    integrator.setRandomNumberSeed(2)
    context = openmm.Context(system, integrator, REFERENCE)
    context.setPositions(pdb.positions)
    context.setVelocitiesToTemperature(300, 2)
    deviations, sizes = [], []
    for _ in range(6):
        integrator.step(300)
        positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        expected = energy_and_forces(whole, positions)[1][far]
        deviations.append(energy_and_forces(cut, positions)[1][far] - expected)
        sizes.append(expected)
    deviation, size = (float(np.sqrt(np.mean(np.square(values)))) for values in (deviations, sizes))
    assert size > 400
    assert deviation < 0.15 * size, f"{deviation:.0f} of {size:.0f} kJ/mol/nm"
