"""A network that is trained beside the dynamics, on the labels of the fits, and what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import app

from kstep_models.configuration import ConfigError, parse_config
from kstep_models.contract import read_contract
from kstep_models.frames import FrameFile
from kstep_models.units import BOLTZMANN
from openmmkstep import createIntegrator
from openmmkstep.learning import Learner, LearningError, LearningSettings, NetworkSettings
from openmmkstep.learning.decisions import Label, Try, Wait, decide, fit_in_use
from openmmkstep.learning.networks import NetworkRecord, is_due, under_way
from openmmkstep.learning.record import FitRecord, Record, Trial
from openmmkstep.learning.stages import network_process
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.report.learning import learning_summary, learning_table, plot_learning
from openmmkstep.workflows.run_folder import RunFolder
from tests.learning.test_runs import configuration
from tests.support.learning import PLATFORM, check_books, learner_of_methanol
from tests.support.levels.methanol import METHANOL, POSITIONS

KT = BOLTZMANN * 300
TINY = NetworkSettings(
    from_labels=20,
    max_time=None,
    max_steps=30,
    validate_every=10,
    model={
        **{"channels": 4, "cubic_channels": 2, "layers": 1, "hidden": 8, "readout": 4},
        **{"message_channels": 2, "vector_channels": 2},
    },
    compile="off",
)
SETTINGS = LearningSettings(
    **{"ks": (4, 8), "acceptance": 0.9999, "max_calls": 48, "first_labels": 20, "trial_steps": 6},
    **{"pool_time": 0.2, "pool_size": 20, "seed": 3, "network": TINY},
)


def fit(parts: str, error: float, instead_of: int = 0) -> FitRecord:
    return FitRecord(40, 40, parts, {parts: error}, 20.0, f"{parts}.pt", instead_of)


def trial(k: int, number: int, acceptance: float) -> Trial:
    return Trial(k, number, 300.0, [-np.log(acceptance) * KT] * 20, [1.0] * 20, True)


def test_trials_choose_between_a_network_and_a_fit() -> None:
    settings = replace(SETTINGS, ks=(4, 8, 12, 16), acceptance=0.9)

    def in_use(network: FitRecord, *trials: Trial) -> int:
        return fit_in_use(Record({}, fits=[fit("both", 10.0), network], trials=list(trials)), settings)

    better, worse = fit("network", 5.0), fit("network", 12.0, 1)
    # With the smaller error it goes on until it fails, and stays where the other was no better at that k.
    assert in_use(better) == 2
    assert in_use(better, trial(4, 1, 0.95), trial(8, 1, 0.5), trial(8, 2, 0.95)) == 2
    assert in_use(better, trial(4, 1, 0.95), trial(8, 2, 0.5)) == 1
    assert in_use(better, trial(8, 1, 0.5), trial(8, 2, 0.6)) == 2
    assert in_use(better, trial(8, 1, 0.7), trial(8, 2, 0.6)) == 1
    # The other has failed at less.
    assert in_use(better, trial(8, 1, 0.5), trial(8, 2, 0.95), trial(12, 2, 0.5)) == 2
    # With the larger error it is tried where the fit fails, which need not be at its first k.
    assert in_use(worse) == in_use(worse, trial(4, 1, 0.95)) == 1
    assert in_use(worse, trial(4, 1, 0.95), trial(8, 1, 0.5)) == 2
    assert in_use(worse, trial(8, 1, 0.5), trial(8, 2, 0.7)) == 2
    assert in_use(worse, trial(8, 1, 0.5), trial(8, 2, 0.4)) == 1
    record = Record({}, fits=[fit("both", 10.0), worse], trials=[trial(4, 1, 0.95), trial(8, 1, 0.5)], pool_size=20)
    record.labelled = list(range(20))
    assert decide(record, replace(settings, max_calls=900), False) == Try(8, 2)


def test_calls_are_left_for_a_network() -> None:
    """No more labels than leave it a trial, for which learning waits."""
    settings = replace(SETTINGS, ks=(8,), trial_steps=20, more_labels=10, max_calls=91)
    record = Record({}, fits=[fit("both", 10.0)], trials=[trial(8, 1, 0.5)], pool_size=100, qm_calls=40)
    record.labelled = list(range(20))
    assert decide(record, settings, False) == Label(10)
    record.networks = [NetworkRecord(40, 32, 1)]
    assert decide(record, settings, False) == Wait()
    assert decide(record, replace(settings, max_calls=200), False) == Label(10)
    record.networks[0].state = "trained"
    assert decide(record, settings, False) == Label(10)


def test_when_a_network_is_due() -> None:
    trained = NetworkRecord(30, 24, 1, "trained")
    assert not is_due([], 19, SETTINGS) and is_due([], 20, SETTINGS)
    assert not is_due([trained], 59, SETTINGS) and is_due([trained], 60, SETTINGS)
    assert not is_due([NetworkRecord(30, 24, 1)], 60, SETTINGS)
    assert not is_due([], 60, replace(SETTINGS, network=None))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learning of which a network is a part, killed while that is trained."""
    folder = tmp_path_factory.mktemp("network")
    told: list[str] = []
    learner = learner_of_methanol(folder, SETTINGS, progress=told.append)
    carry_out = learner._carry_out

    def interrupted(decision: Any) -> None:
        if isinstance(decision, Wait):
            _wait_for((folder / "network-1" / "training" / "last.ckpt").exists, 300)
            raise KeyboardInterrupt
        carry_out(decision)

    learner._carry_out = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        learner.learn(POSITIONS)
    assert any("a network of 21 labels is being trained" in line for line in told)
    process = learner._networks._process
    assert process is not None and process.is_running
    learner.close()
    assert not process.is_running and not (folder / "network-1" / "done.json").exists()
    network = under_way(Record.read(folder / "learning.json").networks)
    assert network is not None and network.fit == 0
    learner_of_methanol(folder, SETTINGS).learn(POSITIONS)
    return folder


