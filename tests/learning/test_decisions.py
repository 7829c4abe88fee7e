"""What learning does next follows from its record alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kstep_models.units import BOLTZMANN
from openmmkstep.learning.decisions import Decision, Fit, Hold, Label, Try, decide, fit_in_use
from openmmkstep.learning.record import FitRecord, Record, Trial
from openmmkstep.learning.settings import LearningError, LearningSettings
from openmmkstep.learning.stages.fits import rival_parts
from openmmkstep.learning.stages.selection import select
from tests.support.models import methanol

SETTINGS = LearningSettings(ks=(4, 8, 12, 16), first_labels=40, more_labels=20, trial_steps=20, max_calls=300)
KT = BOLTZMANN * 300


class Learning:
    """Learning without calculations: a trial has the acceptance that a table says, labels cost their calls."""

    def __init__(self, acceptances: dict[tuple[int, int], float], settings: LearningSettings = SETTINGS) -> None:
        self.record = Record({}, pool_size=settings.pool_size)
        self.settings = settings
        self.acceptances = acceptances
        self.done: list[str] = []
        self.rivals = False

    def run(self, has_level: bool = True) -> Hold:
        for _ in range(100):
            decision = decide(self.record, self.settings, has_level)
            # The record as it is read after an interruption leads to the same.
            assert decide(replace(self.record), self.settings, has_level) == decision
            if isinstance(decision, Hold):
                return decision
            self.carry_out(decision)
        raise AssertionError("it never ends")

    def carry_out(self, decision: Decision) -> None:
        record = self.record
        if isinstance(decision, Label):
            record.labelled += range(len(record.labelled), len(record.labelled) + decision.count)
            record.labelled_since_fit += decision.count
            record.labels += decision.count
            record.qm_calls += decision.count
            self.done.append(f"label {decision.count}")
        elif isinstance(decision, Fit):
            number = len(record.fits) + 1
            record.fits.append(FitRecord(record.labels, record.labels, "both", {"both": 1.0}, 2.0, "a.pt"))
            if self.rivals:
                rival = FitRecord(record.labels, record.labels, "kernel", {"kernel": 1.2}, 2.0, "b.pt", number)
                record.fits.append(rival)
            record.labelled_since_fit = 0
            self.done.append("fit")
        elif isinstance(decision, Try):
            acceptance = self.acceptances.get((decision.fit, decision.k), 0.0)
            error = 1e6 if acceptance == 0 else -np.log(acceptance) * KT
            steps = self.settings.trial_steps
            record.trials.append(Trial(decision.k, decision.fit, 300.0, [error] * steps, [1.0] * steps, True))
            record.labels += steps
            record.qm_calls += steps + 1
            self.done.append(f"k = {decision.k} with {decision.fit}")


def test_all_goes_well() -> None:
    learning = Learning({(0, 4): 0.95, **{(1, k): 0.95 for k in (8, 12, 16)}})
    held = learning.run()
    assert learning.done == ["k = 4 with 0", "label 40", "fit", "k = 8 with 1", "k = 12 with 1", "k = 16 with 1"]
    assert held == Hold(16, 1, "the largest k is reached")


def test_a_choice_that_was_interrupted_is_labelled_first() -> None:
    """Of labels that are added, too, where an earlier version fitted to those that were done."""
    learning = Learning({(0, 4): 0.95, (1, 8): 0.5})
    while learning.done[-1:] != ["label 20"]:
        learning.carry_out(decide(learning.record, SETTINGS, True))
    record = learning.record
    record.chosen = [*record.labelled[-20:], 70, 80]
    assert decide(record, SETTINGS, True) == Label(2)
    record.in_flight = 3
    calls = record.qm_calls
    record.count_lost_calls()
    assert (record.qm_calls, record.in_flight) == (calls + 3, 0)
    record.qm_calls = SETTINGS.max_calls - 1
    assert decide(record, SETTINGS, True) == Label(1)
    record.qm_calls += 1
    assert isinstance(decide(record, SETTINGS, True), Hold)


def test_a_resonance_does_not_end_the_scan() -> None:
    learning = Learning({(0, 4): 0.95, (1, 8): 0.95, (1, 12): 0.5, (1, 16): 0.91})
    assert learning.run() == Hold(16, 1, "the largest k is reached")


def test_more_labels_where_a_fit_is_not_good_enough() -> None:
    """Two k in a row that fail end the scan of a fit; what was reached is not tried again with the next."""
    learning = Learning({(0, 4): 0.95, (1, 8): 0.95, (1, 12): 0.6, (2, 12): 0.95, (2, 16): 0.7})
    held = learning.run()
    assert learning.done[3:] == [
        *("k = 8 with 1", "k = 12 with 1", "k = 16 with 1", "label 20", "fit", "k = 12 with 2", "k = 16 with 2"),
        *("label 20", "fit", "k = 16 with 3", "label 20", "fit", "k = 16 with 4"),
    ]
    # The fit that reached it, not the last one.
    assert held == Hold(12, 2, "the QM calls are used up")
    assert learning.record.qm_calls <= SETTINGS.max_calls


def test_nothing_is_good_enough() -> None:
    assert Learning({}).run() == Hold(1, 0, "the QM calls are used up")
    assert Learning({}, replace(SETTINGS, max_calls=10)).run() == Hold(1, 0, "the QM calls are used up")
    small = replace(SETTINGS, pool_size=40, max_calls=1000)
    assert Learning({}, small).run() == Hold(1, 0, "the pool has no more configurations")


def _with_rivals(acceptances: dict[tuple[int, int], float], **changes: Any) -> Learning:
    learning = Learning(acceptances, replace(SETTINGS, **changes))
    learning.rivals = True
    return learning


def test_another_choice_of_parts_is_tried_where_the_first_k_fails() -> None:
    """And goes on where its acceptance is larger, though its force error is, too."""
    learning = _with_rivals({(0, 4): 0.95, (1, 8): 0.7, **{(2, k): 0.95 for k in (8, 12, 16)}})
    assert learning.run() == Hold(16, 2, "the largest k is reached")
    assert learning.done[2:] == ["fit", "k = 8 with 1", "k = 8 with 2", "k = 12 with 2", "k = 16 with 2"]


def test_the_first_choice_goes_on_where_the_other_is_no_better() -> None:
    learning = _with_rivals({(0, 4): 0.95, (1, 8): 0.7, (2, 8): 0.6, (1, 12): 0.95, (1, 16): 0.95})
    assert learning.run() == Hold(16, 1, "the largest k is reached")
    assert learning.done[2:] == ["fit", "k = 8 with 1", "k = 8 with 2", "k = 12 with 1", "k = 16 with 1"]


def test_another_choice_costs_nothing_where_the_first_k_passes() -> None:
    """Nor later: one more trial for each fit at most."""
    learning = _with_rivals({(0, 4): 0.95, (1, 8): 0.95, (4, 12): 0.92}, ks=(4, 8, 12), max_calls=1000)
    assert learning.run() == Hold(12, 4, "the largest k is reached")
    assert learning.done[2:] == [
        *("fit", "k = 8 with 1", "k = 12 with 1"),
        *("label 20", "fit", "k = 12 with 3", "k = 12 with 4"),
    ]


def test_what_breaks_down_is_worse_than_what_fails() -> None:
    rival = FitRecord(40, 40, "kernel", {"kernel": 1.2}, 2.0, "b.pt", 1)
    fits = [FitRecord(40, 40, "both", {"both": 1.0}, 2.0, "a.pt"), rival]
    trials = [Trial(8, 1, 300.0, [KT], [1.0], True), Trial(8, 2, 300.0, [0.0], [1.0], True, failed=True)]
    assert fit_in_use(Record({}, fits=fits, trials=trials), SETTINGS) == 1
    assert fit_in_use(Record({}, fits=fits, trials=trials[:1]), SETTINGS) == 2
    assert fit_in_use(Record({}, fits=fits), SETTINGS) == 1


def test_records_of_versions_that_knew_one_choice_of_parts(tmp_path: Path) -> None:
    """Their fits are fits of their own; what is written now is read as it was."""
    rival = FitRecord(40, 40, "kernel", {"kernel": 1.2}, 2.0, "b.pt", 1)
    record = Record({}, fits=[FitRecord(40, 40, "both", {"both": 1.0}, 2.0, "a.pt"), rival])
    path = tmp_path / "learning.json"
    record.write(path)
    assert Record.read(path).fits == record.fits
    content = json.loads(path.read_text())
    for fit in content["fits"]:
        del fit["instead_of"]
    path.write_text(json.dumps(content))
    old = Record.read(path)
    assert [fit.instead_of for fit in old.fits] == [0, 0] and fit_in_use(old, SETTINGS) == 2


def test_choices_of_parts_that_are_about_as_good() -> None:
    assert rival_parts({"bonded": 20.0, "kernel": 12.0, "both": 10.0}) == "kernel"
    assert rival_parts({"bonded": 14.0, "kernel": 16.0, "both": 10.0}) == "bonded"
    assert rival_parts({"bonded": 30.0, "kernel": 16.0, "both": 10.0}) is None
    assert rival_parts({"kernel": 16.0}) is None


def test_without_a_method_below_labels_come_first() -> None:
    learning = Learning({(1, k): 0.95 for k in (4, 8, 12, 16)})
    assert learning.run(has_level=False).k == 16
    assert learning.done[:3] == ["label 40", "fit", "k = 4 with 1"]


def test_an_interrupted_trial_goes_on() -> None:
    record = Record({}, pool_size=100, trials=[Trial(8, 0, 300.0, [0.1, 0.2], [1.0, 1.0])])
    assert decide(record, SETTINGS, True) == Try(8, 0)


def test_acceptance_of_a_trial() -> None:
    trial = Trial(8, 1, 300.0, [0.0, -5.0, KT * np.log(2), 99 * KT])
    assert trial.acceptance == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert trial.uncertainty == pytest.approx(np.std([1, 1, 0.5, 0], ddof=1) / 2)
    assert not trial.is_hopeless(0.9, 20) and trial.is_hopeless(0.9, 12)
    assert Trial(8, 1, 300.0).acceptance == 0 and Trial(8, 1, 300.0).correction is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acceptance": 1.0}, "acceptance must lie between 0 and 1"),
        ({"ks": (8, 4)}, "ks must be growing whole numbers from 2"),
        ({"ks": (1, 4)}, "ks must be growing whole numbers from 2"),
        ({"first_labels": 5}, "first_labels must be at least 10"),
        ({"pool_time": 0.0}, "pool_time must be positive"),
        ({"pool_size": 20}, r"first_labels \(60\) are taken from the pool, which has 20"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        LearningSettings(**change)


def test_configurations_that_differ_are_chosen() -> None:
    """Of two conformers of which one is rare both are there, and no copy of what is labelled."""
    common, rare = methanol.geometries(95, 1, 0.001), methanol.geometries(5, 2, 0.001)
    rare[:, 5] += [0.0, 0.0, 0.05]
    positions = np.concatenate([common, rare])
    group = np.arange(6)[None]
    chosen = select(positions, 10, group, seed=4)
    assert len(set(chosen)) == 10 and any(place >= 95 for place in chosen)
    more = select(positions, 100, group, seed=4, taken=chosen)
    assert len(more) == 90 and not set(more) & set(chosen)
    # A geometry with two hydrogens exchanged is one that is there.
    exchanged = np.array([0, 1, 3, 2, 4, 5])
    pair = np.stack([common[0], common[0][exchanged], common[1]])
    assert select(pair, 3, np.stack([np.arange(6), exchanged]), seed=1, taken=[0]) == [2]
