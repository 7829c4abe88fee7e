"""What NWChem prints, as arrays.

Results of real-time TDDFT are lines ``tag time values # label``, messages are lines ``tag time ### text ###``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .basis_order import NWChemShell, parse_shells
from .errors import NWChemOutputError
from .input_file import GEOMETRY

_START = "NWChem Real-Time TDDFT Module"
_FINISHED = "Propagation finished"
_CHECKS_FAILED = "CHECKS FAILED"
_ENERGY = re.compile(r"^\s*Total (?:DFT|SCF) energy =\s*(\S+)\s*$")
_REPULSION = re.compile(r"^\s*Effective nuclear repulsion energy \(a\.u\.\)\s*(\S+)\s*$")
_BEGAN = re.compile(r"^(\S+)\s+\S+\s+### Propagation started ###")
_MESSAGE = re.compile(r"^###\s*(.*?)\s*###$")
_COMPLAINT_LINES = 3
_RULE = re.compile(r"^\s*-{60,}\s*$")


@dataclass(frozen=True)
class NWChemOutput:
    """An output file of NWChem.

    Attributes:
        source: name of the file.
        ground_state_energy: total energy of the ground state, hartree.
        nuclear_repulsion: hartree.
        shells: basis functions by label of an element, in NWChem's order.
        tag: first word of the lines with results.
        times: of the results [n], atomic units, as printed (five decimals).
        series: by label, [n] or [n,3], as printed: atomic units.
        messages: time and text of what NWChem said on the way.
        finished: whether the propagation came to its end.
    """

    source: str
    ground_state_energy: float
    nuclear_repulsion: float
    shells: dict[str, list[NWChemShell]]
    tag: str
    times: NDArray[np.float64]
    series: dict[str, NDArray[np.float64]]
    messages: list[tuple[float, str]] = field(default_factory=list)
    finished: bool = True

    @property
    def is_open_shell(self) -> bool:
        """Whether both spins were propagated."""
        return any(label.endswith("(total spin)") for label in self.series)

    @property
    def failed_checks(self) -> list[float]:
        """Times at which NWChem's own checks of the density failed."""
        return [time for time, text in self.messages if _CHECKS_FAILED in text]

    def get(self, label: str) -> NDArray[np.float64]:
        """The series with a label, which may be shortened to its beginning where that is unique.

        Raises:
            NWChemOutputError: there is none, or more than one.
        """
        if label in self.series:
            return self.series[label]
        found = [known for known in self.series if known.startswith(label)]
        if len(found) != 1:
            raise NWChemOutputError(
                f"{self.source}: {len(found)} series are called {label!r}: use one of {', '.join(sorted(self.series))}"
            )
        return self.series[found[0]]

    def energies(self) -> NDArray[np.float64]:
        """Total energy [n], without that in the external field, hartree."""
        return self.get("Etot")

    def dipole(self) -> NDArray[np.float64]:
        """Dipole moment [n,3] of nuclei and electrons about the origin, e bohr; points to positive charge."""
        return self._of_all_electrons("Dipole moment")

    def electrons(self) -> NDArray[np.float64]:
        """Number of electrons [n]; NWChem prints their charge, without that of the nuclei."""
        return -self._of_all_electrons("Charge")

    def field(self) -> NDArray[np.float64]:
        """External field [n,3] at the times of the results; zero where there is none."""
        label = f"Applied E-field [{GEOMETRY}] (alpha spin)"
        return self.get(label) if label in self.series else np.zeros((len(self.times), 3))

    def _of_all_electrons(self, quantity: str) -> NDArray[np.float64]:
        label = f"{quantity} [{GEOMETRY}]"
        return self.get(f"{label} (total spin)" if self.is_open_shell else label)


def read_output(path: str | os.PathLike[str], allow_incomplete: bool = False) -> NWChemOutput:
    """Read an output file.

    Args:
        path: of the file.
        allow_incomplete: take what is there of a propagation that was cut short; otherwise it is an error.

    Raises:
        NWChemOutputError: missing, or see ``parse_output``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NWChemOutputError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    return parse_output(text, os.fspath(path), allow_incomplete)


def parse_output(text: str, source: str = "NWChem output", allow_incomplete: bool = False) -> NWChemOutput:
    """What a real-time TDDFT calculation printed.

    Args:
        text: all of it, ground state included.
        source: what to name in errors.
        allow_incomplete: drop the last, incomplete step of a propagation that was cut short.

    Raises:
        NWChemOutputError: NWChem failed, there is no propagation, it was cut short, or a line is not as it should be;
            names file and line.
    """
    lines = text.splitlines()
    failure = error_message(text)
    if failure:
        raise NWChemOutputError(f"{source}: NWChem failed: {failure}")
    start = next((index for index, line in enumerate(lines) if _START in line), None)
    if start is None:
        raise NWChemOutputError(f"{source}, line {len(lines)}: the output ends before the propagation: no {_START!r}")
    results = _Results(source, lines, start)
    if not results.finished and not allow_incomplete:
        raise NWChemOutputError(
            f"{source}, line {len(lines)}: the output ends before the propagation does, at t = {results.last_time:g}: "
            "it was cut short (allow_incomplete=True takes the complete steps)"
        )
    times, series = results.arrays()
    return NWChemOutput(
        source=source,
        ground_state_energy=_last_number(_ENERGY, "energy of the ground state", lines[:start], source),
        nuclear_repulsion=_last_number(_REPULSION, "nuclear repulsion", lines[:start], source),
        shells=parse_shells(text),
        tag=results.tag,
        times=times,
        series=series,
        messages=results.messages,
        finished=results.finished,
    )


def error_message(text: str) -> str:
    """NWChem's own account of why it failed; empty where it says nothing of the kind."""
    lines = text.splitlines()
    where = next((index for index, line in enumerate(lines) if "current input line" in line), None)
    if where is None:
        return ""
    rules = [index for index, line in enumerate(lines) if _RULE.match(line)]
    before = [index for index in rules if index < where][-3:]
    said = [line.strip() for line in lines[before[0] + 1 : before[1]]] if len(before) == 3 else []
    after = lines[where + 1].strip() if where + 1 < len(lines) else ""
    reasons = [lines[first + 1].strip() for first, second in pairwise(rules) if first > where and second == first + 2]
    if before:
        # Complaints of the part of NWChem that failed, right above.
        above = before[0]
        while above > 0 and lines[above - 1].strip() and before[0] - above < _COMPLAINT_LINES:
            above -= 1
        said = [line.strip() for line in lines[above : before[0]]] + said
    # NWChem ends its messages with an error number, far to the right.
    said = [re.sub(r"\s{2,}-?\d+$", "", line) for line in said if line]
    place = f"at input line {after}" if after else ""
    return "; ".join(part for part in [*said, place, *reasons] if part)


