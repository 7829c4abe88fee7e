"""Changes of a file that happen in full or not at all, whenever the disk is full or the power goes.

Changes are collected in memory (:class:`Overlay`), written beside the file with a digest (the journal,
``NAME.journal``), and only then made in the file. A journal that is found later belongs to a program that was killed: a
complete one is carried out, an incomplete one is thrown away, and the file is whole either way.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from kstep_models.files import synchronise_folder

_MAGIC = b"KSTEPJ01"
_HEAD = struct.Struct("<8sQQ")  # magic, size of the file, number of pieces
_PIECE = struct.Struct("<QQ")  # offset, length
_DIGEST = hashlib.sha256
_PAGE = 4096
# A file system that cannot reserve space says one of these; the others mean that there is none.
_NO_RESERVATION = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Overlay(io.RawIOBase):
    """A file with changes that are in memory only.

    Args:
        descriptor: Descriptor of the file, open for reading.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._present = os.fstat(descriptor).st_size
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.size = self._present

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place; returns it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; what lies beyond the end reads as zeros, as HDF5 expects of new space."""
        view = memoryview(buffer).cast("B")
        begin, end = self._position, self._position + len(view)
        for number in range(begin // _PAGE, -(-end // _PAGE)):
            start = number * _PAGE
            first, last = max(begin, start), min(end, start + _PAGE)
            view[first - begin : last - begin] = self._page(number)[first - start : last - start]
        self._position = end
        return len(view)

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Keep bytes in memory."""
        view = memoryview(data).cast("B")
        begin, end = self._position, self._position + len(view)
        for number in range(begin // _PAGE, -(-end // _PAGE)):
            start = number * _PAGE
            first, last = max(begin, start), min(end, start + _PAGE)
            if number not in self._pages:
                self._pages[number] = bytearray(self._page(number))
            self._pages[number][first - start : last - start] = view[first - begin : last - begin]
        self._position = end
        self.size = max(self.size, end)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        self.size = self._position if size is None else size
        return self.size

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Offsets and bytes of all changes; neighbours are joined."""
        numbers = sorted(number for number in self._pages if number * _PAGE < self.size)
        start = 0
        for index, number in enumerate(numbers):
            if index + 1 < len(numbers) and numbers[index + 1] == number + 1:
                continue
            offset = numbers[start] * _PAGE
            joined = b"".join(self._pages[n] for n in numbers[start : index + 1])
            yield offset, joined[: self.size - offset]
            start = index + 1

    def _page(self, number: int) -> bytes | bytearray:
        changed = self._pages.get(number)
        if changed is not None:
            return changed
        offset = number * _PAGE
        wanted = max(0, min(_PAGE, self._present - offset))
        return os.pread(self._descriptor, wanted, offset).ljust(_PAGE, b"\0") if wanted else bytes(_PAGE)


def journal_path(path: Path) -> Path:
    """Where the journal of a file is."""
    return path.with_name(path.name + ".journal")


def commit(path: Path, descriptor: int, overlay: Overlay) -> None:
    """Make all changes of an overlay in its file.

    Args:
        path: Path of the file.
        descriptor: Descriptor of the file, open for writing, locked by the caller.
        overlay: the changes.

    Raises:
        OSError: there is no room, which leaves the file as it was.
    """
    journal, before = journal_path(path), os.fstat(descriptor).st_size
    pieces = list(overlay.pieces())
    head = [_HEAD.pack(_MAGIC, overlay.size, len(pieces)), *(_PIECE.pack(at, len(data)) for at, data in pieces)]
    try:
        _reserve(descriptor, before, overlay.size)
        _write_journal(journal, [*head, *(data for _, data in pieces)])
    except OSError as error:
        journal.unlink(missing_ok=True)
        if os.fstat(descriptor).st_size > before:
            os.ftruncate(descriptor, before)
        raise OSError(error.errno, error.strerror, str(path)) from error
    _carry_out(path, descriptor, overlay.size, pieces)


def write(descriptor: int, overlay: Overlay) -> None:
    """Write a new file, of which nobody minds if it stays incomplete.

    Args:
        descriptor: Descriptor of the file, open for writing.
        overlay: its content.

    Raises:
        OSError: there is no room.
    """
    _reserve(descriptor, 0, overlay.size)
    _make(descriptor, overlay.size, list(overlay.pieces()))


def recover(path: Path, descriptor: int) -> None:
    """Finish or forget what a program that was killed had begun.

    Args:
        path: Path of the file.
        descriptor: Descriptor of the file, open for writing, locked by the caller.
    """
    try:
        content = journal_path(path).read_bytes()
    except FileNotFoundError:
        return
    complete = _parsed(content)
    if complete is None:
        journal_path(path).unlink(missing_ok=True)
    else:
        _carry_out(path, descriptor, *complete)


def recover_unopened(path: Path) -> None:
    """The same for a file that nobody has open. Raises BlockingIOError where somebody has."""
    if journal_path(path).exists():
        with path.open("r+b", buffering=0) as target:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            recover(path, target.fileno())


def _reserve(descriptor: int, before: int, size: int) -> None:
    """Make room for a file to grow, so that it does not have to be found half-way."""
    if size <= before:
        return
    try:
        os.posix_fallocate(descriptor, before, size - before)
    except OSError as error:
        if error.errno not in _NO_RESERVATION:
            raise


def _write_journal(path: Path, parts: list[bytes]) -> None:
    digest = _DIGEST()
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    synchronise_folder(path.parent)


def _parsed(content: bytes) -> tuple[int, list[tuple[int, bytes]]] | None:
    """Size and changes that a journal holds; None for one that was cut off."""
    body, digest = content[: -_DIGEST().digest_size], content[-_DIGEST().digest_size :]
    if len(body) < _HEAD.size or _DIGEST(body).digest() != digest:
        return None
    _, size, count = _HEAD.unpack_from(body)
    place, pieces = _HEAD.size + count * _PIECE.size, []
    for index in range(count):
        offset, length = _PIECE.unpack_from(body, _HEAD.size + index * _PIECE.size)
        pieces.append((offset, body[place : place + length]))
        place += length
    return size, pieces


def _carry_out(path: Path, descriptor: int, size: int, pieces: list[tuple[int, bytes]]) -> None:
    try:
        _make(descriptor, size, pieces)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    journal_path(path).unlink(missing_ok=True)


def _make(descriptor: int, size: int, pieces: list[tuple[int, bytes]]) -> None:
    for offset, data in pieces:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)
