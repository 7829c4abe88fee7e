"""Alanine dipeptide in water with one QM call every 3 fs, as an ordinary OpenMM script."""

from openmm import Platform, Vec3, app, unit

from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.reporters import ProgressReporter, StatisticsReporter

pdb = app.PDBFile("alanine_dipeptide.pdb")
forceField = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
modeller = app.Modeller(pdb.topology, pdb.positions)
modeller.addSolvent(forceField, boxSize=Vec3(2.6, 2.6, 2.6) * unit.nanometer)
system = forceField.createSystem(
    modeller.topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=0.9 * unit.nanometer,
    switchDistance=0.8 * unit.nanometer,
)

mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
    modeller.topology, system, atoms=range(22), cutoff=0.85, switchDistance=0.70,
    surrogate="ala2-gfn2.pt", compileSurrogate=True, baseLevel="ala2-base.json", splitNonbonded=True,
)  # fmt: skip
integrator = createIntegrator(
    mixed, 300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 6, surrogatePeriod=2, nonbondedPeriod=3
)
simulation = app.Simulation(modeller.topology, mixed, integrator, Platform.getPlatformByName("CPU"))
simulation.context.setPositions(modeller.positions)
simulation.minimizeEnergy(maxIterations=50)
simulation.context.setVelocitiesToTemperature(300)
simulation.reporters += [ProgressReporter(10), StatisticsReporter("statistics.csv", 10)]
simulation.step(500)  # 1.5 ps for 501 QM calls
