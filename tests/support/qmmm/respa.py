"""The scheme of KStepIntegrator once more, in NumPy, as an oracle: impulses one by one, the bath by its formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Force = Callable[[Array, int], Array]
"""Forces at positions, of one group; any shape."""


@dataclass(frozen=True)
class Scheme:
    """Reversible r-RESPA: level l kicks with F_l - F_(l-1) over its period, a common group with its own force.

    Periods in inner steps by group, surrogates from the lowest; inner step in ps, friction in 1/ps.
    """

    inner_step: float
    k: int
    commons: Mapping[int, int] = field(default_factory=lambda: {0: 1})
    surrogates: Mapping[int, int] = field(default_factory=lambda: {1: 1})
    qm_group: int = 2
    friction: float = 0.0

    def strokes(self, step: int) -> tuple[float, dict[int, float]] | None:
        """Friction and noise in the middle of an inner step (from 0): for how long, and how far velocities are ahead.

        In the middle of the period of the slowest common group, where its impulses are halfway given: the middle drift
        of an odd period, the two drifts beside the middle of an even one. Both in inner steps, the latter by common
        group, where it is not 0.
        """
        period = max(self.commons.values(), default=1)
        place, middle = step % period, (period - 1) / 2
        if abs(place - middle) > 0.5:
            return None
        ahead = {}
        for group, n in self.commons.items():
            # Half the period's impulse is given; a constant force would by now have given step % n + 1/2.
            if n / 2 != step % n + 0.5:
                ahead[group] = n / 2 - (step % n + 0.5)
        return (float(period) if period % 2 else period / 2, ahead)

    def propagate(
        self, force: Force, masses: Array, x: Array, v: Array, steps: int, thermal: Callable[[], Array] | None = None
    ) -> Motion:
        """Take outer steps.

        Args:
            force: Forces, kJ/mol/nm.
            masses: Masses, amu, of a shape that fits positions.
            x: Positions, nm.
            v: Velocities, nm/ps.
            steps: Number of outer steps.
            thermal: Draws velocities of the bath's temperature, nm/ps; without it the bath is at 0 K.
        """
        levels = [*self.surrogates.items(), (self.qm_group, self.k)]
        motion = Motion(x.copy(), v.copy())

        def kick(step: int) -> None:
            for index, (group, period) in enumerate(levels):
                if step % period == 0:
                    below = force(motion.x, levels[index - 1][0]) if index else 0.0
                    push(period, force(motion.x, group) - below)
            for group, period in self.commons.items():
                if step % period == 0:
                    push(period, force(motion.x, group))

        def push(period: int, impulse: Array) -> None:
            motion.v = motion.v + 0.5 * period * self.inner_step * impulse / masses

        last: dict[int, Array] = {}
        for step in range(self.k * steps):
            kick(step)
            last |= {group: force(motion.x, group) for group, period in self.commons.items() if step % period == 0}
            motion.x = motion.x + 0.5 * self.inner_step * motion.v
            stroke = self.strokes(step)
            if self.friction and stroke is not None:
                decay = np.exp(-self.friction * stroke[0] * self.inner_step)
                impulses = [weight * last[group] for group, weight in stroke[1].items()]
                ahead = self.inner_step * sum(impulses, 0.0 * x) / masses
                noise = np.sqrt(1 - decay**2) * thermal() if thermal is not None else 0.0 * x
                after = decay * (motion.v - ahead) + noise + ahead
                motion.heat += (0.5 * masses * (after**2 - motion.v**2) - masses * ahead * noise).sum()
                motion.v = after
                motion.middles.append(0.5 * masses * after**2)
            motion.x = motion.x + 0.5 * self.inner_step * motion.v
            kick(step + 1)
        return motion


@dataclass
class Motion:
    """Positions, velocities, the energy taken from the bath, and kinetic energies after each of its strokes; kJ/mol."""

    x: Array
    v: Array
    heat: float = 0.0
    middles: list[Array] = field(default_factory=list)
