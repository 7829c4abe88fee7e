"""Learning methanol by GFN2 above GFN1: from nothing to a k that holds what it promises, through any interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from kstep_models.frames import FrameFile
from kstep_models.locks import InUseError, locked
from kstep_models.units import BOLTZMANN
from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.learning import Learned, Learner, LearningError, LearningSettings
from openmmkstep.learning.record import Record
from openmmkstep.learning.stages.pool import Pool
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.levels import force_groups
from tests.support.learning import PLATFORM, assert_same_frames, check_books
from tests.support.learning import learner_of_methanol as learner
from tests.support.levels.methanol import METHANOL, POSITIONS, bare_methanol
from tests.support.qmmm.molecules import make_topology

SETTINGS = LearningSettings(
    ks=(4, 8, 16), max_calls=150, first_labels=30, trial_steps=10, pool_time=1.0, pool_size=60, seed=3
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learned]:
    folder = tmp_path_factory.mktemp("learning")
    return folder, learner(folder, SETTINGS).learn(POSITIONS)


def test_a_k_is_held_that_keeps_its_promise(learned: tuple[Path, Learned]) -> None:
    folder, result = learned
    record = check_books(folder)
    assert result.k == 16 and record.qm_calls == len(record.labelled) + 11 * len(record.trials) <= SETTINGS.max_calls
    assert result.archive == folder / f"surrogate-{record.held['fit']}.pt"
    integrator = createIntegrator(result.system, 300, 5.0, 0.0005, result.k)
    integrator.setMetropolis("monitor")
    integrator.setRandomNumberSeed(2)
    context = openmm.Context(result.system, integrator, PLATFORM)
    context.setPositions(POSITIONS)
    context.setVelocitiesToTemperature(300, 2)
    integrator.step(100)
    statistics = integrator.getStatistics()
    assert statistics.fallbacks == 0 and statistics.meanAcceptanceProbability > SETTINGS.acceptance


def test_what_is_over_is_not_done_again(learned: tuple[Path, Learned], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, result = learned
    before = (folder / "learning.json").read_text()
    monkeypatch.setattr(Learner, "_carry_out", lambda *_: pytest.fail("something was done"))
    again = learner(folder, SETTINGS).learn(POSITIONS)
    assert (again.k, again.archive) == (result.k, result.archive)
    assert (folder / "learning.json").read_text() == before
    content = json.loads(before)
    assert content["trials"][0]["acceptance"] > 0.9 and content["held"]["reason"]


def test_the_levels_that_were_learned(learned: tuple[Path, Learned]) -> None:
    _, result = learned
    engines = {
        force.getForceGroup(): QMMMForce.cast(force).getEngine()
        for force in result.system.getForces()
        if QMMMForce.isInstance(force)
    }
    assert engines == {force_groups.QM: "gfn2-xtb", force_groups.SURROGATE: "gfn1-xtb"}


class _Killed(BaseException):
    """Stands for a signal that no program survives."""


def test_interrupted_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two writes, 40 times: all is as if nothing had happened, but for the calls that were lost."""
    settings = LearningSettings(
        ks=(4, 8), max_calls=150, first_labels=20, trial_steps=8, pool_time=0.2, pool_size=40, seed=3
    )
    whole = tmp_path / "whole"
    learner(whole, settings).learn(POSITIONS)
    tmp_path = tmp_path / "parts"
    random = np.random.default_rng(7)
    left = 0

    def mortal(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Killed
            result = function(*arguments, **options)
            left -= 1
            if left == 0:
                raise _Killed
            return result

        return call

    monkeypatch.setattr("openmmkstep.learning.record.write_atomically", mortal(_writer()))
    for module in ("sampling", "places", "pool"):
        monkeypatch.setattr(f"openmmkstep.learning.stages.{module}.write_atomically", mortal(_writer()))
    monkeypatch.setattr("kstep_models.frames.FrameWriter.flush", mortal(_flush()))
    kills = 0
    result = None
    while result is None:
        left = int(random.integers(1, 20)) if kills < 40 else 10**9
        try:
            result = learner(tmp_path, settings).learn(POSITIONS)
        except _Killed:
            kills += 1
            if (tmp_path / "learning.json").exists() and (tmp_path / "labels.h5").exists():
                labels = Record.read(tmp_path / "learning.json").labels
                with FrameFile(tmp_path / "labels.h5") as file:
                    # At most the one that was on its way.
                    assert labels <= len(file) <= labels + 1
    assert kills >= 15
    check_books(tmp_path)
    assert result.k == 8
    ours, theirs = (Record.read(folder / "learning.json").to_json() for folder in (tmp_path, whole))
    assert theirs["qm_calls"] < ours["qm_calls"] <= theirs["qm_calls"] + 2 * kills and ours["in_flight"] == 0
    for record in (ours, theirs):
        del record["qm_calls"], record["wall_time"], record["held"]["qm_calls"]
    assert ours == theirs
    assert_same_frames(tmp_path / "labels.h5", whole / "labels.h5")
    assert result.archive is not None and result.archive.name == "surrogate-1.pt"


def _writer() -> Any:
    from kstep_models.files import write_atomically

    return write_atomically


def _flush() -> Any:
    from kstep_models.frames import FrameWriter

    return FrameWriter.flush


def test_from_the_force_field_alone(tmp_path: Path) -> None:
    """Nothing but bonds below QM: the QM level is learned whole."""
    bonds = openmm.HarmonicBondForce()
    angles = openmm.CustomBondForce("20000*(r-r0)^2")
    angles.addPerBondParameter("r0")
    pairs = {(a.index, b.index) for a, b in METHANOL.bonds()}
    for i in range(6):
        for j in range(i + 1, 6):
            length = float(np.linalg.norm(POSITIONS[i] - POSITIONS[j]))
            if (i, j) in pairs:
                bonds.addBond(i, j, length, 250000)
            else:
                angles.addBond(i, j, [length])

    def mix(surrogate: list[Any] | None) -> openmm.System:
        options = {} if surrogate is None else {"surrogate": surrogate}
        potential = QMMMPotential("gfn2-xtb")
        return potential.createMixedSystem(METHANOL, bare_methanol(), range(6), baseLevel=[bonds, angles], **options)

    settings = LearningSettings(
        ks=(4,), max_calls=200, first_labels=80, trial_steps=10, pool_time=2.0, pool_size=200, pool_temperature=1.0
    )
    learner = Learner(mix, METHANOL, tmp_path, settings=settings, platform=PLATFORM)
    result = learner.learn(POSITIONS)
    assert result.k == 4 and result.record.trials[0].fit == 1
    check_books(tmp_path)


def test_a_larger_budget_takes_it_up_again(tmp_path: Path) -> None:
    few = LearningSettings(ks=(4, 8), max_calls=15, first_labels=20, trial_steps=8, pool_time=0.2, pool_size=40, seed=3)
    first = learner(tmp_path, few).learn(POSITIONS)
    assert first.k == 4 and first.archive is None and first.record.held["reason"] == "the QM calls are used up"
    more = LearningSettings(
        ks=(4, 8), max_calls=100, first_labels=20, trial_steps=8, pool_time=0.2, pool_size=40, seed=3
    )
    second = learner(tmp_path, more).learn(POSITIONS)
    assert second.k == 8 and second.archive is not None
    check_books(tmp_path)


def test_refusals(learned: tuple[Path, Learned], tmp_path: Path) -> None:
    folder, _ = learned
    other = LearningSettings(**{**vars(SETTINGS), "trial_steps": 11})
    with pytest.raises(LearningError, match=r"other settings \(trial_steps\)"):
        learner(folder, other).learn(POSITIONS)
    with pytest.raises(LearningError, match=r"other settings \(temperature\)"):
        learner(folder, SETTINGS, temperature=310).learn(POSITIONS)
    with pytest.raises(LearningError, match="another QM level or other levels below it: choose another folder"):
        learner(folder, SETTINGS, start=["gfn-ff"]).learn(POSITIONS)
    with pytest.raises(LearningError, match="give one above 0 K"):
        learner(tmp_path / "cold", SETTINGS, temperature=0)
    with locked(folder), pytest.raises(InUseError):
        learner(folder, SETTINGS).learn(POSITIONS)
    with pytest.raises(LearningError, match=r"there is no level below QM .* give a QM method as start"):
        learner(tmp_path / "alone", SETTINGS, start=[]).learn(POSITIONS)
    # A difference to the method alone would be added to the other parts, too.
    for start in (["gfn1-xtb", openmm.HarmonicBondForce()], [openmm.HarmonicBondForce()]):
        with pytest.raises(LearningError, match=r"the difference to one QM method.* set first_labels to 0"):
            learner(tmp_path / "sum", SETTINGS, start=start).learn(POSITIONS)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "learning.json").write_text('{"schema": "kstep-learning"')
    with pytest.raises(LearningError, match=r"learning.json is damaged .* remove the folder to learn anew"):
        learner(damaged, SETTINGS).learn(POSITIONS)


