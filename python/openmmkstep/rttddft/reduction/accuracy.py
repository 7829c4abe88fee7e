"""Whether a reduced trajectory is as accurate as it was asked to be: comparisons with the functional on the way.

What a potential that is wrong by dv does to an oscillation x of the density is, to first order, to change its energy by
``x.dv/2``, and its frequency by half the ratio of that to the energy. So the quantity to watch is the share of ``x.dv``
in ``x.v``, v being the true change of the exchange-correlation potential: elements of dv between orbitals that hold no
electrons may be large, as they are where diffuse functions reach out of the density, and do nothing.

The estimate for the dipole is one and a half times the root mean square share, and a tenth of the tolerance for the
directions that are left out on purpose. Over 120 atomic units the dipole was wrong by 0.08 to 0.5 times this for LiH,
HCN, H2CO, CH3OH, BH3 and CO2 (B3LYP and PBE0/6-31G*, kicks of 1e-3), and by 0.1 to 1.2 times this for LiH of five bond
lengths from 1.4 to 3 A after kicks of 1e-4 to 5e-2; where it was wrong by more than asked, the estimate said so.
"""

from __future__ import annotations

from math import inf, sqrt

# Fock matrices before the first comparison: some motion must be there.
_FIRST = 30
# Fock matrices until the next comparison after one that failed.
_AFTER_FAILURE = 15
_SAFETY = 1.5
# Of the tolerance: what directions below it do to the dipole, the share of x.dv from which on more must be learned, and
# the error of the dipole that may be relied on. A run whose comparisons are all accepted keeps to it.
_LEFT_OUT, _ACCEPTED, PROMISED = 0.1, 0.15, 1.0 / 3.0


class AccuracyChecks:
    """When to compare the interpolated potential of a trajectory with the functional, and what came out.

    Args:
        tolerance: of the reduction.
        longest: Fock matrices between comparisons; their number doubles up to this as long as comparisons succeed.
            None makes no comparison.
    """

    def __init__(self, tolerance: float, longest: float | None = inf) -> None:
        self._tolerance = tolerance
        # Never, where there is to be no comparison.
        self._longest = inf if longest is None else longest
        self._interval = inf if longest is None else min(_FIRST, longest)
        self._since = 0
        self._wrong = self._true = 0.0

    @property
    def estimate(self) -> float | None:
        """Relative error of the induced dipole that is expected; None before the first comparison."""
        if self._true == 0.0:
            return None
        return _LEFT_OUT * self._tolerance + _SAFETY * sqrt(self._wrong / self._true)

    def is_due(self, size: float, largest: float) -> bool:
        """Whether to compare at this Fock matrix, to be called at each.

        Args:
            size: of the density's deviation from the ground state.
            largest: that there was so far.
        """
        self._since += 1
        # Small deviations, as right after a kick, are of second order, and say nothing of the linear response.
        return self._since > self._interval and size >= 0.5 * largest

    def compare(self, wrong: float, true: float) -> bool:
        """Take in a comparison.

        Args:
            wrong: x.dv of the interpolated potential.
            true: x.v of the functional's.

        Returns:
            Whether the potential may be used on as it is.
        """
        # Each stands for the time since the one before.
        self._wrong += self._since * wrong**2
        self._true += self._since * true**2
        self._since = 0
        good = abs(wrong) <= _ACCEPTED * self._tolerance * abs(true)
        self._interval = min(2 * self._interval if good else _AFTER_FAILURE, self._longest)
        return good
