"""Data, losses, trainer, evaluation and export serve any registered network; shown with a second, tiny one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kstep_training
from kstep_models.configuration import ConfigError
from kstep_models.frames import FrameFile, FrameWriter
from kstep_models.potential.export import load
from kstep_training.checkpoints import CheckpointError
from kstep_training.potential.checkpoint import load_checkpoint
from kstep_training.potential.data import load_frames
from kstep_training.potential.training import molecule_data
from tests.support.models import synthetic
from tests.support.models.toy_network import ToyConfig, ToyPotential

Configuration = Callable[..., Path]
TOY = {"name": "toy", "functions": 5}


def test_a_second_network_goes_all_the_way(
    gas: Path, embedded: Path, configuration: Configuration, tmp_path: Path
) -> None:
    path = configuration(
        data={"files": ["gas.h5", "embedded.h5"], "batch_size": 8},
        model=TOY,
        schedule={"max_steps": 120, "validate_every": 40},
        optimizer={"learning_rate": 2e-2, "warmup_steps": 10, "average": 0.9},
    )
    result = kstep_training.train(path)
    errors = [record["gas_force_rmse_meV_per_A"] for record in result.history]
    assert len(errors) == 3 and errors[-1] < errors[0]
    trained = load_checkpoint(result.checkpoint)
    assert isinstance(trained.model, ToyPotential) and trained.model.config == ToyConfig(functions=5)

    exported = kstep_training.export(result.checkpoint, tmp_path / "toy.pt", "float64")
    assert exported.checks.finite_difference < 1e-6
    card = exported.card.read_text()
    assert "- Only sums over pairs of atoms." in card and "one molecule (CH4O, charge 0" in card
    module, contract = load(tmp_path / "toy.pt")
    assert contract.atomic_numbers == (6, 8, 1, 1, 1, 1) and contract.cutoff == 0.5
    with FrameFile(gas) as file:
        x = torch.as_tensor(file.frames("positions")[0])
    model = trained.model.double()
    energy, forces, charges = model((x - x.mean(0)).unsqueeze(0), torch.zeros(1, 6, dtype=torch.float64))
    found = module(x)
    assert float(found[0]) == pytest.approx(float(energy[0]) + model.energy_mean, abs=1e-8)
    assert np.allclose(found[1], forces[0], atol=1e-8) and np.allclose(found[2], charges[0], atol=1e-12)
    assert kstep_training.evaluate(tmp_path / "toy.pt", [embedded]).kinds["embedded"].frames == 20


def test_another_network_does_not_continue_a_run(gas: Path, configuration: Configuration) -> None:
    kstep_training.train(configuration(model=TOY, schedule={"max_steps": 2, "validate_every": 2}))
    with pytest.raises(CheckpointError, match="the size of the network changed"):
        kstep_training.train(configuration(schedule={"max_steps": 4, "validate_every": 2}), resume=True)
    with pytest.raises(CheckpointError, match="another size"):
        kstep_training.train(configuration(output="second", start_from="run/last.ckpt"))


def test_a_network_that_is_not_installed_is_named(gas: Path, configuration: Configuration) -> None:
    with pytest.raises(ConfigError, match=r"model: there is no network 'tpy', known are kstep, regression, toy"):
        kstep_training.train(configuration(model={"name": "tpy"}))
    result = kstep_training.train(configuration(model=TOY, schedule={"max_steps": 1, "validate_every": 1}))
    content = torch.load(result.checkpoint, weights_only=True)
    content["kstep"]["network"] = "gone"
    torch.save(content, result.checkpoint)
    with pytest.raises(CheckpointError, match=r"no network 'gone'.*install the package"):
        load_checkpoint(result.checkpoint)


def test_what_is_fitted_at_once_is_not_trained(gas: Path, configuration: Configuration) -> None:
    with pytest.raises(ConfigError, match=r"model.name: regression is fitted at once .*kstep fit-regression"):
        kstep_training.train(configuration(model={"name": "regression"}))


@pytest.mark.parametrize(("minus", "total"), [({}, 1.0), ({"minus": {"method": "other"}}, 0.0)])
def test_the_difference_of_two_methods_has_no_charge(tmp_path: Path, minus: dict[str, Any], total: float) -> None:
    region = replace(synthetic.REGION, charge=1, level_of_theory={"method": "analytic", **minus})
    path = tmp_path / "ion.h5"
    random = np.random.default_rng(1)
    with FrameWriter(path, region, environment=False) as writer:
        for trajectory in range(6):
            writer.append(synthetic.frame(random, trajectory, False))
    frames = load_frames([(path, "auto")], 0.2, 0.2, 0)
    assert molecule_data(frames, frames.members("train")).total_charge == total
