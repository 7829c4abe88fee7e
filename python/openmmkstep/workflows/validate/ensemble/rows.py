"""The table of verdicts: each number beside its limit and what noise makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from openmmkstep.analysis.ensemble.kinetic import Equipartition
from openmmkstep.analysis.ensemble.two_temperatures import TwoTemperatures
from openmmkstep.analysis.ensemble.velocity_spectrum import PeakShift
from openmmkstep.analysis.ensemble.verdict import Verdict, judge, judge_against_noise, sigmas_of_many

from .analysis import ANGSTROM, AnalysedRun, Kinetics, Structure
from .coordinates import InternalCoordinates
from .sampling.runs import Kind

ELEMENT_PERCENT = 1.0
MODE_PERCENT = 5.0
P_VALUE = 0.05
SIGMAS = 2.0
BOND_ANGSTROM = 0.02
ANGLE_DEGREES = 2.0
TORSION_KCAL = 0.1
PEAK = {"below 2000 cm⁻¹": 5.0, "above 2000 cm⁻¹": 10.0}
RADIAL = 0.02
_FEWEST_INDEPENDENT = 100.0
_LARGEST_ERROR_OF_SLOPE = 0.1
_FEWEST_FOR_SLOPE = 25.0


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        run: label of the run.
        check: what was measured.
        value: measured; None if it could not be.
        error: its standard error; None where it has none.
        unit: of value, error, limit and floor.
        limit: what is allowed.
        floor: the same number between two plain runs; None where that says nothing.
        verdict: what it says.
    """

    run: str
    check: str
    value: float | None
    error: float | None
    unit: str
    limit: float | None
    floor: float | None
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "verdict": str(self.verdict)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """What to_json() gave."""
        return cls(**{**values, "verdict": Verdict(values["verdict"])})

    def cells(self) -> tuple[str, ...]:
        """For people, in the order of HEAD."""
        value = "–" if self.value is None else f"{self.value:.3g}"
        value += "" if self.error is None else f" ± {self.error:.2g}"
        limit = "" if self.limit is None else f"{self.limit:g}"
        floor = "" if self.floor is None else f"{self.floor:.2g}"
        return self.run, self.check, value, self.unit, limit, floor, str(self.verdict)


HEAD = ("run", "check", "value", "unit", "limit", "noise floor", "verdict")


def rows_of(
    analysed: AnalysedRun,
    floor: AnalysedRun | None,
    slope: TwoTemperatures | None,
    coordinates: InternalCoordinates,
) -> list[Row]:
    """All lines of a run.

    Args:
        analysed: the run.
        floor: one plain run beside the other.
        slope: the test of two temperatures, where it was made.
        coordinates: names of torsions.
    """
    label = analysed.run.label
    rows = []
    if analysed.kinetics is not None:
        kinetic = list(_kinetic_rows(label, analysed.kinetics))
        if not analysed.kinetics.is_long_enough:
            kinetic = [replace(row, verdict=Verdict.TOO_SHORT) for row in kinetic]
        rows += kinetic
    if slope is not None:
        off = abs(slope.deviation) > SIGMAS
        verdict = Verdict.OUTSIDE if off else Verdict.INSIDE
        precise = slope.error < _LARGEST_ERROR_OF_SLOPE * abs(slope.expected)
        if min(slope.effective_samples) < _FEWEST_FOR_SLOPE or not (off or precise):
            verdict = Verdict.TOO_SHORT
        rows.append(
            Row(label, "slope of two temperatures", slope.deviation, None, "standard errors", SIGMAS, None, verdict)
        )
    if analysed.run.kind is Kind.PLAIN:
        return rows  # What is left of it beside the other one is the noise floor.
    if analysed.structure is not None:
        rows += list(
            _structure_rows(label, analysed.structure, None if floor is None else floor.structure, coordinates)
        )
    if analysed.shifts:
        rows += list(_peak_rows(label, analysed.shifts, [] if floor is None else floor.shifts))
    return rows


def _percent(label: str, check: str, value: Equipartition, limit: float, sigmas: float) -> Row:
    off, error = 100 * (value.ratio - 1), 100 * value.error
    return Row(label, check, off, error, "%", limit, None, judge(off, error, limit, sigmas))


