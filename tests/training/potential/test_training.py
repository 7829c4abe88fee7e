from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import kstep_training
from kstep_models.configuration import load_config
from kstep_models.contract import read_contract
from kstep_models.frames import FrameFile, FrameFileError, FrameWriter
from kstep_models.locks import InUseError, locked
from kstep_models.potential.export import load
from kstep_models.potential.interface import PotentialModel, create_model
from kstep_training.checkpoints import CheckpointError
from kstep_training.potential.checkpoint import load_checkpoint
from kstep_training.potential.config import LossSection, PotentialTraining
from kstep_training.potential.data import Batch, load_frames
from kstep_training.potential.optimisation.budget import Budget, learning_rate
from kstep_training.potential.optimisation.losses import CompiledLoss, PotentialLoss, Scales
from kstep_training.potential.optimisation.stability import StabilityMonitor
from kstep_training.potential.training import molecule_data
from tests.support.models import synthetic

Configuration = Callable[..., Path]


def test_learning_makes_a_usable_model(gas: Path, embedded: Path, configuration: Configuration, tmp_path: Path) -> None:
    # Enough frames that errors on held-out ones fall as well.
    for name, inside in (("gas.h5", False), ("embedded.h5", True)):
        (tmp_path / name).unlink()
        synthetic.write(tmp_path / name, length=80, embedded=inside, seed=2 + inside)
    path = configuration(
        data={"files": ["gas.h5", "embedded.h5"], "validation_fraction": 0.2, "test_fraction": 0.2},
        schedule={"max_steps": 900, "validate_every": 100},
        optimizer={"learning_rate": 1e-2, "warmup_steps": 50, "average": 0.98},
    )
    result = kstep_training.train(path)
    first, last = result.history[0], result.history[-1]
    assert last["step"] == 900
    for kind in ("gas", "embedded"):
        assert last[f"{kind}_force_rmse_meV_per_A"] < 0.7 * first[f"{kind}_force_rmse_meV_per_A"]
        errors = result.evaluation.kinds[kind]
        assert errors.frames == 80
        assert errors.force_rmse < 0.1 * errors.force_rms
        assert errors.force_rmse_by_temperature == pytest.approx({"300": errors.force_rmse})
    environment = result.evaluation.kinds["embedded"]
    assert environment.environment_force_rmse is not None
    assert environment.environment_force_rms is not None
    assert environment.environment_force_rmse < 0.2 * environment.environment_force_rms
    assert json.loads(result.metrics.read_text())["history"] == result.history
    assert json.loads((result.checkpoint.parent / "evaluation.json").read_text())["subset"] == "test"
    assert (result.checkpoint.parent / "evaluation_gas.png").stat().st_size > 0

    exported = kstep_training.export(result.checkpoint, tmp_path / "m.pt")
    contract = read_contract(tmp_path / "m.pt")
    assert contract.level_of_theory == {"method": "analytic"}
    assert contract.training_data["frames"] == 800
    assert contract.validation["gas"]["force_rmse"] == pytest.approx(result.evaluation.kinds["gas"].force_rmse)
    assert "/" not in json.dumps([f["name"] for f in contract.training_data["files"]])
    assert "m.pt" in exported.card.read_text()
    assert json.loads(exported.card.with_suffix(".json").read_text())["contract"]["kind"] == "potential"

    # The archive remembers which trajectories it was not trained on.
    again = kstep_training.evaluate(tmp_path / "m.pt", [gas, embedded])
    assert again.kinds["gas"].frames == 80
    assert again.kinds["gas"].force_rmse == pytest.approx(result.evaluation.kinds["gas"].force_rmse, rel=1e-4)
    assert kstep_training.evaluate(tmp_path / "m.pt", [gas], subset="all").kinds["gas"].frames == 400

    # Independently of the evaluation: forces of one embedded frame, label by label.
    module, _ = load(tmp_path / "m.pt")
    with FrameFile(embedded) as file:
        frame = file.frame(0)
    assert frame.environment is not None
    energy, forces, charges = module(torch.as_tensor(frame.positions), torch.as_tensor(frame.environment.potential))
    total = forces.numpy() - charges.numpy()[:, None] * np.asarray(frame.environment.potential_gradient)
    assert np.sqrt(np.mean((total - frame.forces) ** 2)) < 0.2 * np.sqrt(np.mean(np.square(frame.forces)))
    assert abs(float(energy) - frame.energy) < 10