@pytest.mark.slow
def test_a_network_is_trained_on_what_the_fit_does_not_hold_out(learned: Path) -> None:
    """Taken up after the kill, once, and recorded."""
    record = check_books(learned)
    (network,) = record.networks
    assert network.state == "trained" and network.error is not None and network.seconds > 0
    assert (network.labels, network.used, network.against) == (21, 17, 1)
    positions = {}
    for use in ("train", "validation", "test"):
        with FrameFile(learned / "network-1" / f"{use}.h5") as file:
            positions[use] = file.frames("positions")
    assert [len(one) for one in positions.values()] == [16, 1, 4]
    with FrameFile(learned / "labels.h5") as file:
        np.testing.assert_array_equal(positions["test"], file.frames("positions")[:21][2::5])
        assert file.region.level_of_theory["minus"]["method"] == "gfn1-xtb"
    assert len(np.unique(np.concatenate(list(positions.values())), axis=0)) == 21
    history = json.loads((learned / "network-1" / "training" / "metrics.json").read_text())["history"]
    steps = [entry["step"] for entry in history]
    assert steps == sorted(set(steps)) and steps[-1] == TINY.max_steps
    # The error on labels that it has not seen is the one that the training package measures.
    evaluation = json.loads((learned / "network-1" / "training" / "evaluation.json").read_text())
    assert network.error == pytest.approx(evaluation["kinds"]["gas"]["force_rmse"], rel=1e-4)
    contract = read_contract(learned / "network-1.pt")
    assert contract.kind == "potential"
    # After so few steps it is worse than the fit, and nothing else than its error says so.
    assert network.fit == 0 and network.reason == "its error is more than 1.5 times that of fit 1"
    assert [one.parts for one in record.fits].count("network") == 0


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Another program in place of the one that trains, which has an archive at once; here is its folder."""
    head = """
import pathlib, shutil, sys, time
training, archive, done = (pathlib.Path(argument) for argument in sys.argv[1:])
folder = training.parent
def end(source):
    shutil.copy(source, archive)
    done.write_text('{"seconds": 7.0}')
