"""Pairs of coupled oscillators: a system on which a whole outer step is a matrix, and so all averages are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import openmm
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from openmmkstep import KStepIntegrator
from tests.support.qmmm.respa import Motion, Scheme

Array = NDArray[np.float64]
KB = 8.31446261815324e-3
WAVENUMBER = 2 * np.pi * 2.99792458e-2
"""rad/ps of 1 cm-1"""


@dataclass(frozen=True)
class Spring:
    """Stiffnesses in kJ/mol/nm2: of the light and of the heavy atom to the origin, and of the two to each other."""

    light: float = 0.0
    heavy: float = 0.0
    between: float = 0.0

    @property
    def matrix(self) -> Array:
        """Hessian [2,2] of one direction in space."""
        return np.diag([self.light, self.heavy]) + self.between * np.array([[1.0, -1.0], [-1.0, 1.0]])


@dataclass(frozen=True)
class Oscillators:
    """A light atom on a spring to the origin and a heavy one beside it; springs by force group. Masses in amu."""

    springs: Mapping[int, Spring]
    masses: Array = field(default_factory=lambda: np.array([1.0, 16.0]))

    def system(self, copies: int) -> openmm.System:
        """Many of them that do not see each other, three directions each: atoms light, heavy, light, heavy, ..."""
        system = openmm.System()
        for _ in range(copies):
            for mass in self.masses:
                system.addParticle(mass)
        for group, spring in self.springs.items():
            tether = openmm.CustomExternalForce("0.5*k*(x^2+y^2+z^2)")
            tether.addPerParticleParameter("k")
            bond = openmm.CustomBondForce(f"0.5*{spring.between}*r^2")
            for first in range(0, 2 * copies, 2):
                for atom, stiffness in ((first, spring.light), (first + 1, spring.heavy)):
                    if stiffness:
                        tether.addParticle(atom, [stiffness])
                if spring.between:
                    bond.addBond(first, first + 1, [])
            for force in (tether, bond):
                if (force is tether and tether.getNumParticles()) or (force is bond and bond.getNumBonds()):
                    force.setForceGroup(group)
                    system.addForce(force)
        return system

    def force(self, x: Array, group: int) -> Array:
        """Forces at positions [2,...]."""
        return -self.springs[group].matrix @ x

    def stiffness(self, scheme: Scheme) -> Array:
        """Hessian [2,2] of the potential that is sampled."""
        return sum((self.springs[group].matrix for group in (*scheme.commons, scheme.qm_group)), np.zeros((2, 2)))

    def modes(self, scheme: Scheme) -> tuple[Array, Array]:
        """Angular frequencies (rad/ps) of the normal modes and the modes [2,2], columns in weighted coordinates."""
        root = np.sqrt(np.outer(self.masses, self.masses))
        squares, vectors = np.linalg.eigh(self.stiffness(scheme) / root)
        return np.sqrt(squares), vectors

    def propagate(self, scheme: Scheme, z: Array, thermal: Array | None = None) -> Motion:
        """One outer step of states z [4,M] = (x, v); thermal [strokes,2,M] are the velocities that the bath gives."""
        draws = iter(thermal if thermal is not None else ())
        return scheme.propagate(
            self.force, self.masses[:, None], z[:2], z[2:], 1, None if thermal is None else lambda: next(draws)
        )

    def thermal(self, numbers: Array, temperature: float) -> Array:
        """Velocities [strokes,2,M] that the bath gives, of standard normal numbers [2 strokes,M]."""
        widths = np.sqrt(KB * temperature / self.masses)
        return numbers.reshape(-1, 2, numbers.shape[1]) * widths[:, None]

    def matrix(self, scheme: Scheme) -> Array:
        """An outer step without noise, [4,4] on (x, v)."""
        motion = self.propagate(scheme, np.eye(4))
        return np.concatenate([motion.x, motion.v])


@dataclass(frozen=True)
class Exact:
    """Averages over the stationary distribution of the scheme itself, at its own time step.

    Attributes:
        step: The outer step as a matrix [4,4] on (x, v).
        kicks: What each random number of an outer step does, at one standard deviation [4,numbers].
        noise: Covariance [4,4] of what the bath adds in an outer step.
        covariance: Covariance [4,4] of (x, v) at the ends of outer steps; nm and nm/ps.
        middle: Kinetic energies [2] of the atoms in one direction in the middle of the drifts, averaged over those
            of an outer step in which the bath acts, kJ/mol.
        heat: Energy that the bath gives in an outer step, on average, kJ/mol. The true flow of heat is zero: this is
            what energy less heat loses in a step.
    """

    step: Array
    kicks: Array
    noise: Array
    covariance: Array
    middle: Array
    heat: float

    @classmethod
    def of(cls, oscillators: Oscillators, scheme: Scheme, temperature: float) -> Exact:
        step = oscillators.matrix(scheme)
        strokes = sum(scheme.strokes(inner) is not None for inner in range(scheme.k))
        thermal = oscillators.thermal(np.eye(2 * strokes), temperature)
        kicked = oscillators.propagate(scheme, np.zeros((4, 2 * strokes)), thermal)
        kicks = np.concatenate([kicked.x, kicked.v])
        noise = kicks @ kicks.T
        covariance = solve_discrete_lyapunov(step, noise)
        # Start and random numbers are independent: the mean heat is the sum of what each of them gives alone.
        start = oscillators.propagate(scheme, np.linalg.cholesky(covariance))
        middle = np.mean([a.sum(axis=1) + b.sum(axis=1) for a, b in zip(start.middles, kicked.middles, strict=True)], 0)
        return cls(step, kicks, noise, covariance, middle, start.heat + kicked.heat)


def stiffness(wavenumber: float, mass: float) -> float:
    """Of an oscillator with a frequency in cm-1 and a mass in amu, kJ/mol/nm2."""
    return mass * (wavenumber * WAVENUMBER) ** 2


STRETCH, SWING, SLOW = stiffness(2900, 1), stiffness(600, 1), stiffness(100, 16)
"""A C-H bond, a hydrogen bond's bending, a molecule's rattling in its cage."""


def molecule(quality: float, slow: bool) -> Oscillators:
    """The bond is the QM region's, its surrogate ``quality`` times as stiff; SWING is a slow common force, or fast."""
    weak = {0: Spring(heavy=SLOW), 4: Spring(between=SWING)} if slow else {0: Spring(heavy=SLOW, between=SWING)}
    return Oscillators({**weak, 1: Spring(light=quality * STRETCH), 2: Spring(light=STRETCH)})


