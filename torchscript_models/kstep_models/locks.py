"""One program at a time writes a file or folder.

The lock is the operating system's (``flock``), on a file beside what is locked: it ends with the process that holds it,
however that ends, and a file that is left over locks nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

# What file systems say that know no locks, as some of clusters.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class InUseError(ValueError):
    """Another program is writing there."""


def lock_path(target: Path) -> Path:
    """Where the lock file of a file is, or that of a folder: inside it."""
    return target / ".lock" if target.is_dir() else target.with_name(f".{target.name}.lock")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep others from writing a file or folder.

    Args:
        target: a folder that is there, or a file, there or not, in a folder that is.

    Raises:
        InUseError: somebody else holds the lock; says who.
        OSError: the lock file cannot be made.
    """
    path = lock_path(target)
    file = _acquired(path, target)
    try:
        yield
    finally:
        # While it is locked: nobody can have taken it for theirs in between.
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder, if it is not there, and keep others from writing it. One that stays empty is removed again.

    Raises:
        InUseError: somebody else holds the lock; says who.
        OSError: the folder or its lock file cannot be made.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _acquired(path: Path, target: Path) -> FileIO:
    while True:
        file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(file)
            file.close()
            raise InUseError(
                f"{target} is being written by {holder}: wait for it to end, or write elsewhere"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
            problem = f"the file system of {target} knows no locks ({error.strerror})"
            warnings.warn(f"{problem}: see to it that nothing else writes there", stacklevel=4)
        if _is_at(path, file):
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            described = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
            # On a full disk it locks all the same.
            with suppress(OSError):
                file.truncate(0)
                file.write(json.dumps(described).encode())
            return file
        # The one before removed it after it was opened here.
        file.close()


def _is_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(file: FileIO) -> str:
    try:
        file.seek(0)
        content = json.loads(file.read())
        return f"process {content['pid']} on {content['host']} (since {content['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