"""
    monkeypatch.setattr(network_process, "_command", lambda: [sys.executable, "-c", head + program])
    monkeypatch.setattr("openmmkstep.learning.stages.networks.check_training", lambda path: None)


def test_a_network_that_is_better_is_tried_like_a_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fit to all labels says of those that were held out is better than what a fit to the others does."""
    stand_in(monkeypatch, "end(folder.parent / 'surrogate-1.pt')")
    settings = replace(SETTINGS, max_calls=70)
    learned = learner_of_methanol(tmp_path, settings).learn(POSITIONS)
    record = check_books(tmp_path)
    assert Record.read(tmp_path / "learning.json").to_json() == learned.record.to_json()
    network = record.networks[0]
    assert network.state == "trained" and network.seconds == 7.0 and network.error is not None
    candidate, first = record.fits[network.fit - 1], record.fits[0]
    assert network.error < first.errors[first.parts]
    assert candidate.parts == "network" and candidate.errors == {"network": network.error}
    assert candidate.instead_of == 0 and candidate.archive == "network-1.pt"
    assert (candidate.labels, candidate.used) == (network.labels, network.used) == (21, 17)
    tried = [one for one in record.trials if one.fit == network.fit]
    assert tried and record.qm_calls <= settings.max_calls
    _check_report(tmp_path)
    # Learning that is over is not done again.
    before = (tmp_path / "learning.json").read_text()
    learner_of_methanol(tmp_path, settings).learn(POSITIONS)
    assert (tmp_path / "learning.json").read_text() == before


def _check_report(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "learning").symlink_to(folder)
    config = parse_config(configuration(folder), RunConfig, "run.yaml", folder)
    summary = learning_summary(RunPlan.of(config).learning, RunFolder(folder / "out"))
    assert summary is not None
    rows = dict(learning_table(summary))
    number = summary["networks"][0]["fit"]
    assert rows["network 1"].startswith("17 labels; 7 s of training; held-out force error")
    assert rows["network 1"].endswith(f"; fit {number}") and "17 labels, network" in rows[f"fit {number}"]
    assert plot_learning(summary) is not None


def test_killed_while_a_network_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-done training is taken up, counts once, and nothing of it is used before it is over."""
    # Like training it leaves something on the way, an archive without an end among it, and goes on from there.
    stand_in(
        monkeypatch,
        """
shutil.copy(folder.parent / 'surrogate-1.pt', archive)
starts = folder / 'starts'
starts.write_text(starts.read_text() + 'x' if starts.exists() else 'x')
if len(starts.read_text()) < 4:
    time.sleep(600)
end(folder.parent / 'surrogate-1.pt')
""",
    )
    settings = replace(SETTINGS, max_calls=70)
    starts = tmp_path / "network-1" / "starts"

    def killed(books: Any, message: str) -> None:
        if message == "waiting for the network":
            raise KeyboardInterrupt

    for number in range(1, 4):
        learner = learner_of_methanol(tmp_path, settings)
        with monkeypatch.context() as patch:
            patch.setattr("openmmkstep.learning.books.Books.progress", killed)
            with pytest.raises(KeyboardInterrupt):
                learner.learn(POSITIONS)
        _wait_for(lambda reached=number: starts.exists() and len(starts.read_text()) >= reached, 60)
        learner.close()
        assert len(starts.read_text()) == number
        record = check_books(tmp_path)
        network = under_way(record.networks)
        assert network is not None and len(record.networks) == 1 and (tmp_path / "network-1.pt").exists()
        assert all(one.parts != "network" for one in record.fits)
    learner_of_methanol(tmp_path, settings).learn(POSITIONS)
    record = check_books(tmp_path)
    assert record.networks[0].state == "trained" and [one.parts for one in record.fits].count("network") == 1


def test_after_a_block_a_network_is_a_reason_to_learn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        monkeypatch,
        """
while not (folder.parent / 'go').exists():
    time.sleep(0.01)
