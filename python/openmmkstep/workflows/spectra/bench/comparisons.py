"""The other methods, run on a case: each from what the reference propagation would have to provide for it."""

from __future__ import annotations

import numpy as np

from openmmkstep.rttddft.comparison import dynamic_modes, esprit
from openmmkstep.rttddft.comparison.casida import LinearResponse
from openmmkstep.rttddft.comparison.static_fock import static_fock_dipole
from openmmkstep.rttddft.observables.absorption import AXES
from openmmkstep.rttddft.propagation.fields import DeltaKick
from openmmkstep.rttddft.simulation import ElectronDynamics
from openmmkstep.workflows.config.bench_spectrum import SpectrumBenchCase

from .stopwatch import Stopwatch
from .traces import Traces, in_field

TRAINING_TIMES = {"dynamic_modes": dynamic_modes.TRAINING_TIME, "esprit": esprit.TRAINING_TIME}


def frames_needed(name: str, time_step: float) -> int:
    """Frames from the beginning of the reference's trajectories that a method needs, for a time step (atomic units)."""
    return round(TRAINING_TIMES[name] / time_step) + 1 if name in TRAINING_TIMES else 0


def compared(
    name: str, dynamics: ElectronDynamics, case: SpectrumBenchCase, reference: Traces, steps: int
) -> Traces | None:
    """The trajectories of a method, as long as the reference's.

    Args:
        name: as in the configuration.
        dynamics: molecule, level of theory and propagator, not yet run.
        case: kick or pulse.
        reference: full trajectories, with the densities of as many frames as :func:`frames_needed` says.
        steps: of the whole trajectories, whose costs are asked for; the reference may be shorter.

    Returns:
        None where the reference is too short for the method. The time of the part of the reference that was used
        is among the method's own.

    Raises:
        ElectronDynamicsError: linear response of an open shell.
        ConvergenceError: SCF.
    """
    if name == "static_fock":
        return _static(dynamics, case, reference)
    if name == "linear_response":
        return _linear_response(dynamics, case, reference)
    needed = frames_needed(name, dynamics.propagator.time_step)
    frames = len(next(iter(reference.dipoles.values())))
    if needed > frames:
        return None
    # Costs will be scaled from the reference's steps to all, but no more than the beginning was used.
    learned = reference.motion * (needed / (steps + 1))
    stopwatch = Stopwatch()
    if name == "esprit":
        dipoles = {key: esprit.esprit_dipole(dipole[:needed], frames) for key, dipole in reference.dipoles.items()}
    else:
        dipoles = {
            key: dynamic_modes.dynamic_modes_dipole(reference.densities[key][:needed], dipole[:needed], frames)
            for key, dipole in reference.dipoles.items()
        }
    return Traces(dipoles, reference.preparation, learned + stopwatch.lap())


def _static(dynamics: ElectronDynamics, case: SpectrumBenchCase, reference: Traces) -> Traces:
    stopwatch = Stopwatch()
    dynamics.ground_state  # noqa: B018
    preparation = stopwatch.lap()
    dipoles = {
        key: static_fock_dipole(in_field(dynamics, case, key), len(dipole) - 1)
        for key, dipole in reference.dipoles.items()
    }
    return Traces(dipoles, preparation, stopwatch.lap())


def _linear_response(dynamics: ElectronDynamics, case: SpectrumBenchCase, reference: Traces) -> Traces:
    if case.kick is None:
        raise ValueError("linear response is compared after a kick")
    stopwatch = Stopwatch()
    response = LinearResponse.create(dynamics.molecule, dynamics.level, dynamics.environment)
    preparation = stopwatch.lap()
    dipoles = {}
    for key, dipole in reference.dipoles.items():
        times = np.arange(len(dipole), dtype=np.float64) * dynamics.propagator.time_step
        dipoles[key] = dipole[0] + response.induced_dipole(DeltaKick(case.kick, AXES[key]).vector, times)
    return Traces(dipoles, preparation, stopwatch.lap())
