"""Files are replaced in one go or not at all."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from kstep_models.files import replaced_atomically, write_atomically, write_json


def test_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, b"old\x00")
    assert path.read_bytes() == b"old\x00"
    write_atomically(str(path), "Å")
    assert path.read_text(encoding="utf-8") == "Å"
    write_json(path, {"a": [1, 2.5]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5]}
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]


def test_writers_see_a_path_with_the_same_ending_in_the_same_folder(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    with replaced_atomically(path) as partial:
        assert partial.parent == tmp_path and partial.suffix == ".png" and partial != path
        partial.write_bytes(b"picture")
        assert not path.exists()
    assert path.read_bytes() == b"picture"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_full_disk_leaves_the_old_file_and_names_it(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(self: Path, *_: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, failing, full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_on_disk_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="file"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_writer_pass_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with pytest.raises(KeyError, match="reason"), replaced_atomically(path) as partial:
        partial.write_bytes(b"half")
        raise KeyError("reason")
    # An error that names another file is about that one.
    with pytest.raises(FileNotFoundError, match="input"), replaced_atomically(path) as partial:
        partial.write_bytes((tmp_path / "input").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none/file'"):
        write_atomically(tmp_path / "none" / "file", b"")


def test_links_are_followed_and_rights_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_pipes_are_written_to(tmp_path: Path) -> None:
    """As /dev/stdout is: it must not be replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert list(tmp_path.iterdir()) == [pipe]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replaced_atomically(path) as one, replaced_atomically(path) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