def case(k: int, slow: int, friction: float, quality: float) -> tuple[Oscillators, Scheme]:
    """k inner steps of 0.5 fs; SWING acts every ``slow`` of them."""
    commons = {0: 1, 4: slow} if slow > 1 else {0: 1}
    return molecule(quality, slow > 1), Scheme(0.0005, k, commons, {1: 1} if k > 1 else {}, friction=friction)


class Run:
    """Copies of the oscillators under the integrator; light atoms are the region."""

    def __init__(
        self, oscillators: Oscillators, scheme: Scheme, copies: int, platform: openmm.Platform, temperature: float
    ) -> None:
        self.copies = copies
        self.integrator = KStepIntegrator(
            temperature,
            scheme.friction,
            scheme.inner_step,
            scheme.k,
            commonGroups=scheme.commons,
            surrogateLevels=scheme.surrogates,
            monitoredParticles=range(0, 2 * copies, 2),
        )
        self.integrator.setRandomNumberSeed(3)
        self.integrator.setMaxEnergyError(1e6)
        self.context = openmm.Context(oscillators.system(copies), self.integrator, platform)

    def start(self, z: Array) -> None:
        """Begin at states [4,3 copies]."""
        for half, place in ((z[:2], self.context.setPositions), (z[2:], self.context.setVelocities)):
            place(half.reshape(2, self.copies, 3).transpose(1, 0, 2).reshape(-1, 3))

    def states(self) -> Array:
        """States [4,3 copies]."""
        state = self.context.getState(positions=True, velocities=True)
        arrays = (state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value)
        return np.concatenate(
            [np.asarray(a).reshape(self.copies, 2, 3).transpose(1, 0, 2).reshape(2, -1) for a in arrays]
        )
