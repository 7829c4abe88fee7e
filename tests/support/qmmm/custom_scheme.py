"""The scheme of KStepIntegrator as a CustomIntegrator of OpenMM: an oracle for constrained systems."""

from __future__ import annotations

import numpy as np
import openmm

from tests.support.qmmm.respa import Scheme


def custom_integrator(scheme: Scheme) -> openmm.CustomIntegrator:
    """A step of it is an outer step, with friction but no noise."""
    integrator = openmm.CustomIntegrator(scheme.inner_step)
    for name in ("unconstrained", "kept", *(f"last{group}" for group in scheme.commons)):
        integrator.addPerDofVariable(name, 0)
    levels = [*scheme.surrogates.items(), (scheme.qm_group, scheme.k)]

    def push(group: int, weight: float) -> None:
        integrator.addComputePerDof("v", f"v+{weight}*dt*f{group}/m")

    def kick(step: int, part: float) -> None:
        for index, (group, period) in enumerate(levels):
            if step % period == 0:
                push(group, part * period)
                if index:
                    push(levels[index - 1][0], -part * period)
        for group, period in scheme.commons.items():
            if step % period == 0:
                push(group, part * period)
                integrator.addComputePerDof(f"last{group}", f"f{group}")
        integrator.addConstrainVelocities()

    def drift(part: float) -> None:
        integrator.addComputePerDof("x", f"x+{part}*dt*v")
        integrator.addComputePerDof("unconstrained", "x")
        integrator.addConstrainPositions()
        integrator.addComputePerDof("v", f"v+(x-unconstrained)/({part}*dt)")

    def slow_down(duration: float, ahead: dict[int, float]) -> None:
        """Friction on what velocities are beyond the impulse that they were given too early."""
        decay = float(np.exp(-scheme.friction * duration * scheme.inner_step))
        integrator.addConstrainVelocities()
        integrator.addComputePerDof("kept", "v")
        integrator.addComputePerDof("v", "+".join(["0", *(f"({w})*dt*last{g}/m" for g, w in ahead.items())]))
        integrator.addConstrainVelocities()
        integrator.addComputePerDof("v", f"{decay!r}*kept+{1 - decay!r}*v")

    kick(0, 0.5)
    for step in range(1, scheme.k + 1):
        stroke = scheme.strokes(step - 1) if scheme.friction else None
        if stroke is None:
            drift(1.0)
        else:
            drift(0.5)
            slow_down(*stroke)
            drift(0.5)
        kick(step, 0.5 if step == scheme.k else 1.0)
    return integrator