def test_a_pool_of_few_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations that are the same are not labelled twice, nor waited for."""

    def same(*_: Any) -> Pool:
        few = POSITIONS + np.random.default_rng(1).normal(scale=0.003, size=(12, 6, 3))
        return Pool(few[np.arange(40) % 12].astype(np.float32), np.tile(2 * np.eye(3), (40, 1, 1)))

    monkeypatch.setattr("openmmkstep.learning.stages.sampling.make_pool", same)
    settings = LearningSettings(
        ks=(4, 8), max_calls=80, first_labels=20, trial_steps=8, pool_time=0.2, pool_size=40, seed=3
    )
    record = learner(tmp_path, settings).learn(POSITIONS).record
    assert len(record.labelled) == record.pool_size == 12 and record.fits
    check_books(tmp_path)


def test_a_region_of_one_atom(tmp_path: Path) -> None:
    """Nothing can be learned of it, but k be found."""
    neon = make_topology([("NE", ("Ne",), [])])
    system = openmm.System()
    system.addParticle(20.18)

    def mix(surrogate: list[Any] | None) -> openmm.System:
        return QMMMPotential("gfn2-xtb").createMixedSystem(neon, system, [0], surrogate=surrogate)

    with pytest.raises(LearningError, match=r"a region of one atom has no geometry .* set first_labels to 0"):
        Learner(mix, neon, tmp_path, ["gfn1-xtb"], platform=PLATFORM).learn([[0, 0, 0]])
    settings = LearningSettings(ks=(4, 8), first_labels=0, trial_steps=5)
    learned = Learner(mix, neon, tmp_path, ["gfn1-xtb"], settings=settings, platform=PLATFORM).learn([[0, 0, 0]])
    assert learned.k == 8


def test_the_k_of_levels_that_are_there(tmp_path: Path) -> None:
    """Nothing is learned but k, and no label is kept: for any surrogate, an archive or a force of the user's."""
    settings = LearningSettings(ks=(2, 4, 8, 16, 24), max_calls=200, first_labels=0, trial_steps=12, seed=3)
    result = learner(tmp_path, settings).learn(POSITIONS)
    record = result.record
    tried = [trial.k for trial in record.trials]
    assert tried == list(settings.ks)[: len(tried)] and {trial.fit for trial in record.trials} == {0}
    assert result.k == max(trial.k for trial in record.trials if trial.acceptance >= settings.acceptance) >= 4
    assert (
        result.archive is None
        and record.labels == 0
        and record.held["reason"] == "all k are tried that could be larger"
    )
    assert not (tmp_path / "labels.h5").exists() and not (tmp_path / "pool.npz").exists()
    bonds = openmm.HarmonicBondForce()
    bonds.addBond(0, 1, 0.25, 1e6)
    with pytest.raises(LearningError, match="other levels below it"):
        learner(tmp_path, settings, start=[bonds]).learn(POSITIONS)
    poor = learner(tmp_path / "poor", settings, start=[bonds]).learn(POSITIONS)
    assert poor.k == 1 and len(poor.record.trials) == 2
    assert all(len(trial.errors) < settings.trial_steps for trial in poor.record.trials)


def test_a_k_that_breaks_down_is_one_that_fails(tmp_path: Path) -> None:
    """Outer steps of 24 fs and more over a force that knows one bond: the next k begins where all was well."""
    bonds = openmm.HarmonicBondForce()
    bonds.addBond(0, 1, 0.14, 250000)
    settings = LearningSettings(
        ks=(2, 48, 64, 96), max_calls=2000, first_labels=0, trial_steps=30, acceptance=0.5, seed=3
    )
    result = learner(tmp_path, settings, start=[bonds]).learn(POSITIONS)
    trials = result.record.trials
    assert [trial.k for trial in trials] == [2, 48, 64] and result.k == 2
    assert trials[0].passes(0.5) and not any(trial.passes(0.5) for trial in trials[1:])
    assert any(trial.failed for trial in trials[1:])
    kept = [path.name for path in tmp_path.glob("trial-*.npz")]
    assert "trial-30.npz" in kept
    kinetic = 0.5 * float(np.sum(np.array([12, 16, 1, 1, 1, 1])[:, None] * result.point.velocities**2))
    assert kinetic < 4 * 9 * BOLTZMANN * 300