def test_resumed_run_equals_an_uninterrupted_one(gas: Path, configuration: Configuration) -> None:
    schedule = {"max_steps": 60, "validate_every": 20}
    whole = kstep_training.train(configuration(output="whole", schedule=schedule))

    class Interrupted(Exception):
        pass

    # Killed after the checkpoint of step 40 and some steps more.
    from kstep_training.potential.optimisation.module import PotentialModule

    path = configuration(output="parts", schedule=schedule)
    original = PotentialModule.training_step

    def step(self: PotentialModule, batch: Batch, index: int) -> torch.Tensor:
        if self.global_step == 47:
            raise Interrupted
        return original(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PotentialModule, "training_step", step)
        with pytest.raises(Interrupted):
            kstep_training.train(path)
    parts = kstep_training.train(path, resume=True)
    weights = [load_checkpoint(result.checkpoint).model.state_dict() for result in (whole, parts)]
    for name in weights[0]:
        assert torch.equal(weights[0][name], weights[1][name]), name
    keys = ("step", "train_force_rmse_meV_per_A", "gas_force_rmse_meV_per_A")
    assert [[r[k] for k in keys] for r in whole.history] == [[r[k] for k in keys] for r in parts.history]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_time_budget_ends_the_run(gas: Path, configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step takes a quarter of a second here, so that 3 s are 12 steps; an earlier part of the run counts."""
    clock, original = Clock(), PotentialLoss.__call__

    def slow(self: PotentialLoss, model: PotentialModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        clock.now += 0.25
        return original(self, model, batch)

    monkeypatch.setattr(PotentialLoss, "__call__", slow)
    monkeypatch.setattr("kstep_training.potential.training.Budget", functools.partial(Budget, clock=clock))
    result = kstep_training.train(configuration(schedule={"max_time": "3 s", "validate_every": 5}))
    assert [record["step"] for record in result.history] == [5, 10, 12]
    assert [record["seconds"] for record in result.history] == [1.25, 2.5, 3.0]
    assert load_checkpoint(result.checkpoint).elapsed == 3.0
    clock.now += 1000.0
    longer = kstep_training.train(configuration(schedule={"max_time": "4 s", "validate_every": 5}), resume=True)
    assert longer.history[-1]["step"] == 16 and longer.history[-1]["seconds"] == 4.0


def test_starting_from_another_run(gas: Path, configuration: Configuration) -> None:
    first = kstep_training.train(configuration(output="first"))
    path = configuration(
        output="second",
        start_from="first/last.ckpt",
        schedule={"max_steps": 1, "validate_every": 1},
        optimizer={"learning_rate": 1e-12},
    )
    second = kstep_training.train(path)
    before, after = (load_checkpoint(r.checkpoint).model.state_dict() for r in (first, second))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    with pytest.raises(CheckpointError, match="another size"):
        other = {"channels": 5, "cubic_channels": 2}
        kstep_training.train(configuration(output="third", start_from="first/last.ckpt", model=other))


def test_starting_from_another_level(gas: Path, configuration: Configuration, tmp_path: Path) -> None:
    """Whose energies have another zero, far away."""
    first = kstep_training.train(configuration(output="first"))
    other = tmp_path / "other.h5"
    with FrameFile(gas) as file:
        region = replace(file.region, level_of_theory={"method": "elsewhere"})
        with FrameWriter(other, region) as writer:
            for frame in file:
                writer.append(replace(frame, energy=float(frame.energy) - 1e5))
    second = kstep_training.train(
        configuration(
            output="second",
            data={"files": ["other.h5"]},
            start_from="first/last.ckpt",
            schedule={"max_steps": 1, "validate_every": 1},
            optimizer={"learning_rate": 1e-12},
        )
    )
    before, after = (result.evaluation.kinds["gas"] for result in (first, second))
    assert after.force_rmse == pytest.approx(before.force_rmse, rel=1e-4)
    assert after.energy_spread_error == pytest.approx(before.energy_spread_error, rel=1e-3)
    assert after.energy_rmse < 3 * before.energy_spread_error


def test_runs_are_not_overwritten_nor_mixed(gas: Path, configuration: Configuration) -> None:
    path = configuration()
    with pytest.raises(CheckpointError, match="does not exist"):
        kstep_training.train(path, resume=True)
    kstep_training.train(path)
    with pytest.raises(CheckpointError, match="exists already"):
        kstep_training.train(path)
    gas.unlink()
    synthetic.write(gas, seed=9)
    with pytest.raises(CheckpointError, match="training data changed"):
        kstep_training.train(path, resume=True)


def test_two_runs_do_not_write_one_folder(gas: Path, configuration: Configuration, tmp_path: Path) -> None:
    path = configuration(output="held")
    (tmp_path / "held").mkdir()
    for resume in (False, True):
        with pytest.raises(InUseError, match="held is being written by process"), locked(tmp_path / "held"):
            kstep_training.train(path, resume=resume)
    assert list((tmp_path / "held").iterdir()) == []


def test_missing_and_foreign_files_are_refused(gas: Path, configuration: Configuration, tmp_path: Path) -> None:
    with pytest.raises(FrameFileError, match=r"none\.h5 does not exist"):
        kstep_training.train(configuration(data={"files": ["none.h5"]}))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        kstep_training.export(tmp_path / "text.ckpt", tmp_path / "m.pt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of kstep_training"):
        kstep_training.evaluate(tmp_path / "other.ckpt", [gas])
    with pytest.raises(ValueError, match="subset"):
        kstep_training.evaluate(tmp_path / "other.ckpt", [gas], subset="best")


@pytest.mark.compile
def test_compiled_step_equals_the_plain_one(embedded: Path, configuration: Configuration) -> None:
    # One layer: compiling takes half as long, and all kinds of operations are there.
    small = {
        "channels": 4,
        "cubic_channels": 2,
        "message_order": 3,
        "hidden": 8,
        "readout": 4,
        "layers": 1,
        "radial_order": 3,
    }
    config = load_config(configuration(model=small), PotentialTraining)
    frames = load_frames([(embedded, "auto")], 0.2, 0.2, 0)
    training = frames.members("train")
    torch.manual_seed(0)
    model = create_model(config.model, molecule_data(frames, training)).train()
    data = frames.batch(training, model.energy_mean)
    loss = PotentialLoss(LossSection(), Scales.measure(data))
    first, second = (Batch(*(tensor[k : k + 4] for tensor in data)) for k in (0, 4))
    compiled = CompiledLoss(loss, model, first)
    total, parts = loss(model, second)
    expected = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    fast, fast_parts = compiled(model, second)
    found = torch.autograd.grad(fast, list(model.parameters()))
    assert float(fast) == pytest.approx(float(total), rel=1e-5)
    assert torch.allclose(fast_parts, parts, rtol=1e-4)
    largest = max(float(g.abs().max()) for g in expected if g is not None)
    for a, b in zip(found, expected, strict=True):
        assert float((a - (0 if b is None else b)).abs().max()) < 1e-5 * largest


def test_loss_is_zero_for_perfect_predictions(embedded: Path, configuration: Configuration) -> None:
    config = load_config(configuration(), PotentialTraining)
    frames = load_frames([(embedded, "auto")], 0.2, 0.2, 0)
    model = create_model(config.model, molecule_data(frames, frames.members("train"))).train()
    data = frames.batch(np.arange(3), model.energy_mean)
    from kstep_training.potential.optimisation.losses import predict

    energy, forces, charges = (value.detach() for value in predict(model, data))
    perfect = data._replace(energy=energy, forces=forces, charges=charges)
    assert float(PotentialLoss(LossSection(), Scales(1.0, 1.0))(model, perfect)[0].detach()) < 1e-6


def test_schedule() -> None:
    assert learning_rate(1.0, 0.1, 10, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(1.0, 0.1, 10, 50, 0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, 0.1, 0, 50, 0.5) == pytest.approx(0.55)
    assert learning_rate(1.0, 0.1, 0, 50, 1.0) == pytest.approx(0.1)
    clock = Clock()
    budget = Budget(100, 1000.0, clock)
    assert budget.elapsed == 0.0
    budget.start(elapsed=800.0)
    clock.now += 100.0
    assert budget.elapsed == 900.0
    assert budget.progress(10) == pytest.approx(0.9)
    assert budget.progress(95) == pytest.approx(0.95)
    assert budget.progress(100) == 1.0
    assert Budget(None, 10.0, clock).progress(10**9) == 0.0


def test_divergence_is_noticed() -> None:
    monitor = StabilityMonitor(skip_factor=10.0)
    for k in range(300):
        assert not monitor.diverged(1.0 + 0.3 * math.sin(k))
        assert not monitor.is_outlier(0.1)
    assert not monitor.diverged(5.0)
    assert monitor.is_outlier(2.0)
    assert not monitor.is_outlier(0.3)
    assert monitor.is_outlier(float("nan"))
    # One bad batch is none, several in a row are.
    assert [monitor.diverged(100.0) for _ in range(4)] == 4 * [False]
    assert not monitor.diverged(1.0)
    assert [monitor.diverged(100.0) for _ in range(5)] == [*4 * [False], True]
    assert monitor.diverged(float("nan"))
    assert monitor.rate_factor == pytest.approx(0.49)
    other = StabilityMonitor(skip_factor=10.0)
    other.restore(monitor.state())
    assert other.state() == monitor.state()


def test_training_recovers_from_a_divergence(
    gas: Path, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kstep_training.potential.optimisation.losses import PotentialLoss as Loss

    calls = {"count": 0}
    original = Loss.__call__

    def broken(self: Loss, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        total, parts = original(self, model, batch)  # type: ignore[arg-type]
        calls["count"] += 1
        return (total * float("nan") if calls["count"] == 30 else total), parts

    monkeypatch.setattr(Loss, "__call__", broken)
    result = kstep_training.train(configuration())
    assert result.history[-1]["step"] == 60
    assert all(torch.isfinite(w).all() for w in load_checkpoint(result.checkpoint).model.state_dict().values())
    assert result.history[-1]["gas_force_rmse_meV_per_A"] < result.history[0]["gas_force_rmse_meV_per_A"]