class _Results:
    """Lines with results of one propagation, sorted by label."""

    def __init__(self, source: str, lines: list[str], start: int) -> None:
        self.source = source
        self.messages: list[tuple[float, str]] = []
        self.finished = False
        self.last_time = 0.0
        self._series: dict[str, list[tuple[float, list[float]]]] = {}
        began = next((index for index in range(start, len(lines)) if _BEGAN.match(lines[index])), None)
        if began is None:
            raise NWChemOutputError(
                f"{source}, line {len(lines)}: the output ends before the first step of the propagation"
            )
        self.tag = lines[began].split()[0]
        for index in range(began, len(lines)):
            if not lines[index].startswith(self.tag + " "):
                continue
            complete = index + 1 < len(lines)
            try:
                self._take(lines[index][len(self.tag) :])
            except ValueError as error:
                if not complete:
                    break
                raise NWChemOutputError(f"{source}, line {index + 1}: {error}: {lines[index].strip()!r}") from error
            if self.finished:
                break

    def arrays(self) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Times, and values by label, of the steps for which all of them are there."""
        # How the iterations of a step converged is printed any number of times.
        steps = {label: rows for label, rows in self._series.items() if not label.startswith("Magnus interpol")}
        if not steps:
            raise NWChemOutputError(f"{self.source}: the propagation printed no results: ask for some in the input")
        lengths = {label: len(rows) for label, rows in steps.items()}
        count = min(lengths.values())
        if max(lengths.values()) > count + (0 if self.finished else 1):
            label = min(lengths, key=lambda key: lengths[key])
            raise NWChemOutputError(
                f"{self.source}: {label!r} was printed {count} times, others {max(lengths.values())} times: "
                "lines are missing"
            )
        first = next(iter(steps.values()))
        times = np.array([time for time, _ in first[:count]])
        for label, rows in steps.items():
            if any(time != reference for (time, _), reference in zip(rows, times, strict=False)):
                raise NWChemOutputError(f"{self.source}: {label!r} was printed for other times than the rest")
        return times, {
            label: np.array([values if len(values) > 1 else values[0] for _, values in rows[:count]])
            for label, rows in steps.items()
        }

    def _take(self, line: str) -> None:
        """Sort in a line without its tag; ValueError says what is wrong with it."""
        words, mark, label = line.partition("#")
        parts = words.split()
        if not parts or not mark:
            raise ValueError("not a line of results")
        time = _number(parts[0])
        if line.strip().endswith("###"):
            match = _MESSAGE.match((mark + label).strip())
            if not match:
                raise ValueError("not a message")
            self.messages.append((time, match.group(1)))
            self.finished = self.finished or match.group(1) == _FINISHED
        else:
            values = [_number(part) for part in parts[1:]]
            if len(values) not in (1, 3, 6) or not label.strip():
                raise ValueError("not a line of results")
            rows = self._series.setdefault(label.strip(), [])
            if rows and len(rows[0][1]) != len(values):
                raise ValueError(f"{len(values)} numbers where there were {len(rows[0][1])} before")
            rows.append((time, values))
        self.last_time = time


def _number(word: str) -> float:
    # Fortran drops the letter of an exponent that has three digits, and prints stars for what has no room.
    repaired = re.sub(r"(?<=\d)([+-]\d{3})$", r"E\1", word) if "E" not in word.upper() else word
    try:
        value = float(repaired)
    except ValueError:
        raise ValueError(f"{word!r} is not a number") from None
    if not np.isfinite(value):
        raise ValueError("not finite: the propagation blew up, use a smaller time step")
    return value


def _last_number(pattern: re.Pattern[str], what: str, lines: list[str], source: str) -> float:
    for line in reversed(lines):
        match = pattern.match(line)
        if match:
            try:
                return float(match.group(1))
            except ValueError:
                break
    raise NWChemOutputError(
        f"{source}, lines 1 to {len(lines)}: the {what} is not in the output before the propagation"
    )
