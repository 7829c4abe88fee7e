"""Ways in which files are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def _flip(place: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 4
        path.write_bytes(content)

    return damage


def _write(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "empty": _write(b""),
    "cut": _cut,
    "longer": _lengthen,
    "garbage": _write(np.random.default_rng(5).bytes(3000)),
    "object": _write(b"{}"),
    "list": _write(b"[1]"),
    "flip near the start": _flip(0.02),
    "flip in the middle": _flip(0.5),
    "flip near the end": _flip(0.98),
}
"""Name -> what is done to a file."""
