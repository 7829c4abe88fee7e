"""Cutting DCD files back to the frames that belong to a checkpoint."""

from __future__ import annotations

import struct
from pathlib import Path

# Layout of the files that openmm.app.DCDFile writes: three header records, then frames of equal size, each with an
# optional record of 6 doubles for the box and three records of single-precision coordinates.
_FRAME_COUNT = 8
_LAST_STEP = 20
_FIRST_STEP = 12
_HAS_BOX = 48


def count_frames(path: Path) -> int:
    """Complete frames in a DCD file."""
    header, frame = _sizes(path)
    return (path.stat().st_size - header) // frame


def keep_frames(path: Path, count: int, interval: int) -> None:
    """Cut a DCD file back to its first ``count`` frames.

    Args:
        path: the file.
        count: frames to keep.
        interval: steps between frames, for the header.

    Raises:
        ValueError: the file has fewer frames, or is no DCD file.
    """
    header, frame = _sizes(path)
    present = count_frames(path)
    if present < count:
        raise ValueError(f"{path} has {present} frames, fewer than the {count} that should be kept")
    with path.open("r+b") as file:
        file.seek(_FIRST_STEP)
        (first,) = struct.unpack("<i", file.read(4))
        file.seek(_FRAME_COUNT)
        file.write(struct.pack("<i", count))
        file.seek(_LAST_STEP)
        file.write(struct.pack("<i", first + (count - 1) * interval))
        file.truncate(header + count * frame)


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of the header, and of one frame."""
    with path.open("rb") as file:
        head = file.read(92)
        if len(head) < 92 or head[4:8] != b"CORD":
            raise ValueError(f"{path} is not a DCD file")
        (title_size,) = struct.unpack("<i", file.read(4))
        file.seek(92 + 8 + title_size + 4)
        (atoms,) = struct.unpack("<i", file.read(4))
        header = file.tell() + 4
    (has_box,) = struct.unpack("<i", head[_HAS_BOX : _HAS_BOX + 4])
    return header, (56 if has_box else 0) + 3 * (4 * atoms + 8)
