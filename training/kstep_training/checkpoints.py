"""What checkpoints of all methods have in common."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

RESPONSE_FORMAT = "kstep-training-response"
"""What checkpoints of response networks call themselves; here, so that others are told from them without e3nn."""


class CheckpointError(ValueError):
    """A checkpoint is missing, not ours, or does not fit the run."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint file; plain values and tensors only, no code is run.

    Raises:
        CheckpointError: no such file, or not a checkpoint.
    """
    import torch

    if not Path(path).is_file():
        raise CheckpointError(f"{path} does not exist: train a model with `kstep train` first, or check the path")
    if _is_exported(path):
        raise CheckpointError(f"{path} is an exported archive: give the last.ckpt of a training run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a checkpoint of kstep_training: give the last.ckpt of a training run")
    return content


def _is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TorchScript archive, which has code in it and is nothing for this reader."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def checkpoint_format(path: str | os.PathLike[str]) -> str:
    """The format that a checkpoint names; empty for whatever is no checkpoint."""
    try:
        return str(read_checkpoint(path).get("format", ""))
    except CheckpointError:
        return ""
