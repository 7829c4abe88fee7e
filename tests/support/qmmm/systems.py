"""Small QM/MM systems for the tests of QMMMForce: a molecule among rigid three-point waters, charges only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm

from openmmkstep import EmbeddingCharges, FarFieldForce, LinkAtom, QMMMForce

ETHANOL_NUMBERS = [6, 6, 8, 1, 1, 1, 1, 1, 1]
# Out of its symmetric minimum, so that no component of a force vanishes.
ETHANOL = np.array(
    [
        [0.1178, -0.0390, 0.0015],
        [0.0012, 0.0549, -0.0018],
        [-0.1180, -0.0238, 0.0031],
        [-0.1939, 0.0392, -0.0024],
        [0.0032, 0.1198, 0.0897],
        [0.0055, 0.1220, -0.0871],
        [0.2106, 0.0158, 0.0011],
        [0.1117, -0.1027, 0.0896],
        [0.1140, -0.1048, -0.0871],
    ]
)
WATER = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.023999, 0.092663, 0.0]])
WATER_CHARGES = [-0.834, 0.417, 0.417]

TRICLINIC = [[2.0, 0.0, 0.0], [0.3, 2.1, 0.0], [-0.4, 0.5, 1.95]]
TIGHT = {"accuracy": 1e-4}
ANALYTIC = {
    "engine": "test-analytic",
    "settings": {
        "charges": [-0.1, 0.1, -0.6, 0.4, 0.05, 0.05, 0.03, 0.04, 0.03],
        "morse": [{"atoms": [0, 1], "depth": 400.0, "width": 20.0, "length": 0.15}],
        "harmonic": [{"atoms": [1, 2], "k": 300000.0, "length": 0.14}],
        "flux": [
            {"atoms": [0, 1], "slope": 3.0, "length": 0.15},
            {"atoms": [1, 2], "slope": -5.0, "length": 0.14},
        ],
    },
}
ENGINES = {
    "gfn2": {"engine": "gfn2-xtb", "settings": TIGHT},
    "gfn1": {"engine": "gfn1-xtb", "settings": TIGHT},
    "analytic": ANALYTIC,
}


def random_rotation(rng):
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def water_droplet(solute, num_waters, spacing=0.31, seed=1):
    """Positions [3 num_waters,3] of waters on a disturbed lattice around a solute, the nearest first."""
    rng = np.random.default_rng(seed)
    reach = int(np.ceil((num_waters * 1.5) ** (1 / 3))) + 1
    lattice = np.array(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3)).reshape(3, -1).T * spacing
    lattice = lattice + solute.mean(axis=0) + rng.uniform(-0.03, 0.03, lattice.shape)
    distance = np.linalg.norm(lattice[:, None] - solute[None], axis=2).min(axis=1)
    order = np.argsort(distance)
    places = lattice[order[distance[order] > 0.28]][:num_waters]
    return np.concatenate([place + WATER @ random_rotation(rng).T for place in places])


@dataclass
class Case:
    """A QMMMForce in a Context, with the positions it stands at."""

    force: QMMMForce
    context: openmm.Context
    positions: np.ndarray

    def place(self, positions):
        self.context.setPositions(positions)

    def energy(self, positions=None):
        self.place(self.positions if positions is None else positions)
        return self.context.getState(getEnergy=True).getPotentialEnergy()._value

    def forces(self, positions=None):
        self.place(self.positions if positions is None else positions)
        return np.array(self.context.getState(getForces=True).getForces(asNumpy=True)._value)

    def result(self):
        return self.force.getLastResult(self.context)


def make_system(
    numbers=None,
    solute=ETHANOL,
    num_waters=0,
    box=None,
    engine="gfn2-xtb",
    settings=None,
    charge=0,
    multiplicity=1,
    cutoff=None,
    switching_distance=None,
    link_atoms=(),
    extra=None,
    extra_charges=None,
    spacing=0.31,
):
    """A System of a molecule among waters, its force, and positions.

    `extra` are more particles [m,3] with charges, each its own group.
    """
    numbers = ETHANOL_NUMBERS if numbers is None else numbers
    waters = water_droplet(solute, num_waters, spacing) if num_waters else np.zeros((0, 3))
    extra = np.zeros((0, 3)) if extra is None else np.asarray(extra, dtype=float)
    positions = np.concatenate([solute, extra, waters])
    system = openmm.System()
    for _ in positions:
        system.addParticle(10.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*np.asarray(box, dtype=float))
    first = len(solute) + len(extra)
    particles = list(range(len(solute), len(positions)))
    charges = list(extra_charges if extra_charges is not None else np.zeros(len(extra))) + WATER_CHARGES * num_waters
    groups = list(range(len(extra))) + [len(extra) + i // 3 for i in range(3 * num_waters)]
    assert len(positions) == first + 3 * num_waters
    embedding = EmbeddingCharges(particles, charges, groups, cutoff, switching_distance, box is not None)
    force = QMMMForce(
        range(len(solute)),
        numbers,
        engine,
        charge,
        multiplicity,
        settings,
        embedding if particles and (num_waters or extra_charges is not None) else None,
        [LinkAtom(*link) for link in link_atoms],
    )
    system.addForce(force)
    return system, force, positions


def make_case(numbers=None, solute=ETHANOL, platform="Reference", **options):
    """A system of make_system() in a Context."""
    system, force, positions = make_system(numbers, solute, **options)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    context.setPositions(positions)
    return Case(force, context, positions)


def full_force():
    """A force of which nothing is at its default."""
    charges = EmbeddingCharges([3, 4, 6], [0.1, -0.2, 0.3], [0, 0, 1], 1.1, 0.7, True)
    in_force_field = EmbeddingCharges([3, 4, 6], [0.15, -0.2, 0.3], [0, 0, 1], 1.1, 0.7, True)
    force = QMMMForce(
        [0, 2],
        [6, 8],
        "gfn1-xtb",
        -1,
        2,
        {"accuracy": 0.1, "threads": 2},
        charges,
        [LinkAtom(0, 1, 0.7), LinkAtom(2, 5, 0.6, 9)],
        [(0, 2)],
        FarFieldForce([0, 2], [6, 8], in_force_field, {0: -0.5, 2: 0.25, 7: 0.1}),
    )
    force.setForceGroup(2)
    force.setName("region")
    return force
