"""DCD files: how many frames they have, reading them, and cutting them back."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Layout of the files that openmm.app.DCDFile writes: three header records, then frames of equal size, each with an
# optional record of 6 doubles for the box and three records of single-precision coordinates.
_FRAME_COUNT = 8
_LAST_STEP = 20
_FIRST_STEP = 12
_HAS_BOX = 48

CHANGING_BYTES = ((_FRAME_COUNT, _FRAME_COUNT + 4), (_LAST_STEP, _LAST_STEP + 4))
"""Ranges of bytes that are written anew with every frame."""


def count_frames(path: Path) -> int:
    """Complete frames in a DCD file; none in an empty one, which is what a file has before its first frame.

    Raises:
        ValueError: the file is no DCD file.
    """
    if path.stat().st_size == 0:
        return 0
    header, frame = _sizes(path)
    return max(0, path.stat().st_size - header) // frame


def size_of_frames(path: Path) -> int:
    """Bytes of the header and all complete frames; 0 without a frame.

    Raises:
        ValueError: the file is no DCD file.
    """
    count = count_frames(path)
    if count == 0:
        return 0
    header, frame = _sizes(path)
    return header + count * frame


def read_positions(path: Path) -> NDArray[np.float64]:
    """Positions of all complete frames, nm [T,N,3].

    Raises:
        ValueError: the file is no DCD file, or has no frame.
    """
    count = count_frames(path)
    if count == 0:
        raise ValueError(f"{path} has no frame")
    header, frame = _sizes(path)
    records = np.fromfile(path, dtype=np.uint8, offset=header, count=count * frame).reshape(count, frame)
    with path.open("rb") as file:
        file.seek(_HAS_BOX)
        before = 56 if struct.unpack("<i", file.read(4))[0] else 0
    axes = np.split(np.ascontiguousarray(records[:, before:]).view("<f4").reshape(count, -1), 3, axis=1)
    # Each record has its length before and after it; files are in angstrom.
    return np.stack([axis[:, 1:-1] for axis in axes], axis=-1).astype(np.float64) / 10


def keep_frames(path: Path, count: int, interval: int | None = None) -> None:
    """Cut a DCD file back to its first ``count`` frames.

    Args:
        path: the file.
        count: frames to keep.
        interval: steps between frames, for the header; None for those that it names.

    Raises:
        ValueError: the file has fewer frames, or is no DCD file.
    """
    present = count_frames(path)
    if present < count:
        raise ValueError(f"{path} has {present} frames, fewer than the {count} that should be kept")
    header, frame = _sizes(path)
    with path.open("r+b") as file:
        file.seek(_FIRST_STEP)
        first, named = struct.unpack("<2i", file.read(8))
        file.seek(_FRAME_COUNT)
        file.write(struct.pack("<i", count))
        file.seek(_LAST_STEP)
        file.write(struct.pack("<i", first + (count - 1) * (named if interval is None else interval)))
        file.truncate(header + count * frame)


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of the header, and of one frame."""
    with path.open("rb") as file:
        head = file.read(92)
        if head[4:8] != b"CORD":
            raise ValueError(f"{path} is not a DCD file")
        try:
            (title_size,) = struct.unpack("<i", file.read(4))
            file.seek(92 + 8 + title_size + 4)
            (atoms,) = struct.unpack("<i", file.read(4))
        except (struct.error, OSError) as error:
            raise ValueError(f"{path} is not a complete DCD file") from error
        header = file.tell() + 4
    (has_box,) = struct.unpack("<i", head[_HAS_BOX : _HAS_BOX + 4])
    return header, (56 if has_box else 0) + 3 * (4 * atoms + 8)
