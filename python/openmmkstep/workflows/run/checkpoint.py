"""A checkpoint of a run: state of the Context, and how much of each output file belongs to it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kstep_models.files import write_atomically
from openmmkstep.io.digests import Extent

_MAGIC = b"KSTEPCP2"
_DIGEST_SIZE = hashlib.sha256().digest_size


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def last_context(path: Path) -> bytes | None:
    """The Context of a checkpoint; None where there is none that can be read."""
    try:
        return Checkpoint.read(path).context
    except (OSError, CheckpointError):
        return None


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can be continued.

    Attributes:
        step: outer steps done.
        outputs: name of each output file -> how much of it belongs to the checkpoint; those with nothing are left out.
        wall_time: seconds spent in production so far.
        context: what Context.createCheckpoint() gave.
        segment: Of production in blocks, the first block since k or surrogate changed; steps are outer steps of its k.
    """

    step: int
    outputs: Mapping[str, Extent]
    wall_time: float
    context: bytes
    segment: int = 0

    def write(self, path: Path) -> None:
        """Write atomically, with a digest of it all."""
        outputs = {name: asdict(extent) for name, extent in self.outputs.items()}
        head = {"step": self.step, "outputs": outputs, "wall_time": self.wall_time, "segment": self.segment}
        text = json.dumps(head).encode()
        content = _MAGIC + struct.pack("<Q", len(text)) + text + self.context
        write_atomically(path, content + hashlib.sha256(content).digest())

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is no checkpoint, or is damaged.
        """
        data = path.read_bytes()
        content, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
        remedy = "restore it from a copy, or remove it to start production from its beginning"
        if content[: len(_MAGIC)] != _MAGIC:
            raise CheckpointError(f"{path} is not a checkpoint of kstep run: {remedy}")
        if hashlib.sha256(content).digest() != digest:
            raise CheckpointError(f"{path} is damaged: {remedy}")
        start = len(_MAGIC) + 8
        (size,) = struct.unpack("<Q", content[len(_MAGIC) : start])
        head = json.loads(content[start : start + size])
        outputs = {name: Extent(**extent) for name, extent in head["outputs"].items()}
        return cls(head["step"], outputs, head["wall_time"], content[start + size :], head.get("segment", 0))