def _kinetic_rows(label: str, kinetics: Kinetics) -> Iterator[Row]:
    for name, value in kinetics.elements.items():
        sigmas = sigmas_of_many(len(kinetics.elements))
        yield _percent(label, f"temperature, {name}", value, ELEMENT_PERCENT, sigmas)
    for name, value in kinetics.bands.items():
        yield _percent(label, f"temperature, modes {name}", value, MODE_PERCENT, sigmas_of_many(len(kinetics.bands)))
    if kinetics.modes:
        sigmas, check = sigmas_of_many(len(kinetics.modes)), f"temperature, worst of {len(kinetics.modes)} modes"
        lines = [_percent(label, check, mode, MODE_PERCENT, sigmas) for mode in kinetics.modes]
        yield replace(max(lines, key=_significance), verdict=_together(lines))
    test = kinetics.distribution
    verdict = Verdict.OUTSIDE if test.p_value <= P_VALUE else Verdict.INSIDE
    if test.effective_samples < _FEWEST_INDEPENDENT and verdict is Verdict.INSIDE:
        verdict = Verdict.TOO_SHORT
    yield Row(label, "distribution of kinetic energy", test.p_value, None, "p", P_VALUE, None, verdict)


def _structure_rows(
    label: str, structure: Structure, floor: Structure | None, coordinates: InternalCoordinates
) -> Iterator[Row]:
    for name, unit, limit, scale in (
        ("bonds", "Å", BOND_ANGSTROM, ANGSTROM),
        ("angles", "degrees", ANGLE_DEGREES, 1.0),
    ):
        own, noise = getattr(structure, name), getattr(floor, name, None)
        if own is None or noise is None:
            continue
        value, least, expected = (scale * x for x in (own.rmse, noise.rmse, own.expected_rmse))
        verdict = judge_against_noise(value, limit, least, expected)
        yield Row(label, f"{name}, RMSE of means", value, None, unit, limit, least, verdict)
        verdict = judge_against_noise(own.divergence, 1.0, noise.divergence, 0.0)
        yield Row(label, f"{name}, Jensen-Shannon", own.divergence, None, "bits", None, noise.divergence, verdict)
    if len(structure.torsions) and floor is not None:
        value, least = float(structure.torsions.mean()), float(floor.torsions.mean())
        verdict = judge_against_noise(value, 1.0, least, 0.0)
        yield Row(label, "torsions, Jensen-Shannon", value, None, "bits", None, least, verdict)
    for name, is_rotor, (here, there) in zip(coordinates.names, coordinates.rotors, structure.states, strict=True):
        if is_rotor or (here.free_energy is None and there.free_energy is None):
            continue
        value, error = None, None
        if here.free_energy is not None and there.free_energy is not None:
            value = here.free_energy - there.free_energy
            error = ((here.error or 0.0) ** 2 + (there.error or 0.0) ** 2) ** 0.5
        verdict = judge(value, error, TORSION_KCAL)
        yield Row(label, f"free energy, {name}", value, error, "kcal/mol", TORSION_KCAL, None, verdict)
    for element, own in structure.radial.items():
        least = None if floor is None else floor.radial[element].l1
        verdict = Verdict.TOO_SHORT if least is None else judge_against_noise(own.l1, RADIAL, least, 0.0)
        yield Row(label, f"solvent around {element}, L1 of g(r)", own.l1, None, "", RADIAL, least, verdict)


def _peak_rows(label: str, shifts: list[PeakShift], noise: list[PeakShift]) -> Iterator[Row]:
    """The worst peak of each part; where bands overlap, noise moves them by more than their own errors."""
    for name, limit in PEAK.items():
        found, floor = ([s for s in of if (s.reference < 2000) == name.startswith("below")] for of in (shifts, noise))
        between_plain = [shift.shift for shift in floor if shift.shift is not None]
        if not found:
            continue
        least = math.sqrt(sum(x**2 for x in between_plain) / len(between_plain)) if between_plain else None
        sigmas, lines = sigmas_of_many(len(found)), []
        for shift in found:
            error = None if shift.error is None or least is None else max(shift.error, least)
            verdict = judge(shift.shift, error, limit, sigmas)
            check = f"worst of {len(found)} peaks {name}"
            lines.append(Row(label, check, shift.shift, error, "cm⁻¹", limit, least, verdict))
        yield replace(max(lines, key=_significance), verdict=_together(lines))


def _significance(row: Row) -> float:
    return abs(row.value) / row.error if row.value is not None and row.error else 0.0


def _together(rows: list[Row]) -> Verdict:
    """Outside if one is, inside if all are."""
    verdicts = {row.verdict for row in rows}
    return next(v for v in (Verdict.OUTSIDE, Verdict.TOO_SHORT, Verdict.INSIDE) if v in verdicts)
