"""Files that are either there in full or not at all, whenever the disk fills or the power goes."""

from __future__ import annotations

import json
import os
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""In the names of files that are being written; one that a killed program left behind may be deleted."""


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file under another name, make sure that it is on disk, and put it in place in one go.

    Args:
        path: the file; its folder must exist. A link is followed.
        content: text is encoded as UTF-8.

    Raises:
        OSError: it cannot be written, because the disk is full for example; names the file, and leaves what was there
            before as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    with _replaced(Path(path), suffix="") as partial:
        partial.write_bytes(data)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON values for people to read too, atomically; see :func:`write_atomically`."""
    write_atomically(path, json.dumps(content, indent=1) + "\n")


@contextmanager
def replaced_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """For writers that need a path: gives one in the same folder, with the same ending, and puts the file in place.

    Nothing is left behind, and what was there before stays, where the block ends with an error. ::

        with replaced_atomically("plot.png") as partial:
            figure.savefig(partial)

    Args:
        path: the file; its folder must exist. A link is followed.

    Raises:
        OSError: as :func:`write_atomically`.
    """
    with _replaced(Path(path), suffix=Path(path).suffix) as partial:
        yield partial


def check_zip(path: str | os.PathLike[str]) -> None:
    """Compare all that is in a zip file, as archives and checkpoints of torch are, with its checksums.

    Raises:
        ValueError: it is damaged, or no zip file; says what, without the file's name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError) as error:
        raise ValueError(str(error) or "it ends too early") from error
    if damaged is not None:
        raise ValueError(f"{damaged} in it has another checksum")


@contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """For files that are written piece by piece: an OSError that does not say where it came from gets this name."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _replaced(path: Path, suffix: str) -> Iterator[Path]:
    target = path.resolve()
    if target.exists() and not target.is_file() and not target.is_dir():
        # A device or a pipe is there to be written to, not to be replaced.
        yield target
        return
    partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}{PARTIAL}{suffix}")
    try:
        yield partial
        _synchronise(partial)
        if target.exists():
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno is None or error.filename not in (None, str(partial), partial):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    synchronise_folder(target.parent)


def synchronise_folder(folder: Path) -> None:
    """Make sure that the names of files in a folder are on disk, where the file system can."""
    with suppress(OSError):
        _synchronise(folder)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
