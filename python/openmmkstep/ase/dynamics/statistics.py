"""What `KStepDynamics` counts and measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class KStepDynamicsStatistics:
    """Counts, and errors in ASE's units: eV and eV/A.

    Attributes:
        outer_steps: Outer steps taken.
        inner_steps: Inner steps taken, those that were undone included.
        top_calls: Geometries at which the top level was asked for forces, fallbacks and undone steps included. A
            calculator that keeps its last results, as all of ASE's do, calculates as often.
        surrogate_calls: The same of the surrogate.
        fallbacks: Outer steps taken on the top level alone, because those with the surrogate could not stay.
        consecutive_fallbacks: Those in a row up to now.
        last_fallback_reason: Why the last of them was.
        measured_corrections: Outer steps at whose end the correction F_top - F_surrogate was measured.
        correction_rms: Root mean square of it, per coordinate, over the monitored atoms, at the end of the last outer
            step; None if it was not measured.
        mean_correction_rms: The same over all outer steps at which it was measured; None if it never was.
        max_correction: Largest correction on one atom at the end of the last outer step; None if not measured.
        energy_error: Change of the kinetic and top-level energy in the last outer step, less the heat taken from the
            thermostat.
        cumulative_energy_error: The same, summed over all outer steps.
        heat: Energy taken from the thermostat so far.
    """

    outer_steps: int = 0
    inner_steps: int = 0
    top_calls: int = 0
    surrogate_calls: int = 0
    fallbacks: int = 0
    consecutive_fallbacks: int = 0
    last_fallback_reason: str = ""
    measured_corrections: int = 0
    correction_rms: float | None = None
    mean_correction_rms: float | None = None
    max_correction: float | None = None
    energy_error: float = 0.0
    cumulative_energy_error: float = 0.0
    heat: float = 0.0

    def take_correction(self, rms: float | None, largest: float | None) -> None:
        """Add the correction at the end of an outer step, None if it was not measured."""
        self.correction_rms, self.max_correction = rms, largest
        if rms is None:
            return
        # Root of the mean square over steps and coordinates.
        mean, count = self.mean_correction_rms or 0.0, self.measured_corrections
        self.measured_corrections = count + 1
        self.mean_correction_rms = ((mean**2 * count + rms**2) / (count + 1)) ** 0.5
