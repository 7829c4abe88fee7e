"""The record of learning: what was labelled, fitted and tried, in one JSON file that is replaced as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.files import write_atomically
from kstep_models.units import BOLTZMANN

from .blocks import Block, Round
from .networks import NetworkRecord
from .settings import LearningError

_SCHEMA = "kstep-learning"
_VERSION = 1


@dataclass
class Trial:
    """Outer steps at one k with one fit, under the thermostat, of which none is rejected.

    Attributes:
        k: Inner steps per QM call.
        fit: Number of the fit, from 1; 0 for the level that was there.
        temperature: K.
        errors: Error of energy by which Metropolis would decide, of every outer step, kJ/mol.
        corrections: Root mean square of the correction at the end of every outer step, kJ/mol/nm.
        finished: Whether it has all its steps, or was given up because it cannot reach the target.
        failed: Whether it broke down.
    """

    k: int
    fit: int
    temperature: float
    errors: list[float] = field(default_factory=list)
    corrections: list[float] = field(default_factory=list)
    finished: bool = False
    failed: bool = False

    @property
    def _probabilities(self) -> NDArray[np.float64]:
        """Probability with which Metropolis would accept each step."""
        return np.exp(-np.maximum(0.0, np.array(self.errors) / (BOLTZMANN * self.temperature)))

    @property
    def acceptance(self) -> float:
        """Mean probability of acceptance; 0 before the first step."""
        return float(np.mean(self._probabilities)) if self.errors else 0.0

    @property
    def uncertainty(self) -> float:
        """Standard error of the acceptance, as if steps were independent; 1 before the second step."""
        return _standard_error(self._probabilities) if len(self.errors) > 1 else 1.0

    @property
    def mean_error(self) -> float:
        """Mean error of energy of a step, kJ/mol: what the thermostat carries away, where Metropolis is off."""
        return float(np.mean(self.errors)) if self.errors else 0.0

    @property
    def error_of_mean(self) -> float:
        """Its standard error, as if steps were independent, kJ/mol; 0 before the second step."""
        return _standard_error(np.array(self.errors)) if len(self.errors) > 1 else 0.0

    @property
    def correction(self) -> float | None:
        """Root mean square correction, kJ/mol/nm; None before the first step."""
        return float(np.sqrt(np.mean(np.square(self.corrections)))) if self.corrections else None

    def passes(self, target: float) -> bool:
        """Whether the acceptance reaches a target."""
        return not self.failed and self.acceptance >= target

    def is_hopeless(self, target: float, steps: int) -> bool:
        """Whether it cannot reach a target within so many steps in all, whatever comes."""
        done = len(self.errors)
        return self.acceptance * done + (steps - done) < target * steps


@dataclass(frozen=True)
class FitRecord:
    """A fit.

    Attributes:
        labels: Labels that there were.
        used: Labels that it was fitted to.
        parts: What was fitted; "network" for a network that was trained.
        errors: Force errors on held-out labels by choice of parts, meV/A.
        size: Root mean square of the labels, meV/A.
        archive: Name of the archive in the folder.
        instead_of: Number of the fit with a smaller error, to the same labels if it is no network, in whose place this
            one may be tried; 0 for none, which is a fit of its own.
    """

    labels: int
    used: int
    parts: str
    errors: Mapping[str, float]
    size: float
    archive: str
    instead_of: int = 0


@dataclass
class Record:
    """All that was done.

    Attributes:
        settings: What the folder is for, as JSON values.
        pool_size: Configurations of the pool, without those that are the same as others; 0 before it is made.
        labelled: Those of them that have a label, in order.
        labelled_since_fit: How many of them came after the last fit.
        chosen: Configurations of the pool that are being labelled, in the order of the choice; an interruption does not
            change it.
        labels: Labels in the file that belong to this record; what is beyond was cut short by an interruption.
        qm_calls: QM calls so far.
        in_flight: QM calls that may be under way; an interruption loses them, and they count.
        trials: In order.
        fits: In order.
        wall_time: Seconds so far, by kind of work.
        held: The decision, once there is one.
        levels: Digest of the levels that there were at the beginning; empty if it is not known.
        blocks: Of production, in order.
        rounds: Of learning again between them, in order.
        networks: That were trained, or are, in order.
    """

    settings: Mapping[str, Any]
    pool_size: int = 0
    labelled: list[int] = field(default_factory=list)
    labelled_since_fit: int = 0
    labels: int = 0
    qm_calls: int = 0
    trials: list[Trial] = field(default_factory=list)
    fits: list[FitRecord] = field(default_factory=list)
    wall_time: dict[str, float] = field(default_factory=dict)
    held: dict[str, Any] | None = None
    levels: str = ""
    chosen: list[int] = field(default_factory=list)
    in_flight: int = 0
    blocks: list[Block] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    networks: list[NetworkRecord] = field(default_factory=list)

    @property
    def production_labels(self) -> int:
        """Labels of production, up to the end of the last block that is finished."""
        return max((block.labels for block in self.blocks if block.finished), default=0)

    @property
    def all_labels(self) -> int:
        """Labels that a fit has."""
        return self.labels + self.production_labels

    @property
    def relearn_calls(self) -> int:
        """QM calls of learning again so far."""
        return 0 if self.held is None else self.qm_calls - int(self.held.get("qm_calls", self.qm_calls))

    @property
    def present(self) -> tuple[int, int] | None:
        """The k and the fit that are held now; None before."""
        over = [one.held for one in self.rounds if one.held is not None]
        held = over[-1] if over else self.held
        return None if held is None else (int(held["k"]), int(held["fit"]))

    @property
    def is_learning_again(self) -> bool:
        """Whether a round is under way."""
        return bool(self.rounds) and self.rounds[-1].held is None

    @property
    def chosen_left(self) -> list[int]:
        """Configurations that are chosen and have no label yet."""
        return [place for place in self.chosen if place not in self.labelled]

    def count_lost_calls(self) -> None:
        """Count what was under way when an interruption came."""
        self.qm_calls += self.in_flight
        self.in_flight = 0

    @property
    def pool_left(self) -> int:
        """Configurations of the pool without a label."""
        return self.pool_size - len(self.labelled)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with what follows from them for readers."""
        content = {"schema": _SCHEMA, "version": _VERSION, **asdict(self)}
        for values, trial in zip(content["trials"], self.trials, strict=True):
            names = ("acceptance", "uncertainty", "mean_error", "error_of_mean", "correction")
            values |= {name: getattr(trial, name) for name in names}
        return content

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_atomically(path, json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what write() wrote.

        Raises:
            LearningError: The file is damaged, or of another version.
        """
        remedy = "restore it from a copy, or remove the folder to learn anew"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != _SCHEMA or content["version"] != _VERSION:
                raise LearningError(f"{path} is no record of learning of version {_VERSION}: {remedy}")
            names = ("k", "fit", "temperature", "errors", "corrections", "finished", "failed")
            trials = [Trial(**{name: trial[name] for name in names}) for trial in content["trials"]]
            fitted = [FitRecord(**fit) for fit in content["fits"]]
            others = (
                "settings",
                "pool_size",
                "labelled",
                "labelled_since_fit",
                "labels",
                "qm_calls",
                "wall_time",
                "held",
            )
            values = {name: content[name] for name in others}
            # What earlier versions did not write.
            later = {name: content[name] for name in ("levels", "chosen", "in_flight") if name in content}
            blocks = [Block(**block) for block in content.get("blocks", [])]
            rounds = [Round(**one) for one in content.get("rounds", [])]
            networks = [NetworkRecord(**one) for one in content.get("networks", [])]
            return cls(**values, trials=trials, fits=fitted, **later, blocks=blocks, rounds=rounds, networks=networks)
        except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
            if isinstance(error, LearningError):
                raise
            raise LearningError(f"{path} is damaged ({error}): {remedy}") from error


def _standard_error(values: NDArray[np.float64]) -> float:
    """Of a mean of independent values, two or more."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
