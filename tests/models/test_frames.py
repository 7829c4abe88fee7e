from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from kstep_models.frames import Environment, Frame, FrameFile, FrameFileError, FrameWriter, RegionDescription

WATER = RegionDescription(
    numbers=np.array([8, 1, 1]),
    masses=np.array([16.0, 1.0, 1.0]),
    bonds=np.array([[0, 1], [0, 2]]),
    charge=0,
    multiplicity=1,
    level_of_theory={"method": "analytic", "limits": (1, 2)},
    software={"openmm-kstep": "0"},
    command="kstep generate water.yaml",
    names=("O", "H1", "H2"),
)


def frame(index: int, charges: int | None = None) -> Frame:
    random = np.random.default_rng(index)
    environment = None
    if charges is not None:
        environment = Environment(
            random.normal(size=3),
            random.normal(size=(3, 3)),
            random.normal(size=(charges, 3)),
            random.normal(size=charges),
            random.normal(size=(charges, 3)),
        )
    return Frame(
        positions=random.normal(size=(3, 3)),
        energy=-200.0 - index,
        forces=random.normal(size=(3, 3)),
        charges=random.normal(size=3),
        dipole=random.normal(size=3),
        trajectory=index // 4,
        time=0.005 * index,
        temperature=300.0,
        environment=environment,
    )


