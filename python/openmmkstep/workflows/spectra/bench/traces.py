"""Trajectories of one molecule after kicks or in pulses along several directions, and what they took."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.hamiltonian import Orbitals
from openmmkstep.rttddft.observables.absorption import AXES
from openmmkstep.rttddft.propagation.fields import DeltaKick, GaussianEnvelope, Pulse
from openmmkstep.rttddft.propagation.propagators import State
from openmmkstep.rttddft.simulation import ElectronDynamics
from openmmkstep.rttddft.units import EV_PER_HARTREE
from openmmkstep.workflows.config.bench_spectrum import PulseSection, SpectrumBenchCase
from openmmkstep.workflows.spectra.from_config import TIME_UNIT

from .stopwatch import Spent, Stopwatch

RealArray = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """Dipoles by direction, and their cost.

    Attributes:
        dipoles: [T,3] for each direction.
        preparation: time for integrals, ground state and what else does not depend on the number of steps.
        motion: time for the steps, of all directions.
        fock_builds: with a reduction, evaluations of the functional; None where there is nothing to count.
        densities: deviations from the ground state of each direction's first frames [frames,m], as many as were asked
            for; real and imaginary parts side by side.
    """

    dipoles: dict[str, RealArray]
    preparation: Spent
    motion: Spent
    fock_builds: int | None = None
    densities: dict[str, RealArray] = field(default_factory=dict)

    @property
    def total(self) -> Spent:
        """Preparation and motion."""
        return self.preparation + self.motion

    def extrapolated(self, share: float) -> Traces:
        """The same with the cost of so many times as many steps; the preparation is needed once."""
        builds = None if self.fock_builds is None else round(self.fock_builds * share)
        return replace(self, motion=self.motion * share, fock_builds=builds)


def propagated(
    dynamics: ElectronDynamics, case: SpectrumBenchCase, directions: tuple[str, ...], steps: int, kept: int = 0
) -> Traces:
    """Run trajectories, ground state included.

    Args:
        dynamics: molecule, level of theory, propagator and reduction, not yet run.
        case: kick or pulse.
        directions: of kicks or pulses.
        steps: of each trajectory.
        kept: first frames of each direction whose densities are kept.

    Raises:
        ConvergenceError: SCF or a step.
    """
    stopwatch = Stopwatch()
    dynamics.ground_state, dynamics.moving_hamiltonian  # noqa: B018
    preparation, builds = stopwatch.lap(), 0
    dipoles: dict[str, RealArray] = {}
    densities: dict[str, RealArray] = {}
    for direction in directions:
        moved = in_field(dynamics, case, direction)
        frames = [first_orbitals(moved)]

        def keep(state: State, frames: list[Orbitals] = frames) -> None:
            if len(frames) < kept:
                frames.append(state.orbitals)

        series = moved.run(steps, progress=keep)
        dipoles[direction] = series.dipole
        builds += int(series.fock_builds.sum())
        if kept:
            densities[direction] = np.array([_deviation(moved, orbitals) for orbitals in frames])
    return Traces(dipoles, preparation, stopwatch.lap(), builds, densities)


def in_field(dynamics: ElectronDynamics, case: SpectrumBenchCase, direction: str) -> ElectronDynamics:
    """The same molecule after the case's kick, or in its pulse, along a direction."""
    axis = AXES[direction]
    if case.pulse is not None:
        return dynamics.driven(_pulse(case.pulse, axis), sharing=True)
    if case.kick is None:
        raise ValueError("a case has a kick or a pulse")
    return dynamics.kicked(DeltaKick(case.kick, axis), sharing=True)


def first_orbitals(dynamics: ElectronDynamics) -> Orbitals:
    """Occupied orbitals at t = 0, after the kick."""
    orbitals = dynamics.ground_state.orbitals
    return orbitals if dynamics.kick is None else dynamics.kick.apply(dynamics.hamiltonian, orbitals)


def _deviation(dynamics: ElectronDynamics, orbitals: Orbitals) -> RealArray:
    change = (dynamics.hamiltonian.density(orbitals) - dynamics.ground_state.density).ravel()
    return np.concatenate([change.real, change.imag])


def _pulse(section: PulseSection, axis: tuple[float, float, float]) -> Pulse:
    envelope = GaussianEnvelope(section.center / TIME_UNIT, section.width / TIME_UNIT)
    return Pulse(section.amplitude, envelope, axis, section.photon_energy / EV_PER_HARTREE)
