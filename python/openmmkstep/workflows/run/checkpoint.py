"""A checkpoint of a run: state of the Context, and how much of each output file belongs to it."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from kstep_models.files import write_atomically

_MAGIC = b"KSTEPCP1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can be continued.

    Attributes:
        step: outer steps done.
        trajectory_frames: frames in the DCD file.
        labelled_frames: frames in the HDF5 file.
        wall_time: seconds spent in production so far.
        context: what Context.createCheckpoint() gave.
    """

    step: int
    trajectory_frames: int
    labelled_frames: int
    wall_time: float
    context: bytes

    def write(self, path: Path) -> None:
        """Write atomically."""
        head = asdict(self)
        del head["context"]
        text = json.dumps(head).encode()
        write_atomically(path, _MAGIC + struct.pack("<Q", len(text)) + text + self.context)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is no checkpoint, or is damaged.
        """
        content = path.read_bytes()
        start = len(_MAGIC) + 8
        if content[: len(_MAGIC)] != _MAGIC or len(content) < start:
            raise CheckpointError(f"{path} is not a checkpoint of kstep run: remove it to start from the beginning")
        (size,) = struct.unpack("<Q", content[len(_MAGIC) : start])
        try:
            head = json.loads(content[start : start + size])
            return cls(context=content[start + size :], **head)
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged: remove it to start from the beginning") from error