def assert_same(a: Frame, b: Frame) -> None:
    for name in ("positions", "energy", "forces", "charges", "dipole", "trajectory", "time", "temperature"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert (a.environment is None) == (b.environment is None)
    if a.environment is not None and b.environment is not None:
        for name in ("potential", "potential_gradient", "positions", "charges", "forces"):
            assert np.allclose(getattr(a.environment, name), getattr(b.environment, name), rtol=1e-6, atol=1e-6), name


@pytest.mark.parametrize("embedded", [False, True])
def test_round_trip(tmp_path: Path, embedded: bool) -> None:
    frames = [frame(k, k % 5 if embedded else None) for k in range(11)]
    with FrameWriter(tmp_path / "f.h5", WATER, environment=embedded, flush_every=4) as writer:
        for item in frames:
            writer.append(item)
        assert len(writer) == 11
    with FrameFile(tmp_path / "f.h5") as file:
        assert len(file) == 11
        assert file.has_environment == embedded
        assert file.region.difference(WATER) is None
        assert file.region.names == WATER.names
        assert file.attributes["command"] == WATER.command
        for a, b in zip(file, frames, strict=True):
            assert_same(a, b)
        assert file.frames("positions").shape == (11, 3, 3)


def test_readable_while_being_written(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "f.h5", WATER, flush_every=3)
    for k in range(7):
        writer.append(frame(k))
    with FrameFile(tmp_path / "f.h5") as file:
        assert len(file) == 6
        # A reader in the way puts the flush off; nothing is lost.
        for k in range(7, 12):
            writer.append(frame(k))
    writer.close()
    with FrameFile(tmp_path / "f.h5") as file:
        assert file.frames("energy").tolist() == [-200.0 - k for k in range(12)]


def test_a_reader_puts_flushes_off_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = FrameWriter(tmp_path / "f.h5", WATER, flush_every=1)
    with FrameFile(tmp_path / "f.h5"):
        writer.append(frame(0))
        assert writer.flush() is False
        monkeypatch.setattr("kstep_models.frames.writer.PATIENCE", 0.0)
        with pytest.raises(FrameFileError, match="kept open by another program: 1 frames could not be written"):
            writer.close()
    assert writer.flush() is True
    with FrameFile(tmp_path / "f.h5") as file:
        assert len(file) == len(writer) == 1


@pytest.mark.parametrize("embedded", [False, True])
def test_resume_gives_the_same_file(tmp_path: Path, embedded: bool) -> None:
    frames = [frame(k, 3 if embedded else None) for k in range(8)]
    with FrameWriter(tmp_path / "whole.h5", WATER, environment=embedded) as writer:
        for item in frames:
            writer.append(item)
    with FrameWriter(tmp_path / "parts.h5", WATER, environment=embedded, resume=True) as writer:
        for item in frames[:5]:
            writer.append(item)
    with FrameWriter(tmp_path / "parts.h5", WATER, environment=embedded, resume=True) as writer:
        assert len(writer) == 5
        for item in frames[5:]:
            writer.append(item)
    with FrameFile(tmp_path / "whole.h5") as whole, FrameFile(tmp_path / "parts.h5") as parts:
        assert whole.digest() == parts.digest()
        if embedded:
            assert np.array_equal(whole.environment_offset, parts.environment_offset)


def test_what_an_interrupted_flush_left_is_ignored_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with FrameWriter(path, WATER, environment=True) as writer:
        for k in range(6):
            writer.append(frame(k, 2))
    with FrameFile(path) as file:
        digest = file.digest()
    # As after kill -9 in the middle of a flush: longer arrays, some of them, and the old count.
    with h5py.File(path, "r+") as data:
        for name in ("positions", "energy"):
            data["frames"][name].resize(9, axis=0)
        data["environment/positions"].resize(50, axis=0)
    with FrameFile(path) as file:
        assert len(file) == 6
        assert file.digest() == digest
    with FrameWriter(path, WATER, environment=True, resume=True) as writer:
        writer.append(frame(6, 2))
    with FrameFile(path) as file:
        assert len(file) == 7
        assert_same(file.frame(6), frame(6, 2))


def test_frames_are_copied_when_appended(tmp_path: Path) -> None:
    positions = np.zeros((3, 3))
    with FrameWriter(tmp_path / "f.h5", WATER) as writer:
        item = frame(0)
        writer.append(Frame(**{**item.__dict__, "positions": positions}))
        positions += 1.0
    with FrameFile(tmp_path / "f.h5") as file:
        assert not file.frames("positions").any()


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    FrameWriter(tmp_path / "f.h5", WATER).close()
    with pytest.raises(FrameFileError, match="exists already"):
        FrameWriter(tmp_path / "f.h5", WATER)


def test_another_region_is_not_appended(tmp_path: Path) -> None:
    FrameWriter(tmp_path / "f.h5", WATER).close()
    changes: list[tuple[dict[str, object], str]] = [
        ({"numbers": np.array([8, 1, 9])}, "atomic numbers"),
        ({"bonds": np.array([[0, 1]])}, "bonds"),
        ({"charge": 1}, "charge"),
        ({"level_of_theory": {"method": "other"}}, "levels of theory"),
    ]
    for change, reason in changes:
        with pytest.raises(FrameFileError, match=reason):
            FrameWriter(tmp_path / "f.h5", RegionDescription(**{**WATER.__dict__, **change}), resume=True)  # type: ignore[arg-type]
    with pytest.raises(FrameFileError, match="environment"):
        FrameWriter(tmp_path / "f.h5", WATER, environment=True, resume=True)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("positions", np.zeros((2, 3)), r"positions has shape \[2, 3\], expected \[3, 3\]"),
        ("forces", np.full((3, 3), np.nan), "forces has values that are not finite"),
        ("charges", [0.1, np.nan, 0.1], "charges has values that are not finite"),
        ("dipole", [np.nan, np.inf, np.nan], "dipole has values that are not finite"),
        ("energy", float("inf"), "energy has values that are not finite"),
        (
            "environment",
            Environment(np.zeros(3), np.zeros((3, 3)), np.zeros((0, 3)), [], np.zeros((0, 3))),
            "environment",
        ),
    ],
)
def test_unusable_frames_are_refused(tmp_path: Path, field: str, value: object, reason: str) -> None:
    with FrameWriter(tmp_path / "f.h5", WATER) as writer:
        with pytest.raises(FrameFileError, match=reason):
            writer.append(Frame(**{**frame(0).__dict__, field: value}))  # type: ignore[arg-type]
        assert len(writer) == 0


def test_what_an_engine_does_not_tell_is_kept_as_nan(tmp_path: Path) -> None:
    untold = {"charges": np.full(3, np.nan), "dipole": np.full(3, np.nan)}
    with FrameWriter(tmp_path / "f.h5", WATER) as writer:
        writer.append(Frame(**{**frame(0).__dict__, **untold}))
    with FrameFile(tmp_path / "f.h5") as file:
        assert np.isnan(file.frames("charges")).all() and np.isnan(file.frames("dipole")).all()
        assert np.isfinite(file.frames("forces")).all()


