"""A Context that was changed on the way beside a new one in the same state, which has no stored forces."""

from __future__ import annotations

import numpy as np
import openmm

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import Chain

STEP = 0.0005
K = 4


def state_of(context: openmm.Context) -> tuple[np.ndarray, np.ndarray]:
    state = context.getState(positions=True, velocities=True)
    return state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value


def new_context(context: openmm.Context, k: int = K) -> openmm.Context:
    """A Context of the same System and Platform in the same state, which has evaluated no forces yet."""
    platform = openmm.Platform.getPlatformByName(context.getPlatform().getName())
    again = openmm.Context(context.getSystem(), KStepIntegrator(STEP, k), platform)
    state = context.getState(positions=True, velocities=True)
    again.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    again.setPositions(state.getPositions(asNumpy=True))
    again.setVelocities(state.getVelocities(asNumpy=True))
    for name, value in context.getParameters().items():
        again.setParameter(name, value)
    return again


def assert_goes_on_as_new(context: openmm.Context, steps: int = 2) -> None:
    """The next steps are those of a Context without stored forces, to the last bit."""
    again = new_context(context)
    for each in (context, again):
        each.getIntegrator().step(steps)
    for changed, expected in zip(state_of(context), state_of(again), strict=True):
        np.testing.assert_array_equal(changed, expected)


def running_context(chain: Chain, platform: openmm.Platform) -> openmm.Context:
    context = chain.context(KStepIntegrator(STEP, K), platform)
    context.getIntegrator().step(3)
    return context