end(folder.parent / 'surrogate-1.pt')
""",
    )
    settings = replace(SETTINGS, acceptance=0.9, first_k=8, ks=(4, 8, 16))
    learner = learner_of_methanol(tmp_path, settings)
    learned = learner.learn(POSITIONS)
    assert learned.k == 8 and under_way(learned.record.networks) is not None
    assert learned.record.fits[-1].parts != "network"
    (tmp_path / "go").touch()
    process = learner._networks._process
    while process is not None and process.is_running:
        time.sleep(0.01)
    integrator = createIntegrator(learned.system, 300, 5.0, 0.0005, learned.k)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(METHANOL, learned.system, integrator, PLATFORM)
    learned.point.apply_to(simulation.context)
    learner.watch(simulation)
    simulation.step(6)
    record = learner.review(simulation).record
    assert [one.reason for one in record.rounds] == ["a network has been trained"]
    # It is tried at the larger k, and nothing is fitted again for it.
    network = record.networks[0].fit
    assert network == len(record.fits) and record.fits[-1].parts == "network"
    assert [(one.k, one.fit) for one in record.trials[record.rounds[0].first_trial :]][:1] == [(16, network)]
    assert record.present in ((8, learned.record.blocks[0].fit), (16, network))


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However that ends."""
    settings = replace(SETTINGS, network=replace(TINY, max_steps=1000000))
    with monkeypatch.context() as patch:
        stand_in(patch, "sys.exit(1)")
        learner_of_methanol(tmp_path, settings).learn(POSITIONS)
    folder = tmp_path / "network-1"
    parent = os.fork()
    if not parent:
        process = network_process.NetworkProcess(folder, tmp_path / "a.pt")
        (tmp_path / "pid").write_text(str(process._process.pid))
        time.sleep(600)
    _wait_for(lambda: (folder / "training" / "last.ckpt").exists(), 300)
    child = int((tmp_path / "pid").read_text())
    assert _lives(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    _wait_for(lambda: not _lives(child), 60)
    assert not (tmp_path / "a.pt").exists()


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _lives(process: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_missing_extra_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmmkstep.learning.networks.find_spec", lambda name: None if name == "lightning" else name)
    with pytest.raises(LearningError, match=r"needs lightning.*pip install 'openmm-kstep\[training\]'"):
        learner_of_methanol(tmp_path, SETTINGS)
    assert learner_of_methanol(tmp_path, replace(SETTINGS, network=None)) is not None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"chanels": 4}}, "channels"),
        pytest.param({"start_from": "nothing.ckpt"}, "nothing.ckpt does not exist", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_label(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    learner: Learner = learner_of_methanol(tmp_path, replace(SETTINGS, network=replace(TINY, **change)))
    with pytest.raises(LearningError, match=message):
        learner.learn(POSITIONS)
    assert not (tmp_path / "learning.json").exists()


def test_a_training_that_fails_leaves_learning_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "sys.exit('error: no room')")
    learned = learner_of_methanol(tmp_path, SETTINGS).learn(POSITIONS)
    (network,) = learned.record.networks
    assert (network.state, network.reason, network.fit) == ("failed", "no room", 0)
    assert learned.record.held is not None and all(one.parts != "network" for one in learned.record.fits)


def test_the_section_of_a_configuration(tmp_path: Path) -> None:
    """It says how much may be spent, not what a folder is for."""

    def plan(**learn: Any) -> RunPlan:
        content = configuration(tmp_path)
        content["learn"] |= learn
        return RunPlan.of(parse_config(content, RunConfig, "run.yaml", tmp_path))

    section = {"from_labels": 100, "max_time": "2 min", "start_from": "old/last.ckpt", "model": {"channels": 64}}
    with_network = plan(network=section)
    assert plan().learning is not None and plan().learning.settings.network is None  # type: ignore[union-attr]
    assert with_network.learning is not None and with_network.settings == plan().settings
    assert with_network.learning.settings.network == NetworkSettings(
        from_labels=100, max_time=120.0, start_from=str(tmp_path / "old" / "last.ckpt"), model={"channels": 64}
    )
    with pytest.raises(ConfigError, match="leave network out where first_labels is 0"):
        plan(network=section, first_labels=0)
    with pytest.raises(ConfigError, match=r"'learn\.network\.from_label', did you mean"):
        plan(network={"from_label": 100})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from_labels": 10}, "from_labels must be at least 20"),
        ({"max_time": None}, "needs an end"),
        ({"max_steps": 0}, "max_steps must be positive"),
        ({"compile": "yes"}, "auto, on or off"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        replace(NetworkSettings(), **change)
