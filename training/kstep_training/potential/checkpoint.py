"""What a checkpoint says besides weights, and how a model comes back from one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import torch

from kstep_models.potential.interface import NetworkConfig, PotentialModel, UnknownNetworkError, build_model
from kstep_training.checkpoints import CheckpointError, read_checkpoint
from kstep_training.methods import POTENTIAL
from kstep_training.potential.data import FileRecord, FrameSet

VERSION = 3
NAME = "last.ckpt"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A trained model and where it comes from.

    Attributes:
        model: with the averaged weights, single precision.
        configuration: of the run, as in the YAML file.
        files: the data it was trained on, with the trajectories held out.
        charge, multiplicity, level_of_theory, names: of the molecule.
        digest: over all training files.
        history: validation records.
        elapsed: seconds of training.
    """

    model: PotentialModel
    configuration: dict[str, Any]
    files: tuple[FileRecord, ...]
    charge: int
    multiplicity: int
    level_of_theory: dict[str, Any]
    names: tuple[str, ...]
    digest: str
    history: list[dict[str, float]]
    elapsed: float


def describe(frames: FrameSet, model: PotentialModel, configuration: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """The part of a checkpoint that is not weights; plain values only, so that loading runs no code."""
    return {
        "configuration": dict(configuration),
        "network": model.name,
        "model": model.describe(),
        # That of a network which started from another one is its own.
        "energy_mean": model.energy_mean,
        "files": [dataclasses.asdict(record) for record in frames.files],
        "charge": frames.region.charge,
        "multiplicity": frames.region.multiplicity,
        "level_of_theory": dict(frames.region.level_of_theory),
        "names": list(frames.region.names),
        "digest": digest,
    }


def read_raw(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint file.

    Raises:
        CheckpointError: no such file, or not a checkpoint of this method and version.
    """
    return read_checkpoint(path, POTENTIAL.checkpoint_format, VERSION)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """A trained model, ready for evaluation.

    Raises:
        CheckpointError: see :func:`read_raw`.
    """
    content = read_raw(path)
    saved = content["kstep"]
    try:
        model = build_model(saved["network"], saved["model"]).to(torch.float32)
    except UnknownNetworkError as error:
        raise CheckpointError(f"{path}: {error}: install the package that it comes from") from error
    model.energy_mean = saved.get("energy_mean", model.energy_mean)
    prefix = "average."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit its own description: {error}") from error
    return Checkpoint(
        model=model.eval().requires_grad_(False),
        configuration=saved["configuration"],
        files=tuple(FileRecord(**record) for record in saved["files"]),
        charge=saved["charge"],
        multiplicity=saved["multiplicity"],
        level_of_theory=saved["level_of_theory"],
        names=tuple(saved["names"]),
        digest=saved["digest"],
        history=saved["history"],
        elapsed=saved["elapsed"],
    )


def refuse_other_size(path: str | os.PathLike[str], model: PotentialModel, size: NetworkConfig) -> None:
    """Make sure that a model to start from has the size that is wanted. Raises CheckpointError."""
    if model.config != size:
        raise CheckpointError(f"start_from: {path} has a network of another size; copy its `model` section")
