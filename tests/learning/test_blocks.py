"""Production in blocks: whether a surrogate is still good follows from the record, and labels make it better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from kstep_models.frames import FrameFile
from kstep_models.units import BOLTZMANN
from openmmkstep import createIntegrator
from openmmkstep.learning import Learned, Learner, LearningError, LearningSettings
from openmmkstep.learning.blocks import Block, OuterStep, Round, keep_steps, read_steps
from openmmkstep.learning.decisions import Decision, Fit, Hold, Label, Try
from openmmkstep.learning.record import FitRecord, Record, Trial
from openmmkstep.learning.relearning import decide_again, why_again
from tests.support.learning import PLATFORM, learner_of_methanol
from tests.support.levels.methanol import METHANOL, POSITIONS

KT = BOLTZMANN * 300
SETTINGS = LearningSettings(ks=(4, 8, 12, 16), first_labels=40, trial_steps=20, relearn_calls=200)


def record_after(block: Block, labels: int = 100, fitted: int = 100, spent: int = 0) -> Record:
    """A record of learning that was over, and one block."""
    record = Record({}, pool_size=40, labelled=list(range(40)), labels=labels, qm_calls=100 + spent)
    record.fits.append(FitRecord(fitted, fitted, "both", {"both": 1.0}, 2.0, "surrogate-1.pt"))
    record.held = {"k": block.k, "fit": block.fit, "reason": "", "max_calls": 300, "qm_calls": 100}
    record.blocks.append(block)
    return record


def block(k: int, acceptance: float, uncertainty: float = 0.01, redone: int = 0) -> Block:
    return Block(k, 1, 0, 0, 100, 0, acceptance, uncertainty, 0.1, 0.01, 50.0, redone, True)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (record_after(block(8, 0.95)), ""),
        # Below the target, but not by more than chance explains.
        (record_after(block(8, 0.88, 0.015)), ""),
        (record_after(block(8, 0.86, 0.015)), "the acceptance was 0.860 +- 0.015"),
        (record_after(block(16, 0.99, redone=2)), "the guard redid or refused 2 of 100 outer steps"),
        # No larger k is left, or too few labels have come.
        (record_after(block(16, 0.95), 500), ""),
        (record_after(block(8, 0.95), 199), ""),
        (record_after(block(8, 0.95), 200), "there are 200 labels, 100 at the last fit, for a larger k"),
        (record_after(block(1, 1.0), 200), "there are 200 labels, 100 at the last fit, for a larger k"),
        # Not for ever.
        (record_after(block(8, 0.5), spent=179), "the acceptance was 0.500 +- 0.010"),
        (record_after(block(8, 0.5), spent=180), ""),
    ],
)
def test_why_to_learn_again(record: Record, reason: str) -> None:
    assert why_again(record, SETTINGS) == reason


def learn_again(record: Record, acceptances: dict[int, float]) -> tuple[list[str], Hold]:
    """Learn again without calculations, by a table of the acceptance of each k."""
    record.rounds.append(Round(1, "", len(record.trials), len(record.fits)))
    done: list[str] = []
    for _ in range(30):
        decision: Decision = decide_again(record, SETTINGS)
        assert decide_again(replace(record), SETTINGS) == decision
        if isinstance(decision, Hold):
            return done, decision
        if isinstance(decision, Fit):
            record.fits.append(FitRecord(record.all_labels, 1, "both", {"both": 1.0}, 2.0, "surrogate-2.pt"))
            done.append("fit")
        elif isinstance(decision, Label):
            record.labelled += range(len(record.labelled), len(record.labelled) + decision.count)
            record.labels += decision.count
            record.qm_calls += decision.count
            done.append(f"label {decision.count}")
        else:
            errors = [-np.log(acceptances[decision.k]) * KT] * SETTINGS.trial_steps
            record.trials.append(Trial(decision.k, decision.fit, 300.0, errors, errors, True))
            record.qm_calls += len(errors) + 1
            done.append(f"k = {decision.k}")
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("now", "acceptances", "done", "held"),
    [
        # What became worse is as good as before with a new fit, or better, or falls.
        (block(8, 0.5), {8: 0.95, 12: 0.5, 16: 0.6}, ["fit", "k = 8", "k = 12", "k = 16"], (8, 2)),
        (block(8, 0.5), {8: 0.95, 12: 0.5, 16: 0.95}, ["fit", "k = 8", "k = 12", "k = 16"], (16, 2)),
        (block(12, 0.5), {12: 0.5, 8: 0.7, 4: 0.95}, ["fit", "k = 12", "k = 8", "k = 4"], (4, 2)),
        (block(8, 0.5), {8: 0.5, 4: 0.6}, ["fit", "k = 8", "k = 4"], (1, 0)),
        # What is good stays where nothing larger passes.
        (block(8, 0.95), {12: 0.5, 16: 0.5}, ["fit", "k = 12", "k = 16"], (8, 1)),
        (block(8, 0.95), {12: 0.95, 16: 0.5}, ["fit", "k = 12", "k = 16"], (12, 2)),
        (block(1, 1.0), {4: 0.95, 8: 0.5, 12: 0.5}, ["fit", "k = 4", "k = 8", "k = 12"], (4, 2)),
    ],
)
def test_what_learning_again_comes_to(
    now: Block, acceptances: dict[int, float], done: list[str], held: tuple[int, int]
) -> None:
    steps, hold = learn_again(record_after(now, 300), acceptances)
    assert steps == done and (hold.k, hold.fit) == held


@pytest.mark.parametrize(
    ("acceptances", "tried", "present"),
    [
        # The other one goes on where it is better, the first one where it is not or none is needed.
        ({(8, 2): 0.7, (8, 3): 0.95, (12, 3): 0.95}, [(8, 2), (8, 3), (12, 3), (16, 3)], 3),
        ({(8, 2): 0.7, (8, 3): 0.6, (4, 2): 0.95}, [(8, 2), (8, 3), (4, 2)], 2),
        ({(8, 2): 0.95, (12, 2): 0.5}, [(8, 2), (12, 2), (16, 2)], 2),
    ],
)
def test_another_choice_of_parts_after_a_block(
    acceptances: dict[tuple[int, int], float], tried: list[tuple[int, int]], present: int
) -> None:
    """At the first k, if that fails, as before production."""
    record = record_after(block(8, 0.5), 300)
    record.rounds.append(Round(1, "", 0, 1))
    assert decide_again(record, SETTINGS) == Fit()
    record.fits.append(FitRecord(300, 300, "both", {"both": 1.0}, 2.0, "surrogate-2.pt"))
    record.fits.append(FitRecord(300, 300, "kernel", {"kernel": 1.2}, 2.0, "surrogate-3.pt", 2))
    for k, fit in tried:
        assert decide_again(record, SETTINGS) == Try(k, fit)
        errors = [-np.log(acceptances.get((k, fit), 0.1)) * KT] * SETTINGS.trial_steps
        record.trials.append(Trial(k, fit, 300.0, errors, errors, True))
    hold = decide_again(record, SETTINGS)
    assert isinstance(hold, Hold) and hold.fit == present


def test_the_pool_is_labelled_where_production_came_first() -> None:
    record = record_after(block(4, 0.97), 0)
    record.fits, record.labelled = [], []
    record.blocks[0].fit = 0
    assert why_again(record, SETTINGS) == "nothing has been fitted yet"
    done, hold = learn_again(record, {8: 0.95, 12: 0.5, 16: 0.5})
    assert done == ["label 40", "fit", "k = 8", "k = 12", "k = 16"] and (hold.k, hold.fit) == (8, 1)


def test_calls_that_run_out_leave_things_as_they_are() -> None:
    record = record_after(block(8, 0.5), 300, spent=170)
    done, hold = learn_again(record, {8: 0.5})
    assert done == ["fit", "k = 8"] and (hold.k, hold.fit) == (8, 1) and "used up" in hold.reason


def test_a_block_is_measured() -> None:
    """Steps of its own alone; those that were redone count as refused."""
    steps = [OuterStep(9.0, 1.0, False)] * 5 + [OuterStep(KT * np.log(2), 3.0, False), OuterStep(None, None, True)] * 50
    own = Block(8, 1, 40, 5)
    own.measure(steps, 300.0)
    assert own.steps == 100 and own.redone == 50 and own.end == 840
    assert own.acceptance == pytest.approx(0.25) and own.correction == pytest.approx(3.0)
    assert own.mean_error == pytest.approx(KT * np.log(2)) and own.error_of_mean == pytest.approx(0.0)


def simulation_of(learned: Learned, seed: int) -> app.Simulation:
    integrator = createIntegrator(learned.system, 300, 5.0, 0.0005, learned.k)
    integrator.setRandomNumberSeed(seed)
    simulation = app.Simulation(METHANOL, learned.system, integrator, PLATFORM)
    learned.point.apply_to(simulation.context)
    return simulation


def test_a_script_begins_at_once_and_improves(tmp_path: Path) -> None:
    """k = 4 with the level that is there, then more; labels of production are kept, once, and fitted."""
    settings = LearningSettings(
        **{
            "ks": (4, 8),
            "first_k": 4,
            "first_labels": 20,
            "trial_steps": 8,
            "pool_time": 0.2,
            "pool_size": 40,
            "seed": 3,
        }
    )
    learner = learner_of_methanol(tmp_path, settings)
    with pytest.raises(LearningError, match=r"call learn\(\) first"):
        learner.watch(app.Simulation(METHANOL, *_unlearned()))
    learned = learner.learn(POSITIONS)
    assert learned.k == 4 and learned.archive is None and learned.record.qm_calls == 9
    assert learned.record.held["reason"] == "k = 4 is enough to begin with"
    simulation = simulation_of(learned, 1)
    learner.watch(simulation)
    assert simulation.integrator.getMetropolis() == "monitor"
    simulation.step(12)
    # As if it had been killed here: the block begins anew, and its labels are not there twice.
    again = learner_of_methanol(tmp_path, settings)
    learned = again.learn(POSITIONS)
    simulation = simulation_of(learned, 1)
    again.watch(simulation)
    simulation.step(12)
    learned = again.review(simulation)
    assert not simulation.reporters
    record = learned.record
    assert learned.k == 8 and learned.archive is not None and learned.archive.name == "surrogate-1.pt"
    assert [one.reason for one in record.rounds] == ["nothing has been fitted yet"]
    assert record.blocks[0].steps == record.production_labels == 12 and record.fits[0].labels == 12 + 20 + 8
    assert record.relearn_calls == 20 + 9
    np.testing.assert_array_equal(
        learned.point.positions, simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    )
    with pytest.raises(LearningError, match="k = 8 is held, but the simulation has k = 4"):
        again.watch(simulation)
    simulation = simulation_of(learned, 2)
    again.watch(simulation)
    simulation.step(10)
    end = again.review(simulation)
    blocks = end.record.blocks
    assert end.k == 8 and [(b.k, b.fit, b.start, b.first, b.steps) for b in blocks] == [
        (4, 0, 0, 0, 12),
        (8, 1, 48, 12, 10),
    ]
    assert len(read_steps(tmp_path / "production.csv")) == 22
    with FrameFile(tmp_path / "production.h5") as file:
        assert len(file) == 22 and len(np.unique(file.frames("positions"), axis=0)) == 22
    # All of it is in the record.
    assert Record.read(tmp_path / "learning.json").to_json() == end.record.to_json()
    keep_steps(tmp_path / "production.csv", 3)
    assert len(read_steps(tmp_path / "production.csv")) == 3


def _unlearned() -> tuple[openmm.System, openmm.Integrator, openmm.Platform]:
    from tests.support.levels.methanol import mixed_methanol

    system = mixed_methanol(["gfn1-xtb"])
    return system, createIntegrator(system, 300, 5.0, 0.0005, 4), PLATFORM


def test_a_spoiled_surrogate_is_noticed(tmp_path: Path) -> None:
    """The levels that are there, of which nothing is learned but k: a bad one falls after its first block."""
    settings = LearningSettings(ks=(2, 4, 8), first_labels=0, trial_steps=6, seed=3)
    learner: Learner = learner_of_methanol(tmp_path, settings)
    learned = learner.learn(POSITIONS)
    assert learned.k > 2
    hot = simulation_of(learned, 1)
    # Hotter than what the trials have seen.
    hot.context.setVelocitiesToTemperature(3000, 1)
    learner.watch(hot)
    hot.step(40)
    after = learner.review(hot)
    assert after.record.rounds and after.record.blocks[0].acceptance < 0.9
    assert after.record.production_labels == 0 and not after.record.fits
