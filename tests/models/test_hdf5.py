"""Files that others have open, and heads that say what a file is."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kstep_models import hdf5
from kstep_models.hdf5 import Schema, open_patiently


class ToysError(ValueError):
    pass


TOYS = Schema("toys", 3, "toys", "`make toys`", ToysError, {"length": "nm"})


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "toys.h5", "w") as file:
        TOYS.write_head(file)
        file.attrs["about"] = '{"a": 1}'
        file["cars"] = np.zeros((4, 2))
    return tmp_path / "toys.h5"


def test_a_file_that_is_open_is_waited_for(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    with h5py.File(toys, "r") as reader:

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                reader.close()

        monkeypatch.setattr(hdf5.time, "sleep", sleep)
        with open_patiently(toys, "r+") as file:
            assert file.mode == "r+"
    assert len(waited) == 3


def test_patience_ends(toys: Path) -> None:
    with h5py.File(toys, "r"), pytest.raises(BlockingIOError):
        open_patiently(toys, "r+", patience=0.0)


def test_other_processes_lock_files(toys: Path, tmp_path: Path) -> None:
    """The lock of another process is another error than one's own."""
    code = f"import h5py; file = h5py.File({str(toys)!r}, 'r+'); print('open', flush=True); input(); file.close()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(BlockingIOError):
            open_patiently(toys, patience=0.0)
        with pytest.raises(ToysError, match="is kept open for writing by another program: close it first"):
            TOYS.open(toys, patience=0.0)
        found: list[Any] = []
        waiting = threading.Thread(target=lambda: found.append(open_patiently(toys)))
        waiting.start()
        holder.communicate("\n")
        waiting.join()
        assert found[0].attrs["schema"] == "toys"
        found[0].close()
    finally:
        holder.kill()


def test_a_head_comes_back(toys: Path) -> None:
    with TOYS.open(toys) as file:
        assert TOYS.parsed(file, "about") == {"a": 1}
        TOYS.check_array(file, "cars", (4, 2))
        TOYS.check_array(file, "cars", (3, 2), growing=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.__setitem__("schema", "dolls"), r"not one of toys \(no schema 'toys'\)"),
        (lambda file: file.attrs.__delitem__("schema"), "not one of toys"),
        (lambda file: file.attrs.__setitem__("version", 4), "has schema version 4, this program reads 3"),
        (lambda file: file.attrs.__setitem__("version", "3"), "has schema version 3, this program reads 3"),
        (lambda file: file.attrs.__delitem__("version"), "has schema version None"),
        (lambda file: file.attrs.__setitem__("units", '{"length": "A"}'), "has units"),
        (lambda file: file.attrs.__setitem__("units", "{"), "attribute units is not valid JSON"),
        (lambda file: file.attrs.__delitem__("units"), "lacks the attributes units"),
    ],
)
def test_other_heads_are_refused(toys: Path, change: Callable[[h5py.File], None], message: str) -> None:
    with h5py.File(toys, "r+") as file:
        change(file)
    with pytest.raises(ToysError, match=message):
        TOYS.open(toys)
    # Nothing keeps it open.
    with h5py.File(toys, "r+"):
        pass


def test_wrong_contents_are_named(toys: Path) -> None:
    with TOYS.open(toys) as file:
        with pytest.raises(ToysError, match="lacks the attributes colour, price"):
            TOYS.require_attributes(file, ["about", "colour", "price"])
        with pytest.raises(ToysError, match="lacks the attributes colour"):
            TOYS.parsed(file, "colour")
        with pytest.raises(ToysError, match="lacks trains"):
            TOYS.check_array(file, "trains", (1,))
        for shape, growing in (((3, 2), False), ((4, 3), True), ((5, 2), True), ((4,), True), ((4, 2, 1), True)):
            with pytest.raises(ToysError, match=r"cars has shape \[4, 2\], expected"):
                TOYS.check_array(file, "cars", shape, growing)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ToysError, match="does not exist: check the path, or make it with `make toys`"):
        TOYS.open(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(ToysError, match="is not a readable HDF5 file"):
        TOYS.open(tmp_path / "text.h5")
