"""Molecules for the tests, and ground states of them that are made once."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from openmmkstep.rttddft.electronic_structure.ground_state import GroundState, solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian, Orbitals
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.propagation.fields import DeltaKick, ElectricField, NoField
from openmmkstep.rttddft.propagation.propagators import Propagator, State
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule

# Positions in nm. H2O, NH3 and C2H4 have their symmetry axes along x, y and z.
WATER = Molecule.create("OHH", [[0, 0, 0.01173], [0, 0.07572, -0.04692], [0, -0.07572, -0.04692]])
AMMONIA = Molecule.create(
    "NHHH",
    [
        [0, 0, 0.01162],
        [0, 0.09397, -0.02711],
        [0.08138, -0.04699, -0.02711],
        [-0.08138, -0.04699, -0.02711],
    ],
)
ETHENE = Molecule.create(
    "CCHHHH",
    [
        [0, 0, 0.06695],
        [0, 0, -0.06695],
        [0, 0.09289, 0.12321],
        [0, -0.09289, 0.12321],
        [0, 0.09289, -0.12321],
        [0, -0.09289, -0.12321],
    ],
)
HYDROGEN = Molecule.create("HH", [[0, 0, -0.037], [0, 0, 0.037]])
HYDROGEN_CATION = Molecule.create("HH", [[0, 0, -0.053], [0, 0, 0.053]], charge=1, multiplicity=2)
WATER_CATION = Molecule(WATER.numbers, WATER.positions, charge=1, multiplicity=2)
HYDROXYL = Molecule.create("OH", [[0, 0, 0], [0, 0, 0.097]], multiplicity=2)
# Without any symmetry.
SKEWED_WATER = Molecule.create("OHH", [[0.003, -0.002, 0.011], [0.01, 0.07, -0.05], [0.02, -0.08, -0.04]])


class Prepared(NamedTuple):
    """A molecule that is ready to be propagated, with PySCF's object of it."""

    mean_field: object
    hamiltonian: Hamiltonian
    ground: GroundState


def prepare(molecule: Molecule, level: LevelOfTheory) -> Prepared:
    mean_field = create_mean_field(molecule, level)
    hamiltonian = Hamiltonian(mean_field)
    return Prepared(mean_field, hamiltonian, solve_ground_state(mean_field, hamiltonian))


@lru_cache(maxsize=32)
def prepared(name: str, method: str, basis: str, functional: str = "", grid_level: int = 1) -> Prepared:
    """As :func:`prepare`, for a molecule of this file, kept for all tests of a run."""
    return prepare(globals()[name], LevelOfTheory(method, basis, functional, grid_level=grid_level))


def random_densities(hamiltonian: Hamiltonian, seed: int) -> np.ndarray:
    """Hermitian densities of random orbitals with the right number of electrons, AO basis."""
    random = np.random.default_rng(seed)
    orbitals = []
    for count in hamiltonian.occupied:
        shape = (hamiltonian.size, count)
        columns, _ = np.linalg.qr(random.normal(size=shape) + 1j * random.normal(size=shape))
        orbitals.append(columns)
    return hamiltonian.density(tuple(orbitals))


def propagate(
    system: Prepared,
    propagator: Propagator,
    steps: int,
    kick: DeltaKick | None = None,
    field: ElectricField | None = None,
    orbitals: Orbitals | None = None,
) -> list[State]:
    """All states of a trajectory, with the first."""
    start = system.ground.orbitals if orbitals is None else orbitals
    if kick is not None:
        start = kick.apply(system.hamiltonian, start)
    states = [propagator.start(system.hamiltonian, start)]
    for _ in range(steps):
        states.append(propagator.advance(system.hamiltonian, field or NoField(), states[-1]))
    return states


def dipoles(system: Prepared, states: list[State]) -> np.ndarray:
    return np.array([system.hamiltonian.dipole(state.orbitals) for state in states])
