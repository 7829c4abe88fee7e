"""What checkpoints of all methods have in common: plain values and tensors, and the name of their format at the top."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

from kstep_models.files import check_zip


class CheckpointError(ValueError):
    """A checkpoint is missing, not ours, or does not fit the run."""


def read_checkpoint(path: str | os.PathLike[str], expected: str | None = None, version: int = 0) -> dict[str, Any]:
    """The contents of a checkpoint file; plain values and tensors only, no code is run.

    Args:
        path: the file.
        expected: the format that it must name; None for any.
        version: of that format.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one of another method or version.
    """
    import torch

    if not Path(path).is_file():
        raise CheckpointError(f"{path} does not exist: train a model with `kstep train` first, or check the path")
    if is_archive(path):
        raise CheckpointError(f"{path} is an exported archive: give the last.ckpt of a training run")
    try:
        check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, dict) or (expected is not None and "format" not in content):
        raise CheckpointError(f"{path} is not a checkpoint of kstep_training: give the last.ckpt of a training run")
    if expected is not None:
        if content["format"] != expected:
            raise CheckpointError(f"{path} is a checkpoint of format {content['format']}, needed is {expected}")
        if content.get("version") != version:
            raise CheckpointError(
                f"{path} has version {content.get('version')}, this program reads {version}: train again"
            )
    return content


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TorchScript archive, which has code in it and is nothing for :func:`read_checkpoint`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False
