from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kstep_models.frames import FrameFileError, FrameWriter
from kstep_training.potential.data import USES, Batch, BatchStream, divide, load_frames
from tests.support.models import synthetic


@pytest.mark.parametrize("count", [3, 4, 5, 7, 20, 41])
@pytest.mark.parametrize("temperatures", [(300.0,), (300.0, 500.0), (300.0, 300.0, 300.0, 400.0)])
def test_no_trajectory_has_two_uses(count: int, temperatures: tuple[float, ...]) -> None:
    trajectory = np.repeat(np.arange(count) * 3 + 1, 10)
    temperature = np.repeat([temperatures[k % len(temperatures)] for k in range(count)], 10)
    result = divide(trajectory, temperature, "auto", 0.1, 0.1, 0, "f.h5")
    everything = [k for use in USES for k in result[use]]
    assert sorted(everything) == np.unique(trajectory).tolist()
    assert all(result[use] for use in USES)
    assert len(result["train"]) >= len(result["test"])


def test_each_temperature_is_held_out_in_proportion() -> None:
    trajectory = np.arange(40)
    temperature = np.where(trajectory % 2 == 0, 300.0, 500.0)
    result = divide(trajectory, temperature, "auto", 0.1, 0.1, 0, "f.h5")
    for use, expected in (("validation", 2), ("test", 2), ("train", 16)):
        assert sum(k % 2 == 0 for k in result[use]) == expected
        assert sum(k % 2 == 1 for k in result[use]) == expected


def test_division_depends_on_the_seed_only() -> None:
    trajectory, temperature = np.arange(30), np.full(30, 300.0)
    a, b, c = (divide(trajectory, temperature, "auto", 0.1, 0.1, seed, "f.h5") for seed in (0, 0, 1))
    assert a == b != c


def test_too_few_trajectories_are_refused_with_the_remedy() -> None:
    with pytest.raises(FrameFileError, match=r"f.h5 has 2 trajectories.*use: train"):
        divide(np.array([0, 1]), np.array([300.0, 300.0]), "auto", 0.1, 0.1, 0, "f.h5")
    assert divide(np.array([0, 1]), np.full(2, 300.0), "train", 0.1, 0.1, 0, "f.h5")["train"] == [0, 1]


def test_frames_of_held_out_trajectories_stay_out(gas: Path, embedded: Path) -> None:
    frames = load_frames([(gas, "auto"), (embedded, "auto")], 0.2, 0.2, 0)
    members = {use: frames.members(use) for use in USES}
    assert sum(len(index) for index in members.values()) == 200
    seen = {use: {(int(frames.file[k]), int(frames.trajectory[k])) for k in index} for use, index in members.items()}
    assert not (seen["train"] & seen["validation"] | seen["train"] & seen["test"] | seen["validation"] & seen["test"])
    # Not even by its coordinates does a held-out frame appear among the training frames.
    training = {frames.positions[k].tobytes() for k in members["train"]}
    assert not training & {frames.positions[k].tobytes() for k in members["test"]}
    assert frames.embedded.sum() == 100
    assert not frames.potential[~frames.embedded].any()


def test_files_that_do_not_belong_together_are_refused(gas: Path, tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "other.h5", replace(synthetic.REGION, charge=1)) as writer:
        writer.append(synthetic.frame(np.random.default_rng(0), 0, False))
    with pytest.raises(FrameFileError, match=r"does not belong with .*charge"):
        load_frames([(gas, "auto"), (tmp_path / "other.h5", "train")], 0.1, 0.1, 0)
    with pytest.raises(FrameFileError, match="same frames"):
        load_frames([(gas, "auto"), (gas, "auto")], 0.1, 0.1, 0)
    FrameWriter(tmp_path / "empty.h5", synthetic.REGION).close()
    with pytest.raises(FrameFileError, match="no frames yet"):
        load_frames([(tmp_path / "empty.h5", "auto")], 0.1, 0.1, 0)
    with FrameWriter(tmp_path / "taciturn.h5", synthetic.REGION) as writer:
        untold = np.full(len(synthetic.REGION.numbers), np.nan)
        writer.append(replace(synthetic.frame(np.random.default_rng(0), 0, False), charges=untold))
    with pytest.raises(FrameFileError, match="no atomic charges, which the training needs"):
        load_frames([(tmp_path / "taciturn.h5", "train")], 0.1, 0.1, 0)
    with pytest.raises(FrameFileError, match="no frames files"):
        load_frames([], 0.1, 0.1, 0)


def test_batches_depend_on_the_step_alone(gas: Path) -> None:
    frames = load_frames([(gas, "auto")], 0.2, 0.2, 0)
    data = frames.batch(frames.members("train"), -3e4)

    def batches(start: int, count: int) -> list[Batch]:
        return list(BatchStream(data, 7, count, 3, lambda: start))

    whole = batches(0, 40)
    parts = batches(0, 13) + batches(13, 27)
    assert all(np.array_equal(a.energy, b.energy) for a, b in zip(whole, parts, strict=True))
    # Each pass uses every frame at most once.
    per_pass = len(data.energy) // 7
    energies = np.concatenate([batch.energy.numpy() for batch in whole[:per_pass]])
    assert len(np.unique(energies)) == len(energies)
    assert not np.array_equal(whole[0].energy, whole[per_pass].energy)
