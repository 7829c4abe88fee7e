"""A teacher, its responses, and networks that were trained with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import kstep_training
from kstep_models.rttddft.network import ResponseNetwork, ResponseNetworkConfig
from kstep_training.checkpoints import read_checkpoint
from kstep_training.rttddft.checkpoint import new_network
from tests.support.models import teacher


@pytest.fixture(scope="session")
def teaching(small_size: ResponseNetworkConfig) -> ResponseNetwork:
    return teacher.prepare(new_network(teacher.BASIS, small_size, 11), 1).requires_grad_(False)


@pytest.fixture(scope="session")
def student(small_size: ResponseNetworkConfig) -> ResponseNetwork:
    """With other weights than the teacher."""
    return new_network(teacher.BASIS, small_size, 5)


@pytest.fixture(scope="session")
def files(teaching: ResponseNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``responses.h5``: twelve geometries of water, eight of hydrogen, three of peroxide."""
    folder = tmp_path_factory.mktemp("responses")
    counts = {"H2": 8, "H2O": 12, "H2O2": 3}
    sets = [teacher.responses(teaching, name, count, seed) for seed, (name, count) in enumerate(counts.items())]
    teacher.write(folder / "responses.h5", sets)
    return folder


@pytest.fixture(scope="session")
def configured(files: Path, small_size: ResponseNetworkConfig) -> Callable[..., Path]:
    """Writes a configuration; keyword arguments replace whole sections."""

    def write(name: str, **sections: Any) -> Path:
        content: dict[str, Any] = {
            "method": "response",
            "data": {"files": ["responses.h5"], "leave_out": ["H2O2"], "validation_fraction": 0.25},
            "model": small_size.written(),
            "members": 1,
            "seed": 3,
            "output": name,
        }
        content.update(sections)
        path = files / f"{name}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write


@pytest.fixture(scope="session")
def trained(configured: Callable[..., Path]) -> Any:
    """Two networks, without peroxide."""
    return kstep_training.train(configured("run", members=2))


@pytest.fixture(scope="session")
def single(trained: Any) -> Path:
    """Checkpoint of the first of both networks."""
    content = read_checkpoint(trained.checkpoint)
    path = trained.checkpoint.with_name("single.ckpt")
    torch.save({**content, "members": content["members"][:1]}, path)
    return path