def test_missing_environment_is_refused(tmp_path: Path) -> None:
    with (
        FrameWriter(tmp_path / "f.h5", WATER, environment=True) as writer,
        pytest.raises(FrameFileError, match="no environment"),
    ):
        writer.append(frame(0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"numbers": np.array([], dtype=int)}, "at least one atom"),
        ({"numbers": np.array([0, 1, 1])}, "between 1 and 118"),
        ({"masses": np.array([1.0])}, "masses"),
        ({"bonds": np.array([[0, 3]])}, "bonds must index"),
        ({"bonds": np.array([[1, 1]])}, "two different atoms"),
        ({"names": ("O",)}, "atom names"),
        ({"multiplicity": 0}, "multiplicity"),
    ],
)
def test_impossible_regions_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(FrameFileError, match=reason):
        RegionDescription(**{**WATER.__dict__, **change})  # type: ignore[arg-type]


def test_reading_what_is_not_a_frames_file(tmp_path: Path) -> None:
    with pytest.raises(FrameFileError, match="does not exist"):
        FrameFile(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(FrameFileError, match="not a readable HDF5 file"):
        FrameFile(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as data:
        data["x"] = 1
    with pytest.raises(FrameFileError, match="schema"):
        FrameFile(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data.attrs.__setitem__("version", 2), "version 2"),
        (lambda data: data.attrs.__setitem__("units", '{"length": "A"}'), "units"),
        (lambda data: data.attrs.__setitem__("level_of_theory", "{"), "level_of_theory is not valid JSON"),
        (lambda data: data.__delitem__("masses"), "lacks masses"),
        (lambda data: data["frames"].__delitem__("forces"), "lacks frames/forces"),
        (lambda data: data["frames/energy"].resize(1, axis=0), "frames/energy has shape"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: object, reason: str) -> None:
    with FrameWriter(tmp_path / "f.h5", WATER) as writer:
        writer.append(frame(0))
        writer.append(frame(1))
    with h5py.File(tmp_path / "f.h5", "r+") as data:
        damage(data)  # type: ignore[operator]
    with pytest.raises(FrameFileError, match=reason):
        FrameFile(tmp_path / "f.h5")


def test_cut_off_copy_is_refused(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "f.h5", WATER) as writer:
        writer.append(frame(0))
    content = (tmp_path / "f.h5").read_bytes()
    (tmp_path / "short.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(FrameFileError, match="cut off"):
        FrameFile(tmp_path / "short.h5")


@pytest.mark.parametrize("embedded", [False, True])
def test_wrong_bits_are_noticed(tmp_path: Path, embedded: bool) -> None:
    """Wherever they are: the frames are those that were written, or the error names the file."""
    whole, damaged = tmp_path / "whole.h5", tmp_path / "damaged.h5"
    with FrameWriter(whole, WATER, environment=embedded, flush_every=3) as writer:
        for k in range(6):
            writer.append(frame(k, 3 if embedded else None))

    def content(path: Path) -> tuple[object, ...]:
        with FrameFile(path) as file:
            return (repr(file.region), file.digest(), repr(list(file)), file.attributes["command"])

    expected, data = content(whole), bytearray(whole.read_bytes())
    noticed, places = 0, range(0, len(data), len(data) // 90)
    for place in places:
        data[place] ^= 1 << (place % 8)
        damaged.write_bytes(data)
        data[place] ^= 1 << (place % 8)
        try:
            assert content(damaged) == expected
        except FrameFileError as error:
            assert str(damaged) in str(error)
            noticed += 1
    assert noticed > 0.9 * len(places)


def test_no_room_for_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.h5"
    writer = FrameWriter(path, WATER, flush_every=2)
    writer.append(frame(0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device.*f\.h5"):
        writer.append(frame(1))
    with FrameFile(path) as file:
        assert len(file) == 0
    monkeypatch.undo()
    writer.append(frame(2))
    writer.close()
    with FrameFile(path) as file:
        assert file.frames("energy").tolist() == [-200.0, -201.0, -202.0]


def test_a_flush_says_whether_it_was_done(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    writer = FrameWriter(path, WATER)
    writer.append(frame(0))
    with FrameFile(path):
        assert not writer.flush()
    assert writer.flush() and len(writer) == 1
    with FrameFile(path) as file:
        assert len(file) == 1
