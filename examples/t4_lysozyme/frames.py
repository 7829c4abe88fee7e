"""Training frames from a droplet cut out of the box, ten times cheaper than from the box itself.

Whole residues and waters within 1.2 nm of the region stay, those beyond 0.9 nm are fixed. Twelve trajectories of plain
QM dynamics, a picosecond each, start near the crystal structure and show how the side chains vibrate; seventy short
ones start from points 3 ps apart on a trajectory of the force field at 350 K and show where else they may be. (With the
first alone the surrogate failed in the box within half a picosecond.) Writes ``output/t4_long.h5`` and
``output/t4_short.h5``, with the charges that the region sees, for ``kstep train``, and ``output/t4_fragments.h5`` with
each of the region's four parts alone, for ``kstep fit-bonded``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from kstep_models.frames import Frame, FrameFile, FrameWriter
from openmmkstep import QMMMForce, QMMMPotential, createIntegrator
from openmmkstep.io.frames import describe_region, frame_of_result
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.molecule_graph import components
from openmmkstep.qmmm.region import QMRegion

FOLDER = Path(__file__).parent
REGION = [*range(182, 191), *range(350, 356), *range(440, 448), *range(2295, 2313)]
PLATFORM, PROPERTIES = openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"}
FIELD = app.ForceField("amber14-all.xml", "amber14/tip3p.xml", str(FOLDER / "p_xylene.xml"))


def make_droplet() -> tuple[app.Topology, np.ndarray, openmm.System, list[int]]:
    """Topology, positions [N,3] in nm, system and region."""
    pdb = app.PDBFile(str(FOLDER / "complex.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(FIELD, boxSize=openmm.Vec3(6.4, 6.4, 6.4) * unit.nanometer)
    places = np.array(modeller.positions.value_in_unit(unit.nanometer))
    center = places[REGION].mean(axis=0)
    distances = {}
    for residue in modeller.topology.residues():
        atoms = [atom.index for atom in residue.atoms()]
        if residue.name in ("HOH", "NA", "CL"):
            places[atoms] -= 6.4 * np.round((places[atoms].mean(axis=0) - center) / 6.4)
        pairs = places[atoms][:, None] - places[REGION][None]
        distances[residue] = np.linalg.norm(pairs, axis=2).min()
    names = {atom.index: (atom.residue.id, atom.name) for atom in modeller.topology.atoms()}
    wanted = {names[index] for index in REGION}
    droplet = app.Modeller(modeller.topology, places * unit.nanometer)
    droplet.delete([residue for residue, distance in distances.items() if distance > 1.2])
    droplet.topology.setPeriodicBoxVectors(None)
    positions = np.array(droplet.positions.value_in_unit(unit.nanometer))
    system = FIELD.createSystem(
        droplet.topology,
        nonbondedMethod=app.CutoffNonPeriodic,
        nonbondedCutoff=1.0,
        switchDistance=0.9,
        ignoreExternalBonds=True,
        rigidWater=False,
    )
    protein = [atom for atom in droplet.topology.atoms() if atom.residue.name != "HOH"]
    region = [atom.index for atom in protein if (atom.residue.id, atom.name) in wanted]
    for residue in droplet.topology.residues():
        atoms = [atom.index for atom in residue.atoms()]
        if np.linalg.norm(positions[atoms][:, None] - positions[region][None], axis=2).min() > 0.9:
            for atom in atoms:
                system.setParticleMass(atom, 0)
    return droplet.topology, positions, system, region


class Droplet:
    """The droplet at both levels: the force field finds starting points, plain QM dynamics makes frames."""

    def __init__(self) -> None:
        topology, self.positions, system, atoms = make_droplet()
        potential = QMMMPotential("gfn2-xtb")
        mixed = potential.createMixedSystem(topology, system, atoms, charge=-1, cutoff=0.85, switchDistance=0.7)
        self.description = describe_region(
            QMRegion.create(topology, system, atoms, -1, 1), potential.engine.describe(), "frames.py"
        )
        self.force = find_qm_force(mixed)
        self.wandering = openmm.LangevinMiddleIntegrator(350, 2, 0.001)
        self.wandering.setRandomNumberSeed(1)
        self.starts = openmm.Context(system, self.wandering, PLATFORM, PROPERTIES)
        self.integrator = createIntegrator(mixed, 300, 2, 0.001, 1)
        self.integrator.setRandomNumberSeed(1)
        self.context = openmm.Context(mixed, self.integrator, PLATFORM, PROPERTIES)

    def begin(self, temperature: float, seed: int) -> None:
        """Minimise the built structure and draw velocities, for the force field."""
        self.wandering.setTemperature(temperature)
        self.starts.setPositions(self.positions)
        openmm.LocalEnergyMinimizer.minimize(self.starts, 50, 300)
        self.starts.setVelocitiesToTemperature(temperature, seed)

    def sample(self, file: FrameWriter, trajectory: int, temperature: float, frames: int, steps: int) -> None:
        """Frames of a trajectory at the QM level, so many femtoseconds apart, from where the force field is."""
        state = self.starts.getState(positions=True, velocities=True)
        self.context.setPositions(state.getPositions())
        self.context.setVelocities(state.getVelocities())
        self.integrator.setTemperature(temperature)
        self.integrator.step(100)
        for number in range(frames):
            self.integrator.step(steps)
            result = self.force.getLastResult(self.context)
            file.append(frame_of_result(result, True, trajectory, 0.001 * steps * (number + 1), temperature))
        print(f"trajectory {trajectory}, {temperature} K: {len(file)} frames", flush=True)


def write_droplet(folder: Path) -> None:
    """Both files of frames."""
    droplet = Droplet()
    with FrameWriter(folder / "t4_long.h5", droplet.description, environment=True) as file:
        for trajectory in range(12):
            temperature = (300, 300, 350, 400)[trajectory % 4]
            droplet.begin(temperature, trajectory + 1)
            droplet.wandering.step(3000 + 1000 * trajectory)
            droplet.sample(file, trajectory, temperature, 200, 5)
    droplet.begin(350, 20)
    with FrameWriter(folder / "t4_short.h5", droplet.description, environment=True) as file:
        for trajectory in range(70):
            droplet.wandering.step(3000)
            droplet.sample(file, trajectory, (300, 350, 400)[trajectory % 3], 40, 6)


def write_fragments(source: Path, path: Path) -> None:
    """Every second frame again, each of the four parts alone in vacuum: together they would not converge there."""
    with FrameFile(source) as file:
        region, frames = file.region, list(file)[::2]
    part = components(len(region.numbers), [tuple(bond) for bond in region.bonds.tolist()])
    calculations = []
    for number, charge in enumerate((-1, -1, 0, 1)):  # Glu11, Asp20, Thr26, Arg145
        atoms = np.flatnonzero(part == number)
        force = QMMMForce(range(len(atoms)), region.numbers[atoms].tolist(), charge=charge)
        system = openmm.System()
        for _ in atoms:
            system.addParticle(1.0)
        system.addForce(force)
        integrator = openmm.VerletIntegrator(0.001)
        reference = openmm.Platform.getPlatformByName("Reference")
        calculations.append((atoms, force, openmm.Context(system, integrator, reference)))
    with FrameWriter(path, region, environment=False) as file:
        for frame in frames:
            positions = np.asarray(frame.positions)
            energy, forces, charges, dipole = 0.0, np.zeros_like(positions), np.zeros(len(positions)), np.zeros(3)
            for atoms, force, context in calculations:
                context.setPositions(positions[atoms])
                context.getState(energy=True)
                result = force.getLastResult(context)
                energy, dipole = energy + result.energy, dipole + result.dipole
                forces[atoms], charges[atoms] = result.forces, result.charges
            file.append(
                Frame(positions, energy, forces, charges, dipole, frame.trajectory, frame.time, frame.temperature, None)
            )


if __name__ == "__main__":
    output = FOLDER / "output"
    output.mkdir(exist_ok=True)
    write_droplet(output)
    write_fragments(output / "t4_long.h5", output / "t4_fragments.h5")
