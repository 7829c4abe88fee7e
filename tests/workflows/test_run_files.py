"""Checkpoints, DCD files and frames files that are cut back, and folders that hold another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import app, unit

from kstep_models.configuration import load_config
from openmmkstep.io import dcd
from openmmkstep.io.digests import BytesDigest, DamagedFileError, Extent
from openmmkstep.io.manifest import Manifest, ManifestError
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run.checkpoint import Checkpoint, CheckpointError, last_context
from openmmkstep.workflows.run_folder import RunFolder, RunFolderError
from tests.support.qmmm.molecules import Molecule

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "alanine_dipeptide"


def write_dcd(path: Path, molecule: Molecule, frames: int, append: bool = False) -> None:
    with path.open("r+b" if append else "wb") as file:
        dcd = app.DCDFile(file, molecule.topology, 0.004, 5, 5, append=append)
        for frame in range(frames):
            dcd.writeModel((np.asarray(molecule.positions) + frame) * unit.nanometer)


@pytest.mark.parametrize("name", ["ala2", "solvated_ala2"])
def test_dcd_files_are_cut_and_continued(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    molecule: Molecule = request.getfixturevalue(name)
    long, short = tmp_path / "long.dcd", tmp_path / "short.dcd"
    write_dcd(long, molecule, 5)
    write_dcd(short, molecule, 3)
    assert (dcd.count_frames(long), dcd.count_frames(short)) == (5, 3)
    with long.open("ab") as file:
        file.write(b"half a frame")
    dcd.keep_frames(long, 3, 5)
    # The head holds the time of writing between bytes 176 and 260.
    first, second = long.read_bytes(), short.read_bytes()
    assert first[:176] == second[:176] and first[260:] == second[260:]
    with pytest.raises(ValueError, match="fewer than the 4"):
        dcd.keep_frames(long, 4, 5)


@pytest.mark.parametrize("name", ["ala2", "solvated_ala2"])
def test_dcd_files_are_read(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What OpenMM wrote in angstrom, with and without a box; a frame that was cut short is left out."""
    molecule = request.getfixturevalue(name)
    path = tmp_path / "trajectory.dcd"
    write_dcd(path, molecule, 3)
    expected = np.asarray(molecule.positions) + np.arange(3)[:, None, None]
    np.testing.assert_allclose(dcd.read_positions(path), expected, atol=3e-7, rtol=3e-7)
    path.write_bytes(path.read_bytes()[:-8])
    np.testing.assert_allclose(dcd.read_positions(path), expected[:2], atol=3e-7, rtol=3e-7)
    (tmp_path / "empty.dcd").touch()
    with pytest.raises(ValueError, match=r"empty\.dcd has no frame"):
        dcd.read_positions(tmp_path / "empty.dcd")


def test_other_files_are_no_dcd(tmp_path: Path) -> None:
    (tmp_path / "x.dcd").write_bytes(b"x" * 200)
    with pytest.raises(ValueError, match="not a DCD file"):
        dcd.count_frames(tmp_path / "x.dcd")


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.bin"
    checkpoint = Checkpoint(7, {"trajectory.dcd": Extent(3, "ab"), "frames.h5": Extent(2, "cd")}, 1.5, b"\x00state\xff")
    checkpoint.write(path)
    assert Checkpoint.read(path) == checkpoint
    assert last_context(path) == b"\x00state\xff" and last_context(path.with_name("none.bin")) is None
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"checkpoint\.bin is (not a checkpoint|damaged).*remove it"):
            Checkpoint.read(path)
        assert last_context(path) is None
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            Checkpoint.read(path)


@pytest.mark.parametrize("first", [0, 10, 60, 1000, 5_000_000])
def test_running_digests(tmp_path: Path, first: int) -> None:
    """The same in one go and in pieces, wherever they begin; bytes that may change do not count, all others do."""
    path, changing = tmp_path / "x", ((8, 12), (20, 24))
    content = bytearray(np.random.default_rng(1).bytes(6_000_000))
    path.write_bytes(content)
    running = BytesDigest(path, changing)
    running.extend(first)
    whole = running.extend(len(content))
    assert whole == BytesDigest(path, changing).extend(len(content))
    for place, counts in ((8, False), (11, False), (23, False), (7, True), (12, True), (19, True), (5_999_999, True)):
        content[place] ^= 16
        path.write_bytes(content)
        content[place] ^= 16
        assert (BytesDigest(path, changing).extend(len(content)) != whole) == counts
    path.write_bytes(content[:-1])
    with pytest.raises(DamagedFileError, match="x has 5999999 bytes where 6000000 were written"):
        BytesDigest(path).extend(len(content))
    path.unlink()
    with pytest.raises(DamagedFileError, match="x is missing"):
        BytesDigest(path).extend(1)


def settings(config: RunConfig) -> Mapping[str, Any]:
    return RunPlan.of(config).settings


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    config = load_config(EXAMPLE / "run.yaml", RunConfig)
    folder = RunFolder(tmp_path / "out")
    assert folder.open(settings(config), fresh=False) is False
    assert folder.open(settings(config), fresh=False) is True
    assert folder.open(settings(config.model_copy(update={"time": 2 * config.time})), fresh=False) is True
    other = config.model_copy(update={"seed": 99})
    folder.trajectory.write_bytes(b"old")
    with pytest.raises(RunFolderError, match=r"seed.*--fresh"):
        folder.open(settings(other), fresh=False)
    folder.settings.unlink()
    folder.digests.unlink()
    with pytest.raises(RunFolderError, match=r"overwrite \(trajectory.dcd\)"):
        folder.open(settings(other), fresh=False)
    assert folder.open(settings(other), fresh=True) is False
    assert not folder.trajectory.exists()


def test_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, file, other = Manifest(tmp_path / "digests.json"), tmp_path / "a", tmp_path / "b"
    listed.write(file, "content")
    assert file in listed and other not in listed and listed.matches(file, b"content")
    again = Manifest(tmp_path / "digests.json")
    again.load([])
    assert again.matches(file, b"content") and not again.matches(file, b"other") and not again.matches(other, b"")
    # Killed between a file and its digest, when it is written for the second time: it does not count.
    monkeypatch.setattr(Manifest, "_save", _killed_after(1, Manifest._save))
    with pytest.raises(KeyboardInterrupt):
        listed.write(file, "new content")
    monkeypatch.undo()
    again.load([])
    assert file not in again
    # Where the list is gone, the files are trusted.
    (tmp_path / "digests.json").unlink()
    again.load([file, other])
    assert again.matches(file, b"new content") and other not in again
    for content in ("", "{}", "[1]", '{"files": {"a": "0"}, "sha256": "0"}', '{"files": 1, "sha256": "0"}'):
        (tmp_path / "digests.json").write_text(content)
        with pytest.raises(ManifestError, match=r"digests\.json is damaged: .*remove it"):
            again.load([])


def _killed_after(calls: int, method: Callable[[Manifest], None]) -> Callable[[Manifest], None]:
    made = []

    def limited(manifest: Manifest) -> None:
        made.append(1)
        if len(made) > calls:
            raise KeyboardInterrupt
        method(manifest)

    return limited


def test_settings_may_change_until_something_is_calculated(tmp_path: Path) -> None:
    """A run that ended by an error of its settings, with a box of water that is ready."""
    first = RunFolder(tmp_path / "out")
    assert not first.open({"seed": 1}, fresh=False)
    first.write(first.structure, "water around the first region")
    changed = RunFolder(tmp_path / "out")
    assert changed.compare({"seed": 2}) is None
    assert not changed.open({"seed": 2}, fresh=False) and not changed.structure.exists()
    assert RunFolder(tmp_path / "out").open({"seed": 2}, fresh=False)
    changed.write(changed.equilibration_table, "time\n")
    with pytest.raises(RunFolderError, match=r"other settings \(seed\)"):
        RunFolder(tmp_path / "out").open({"seed": 3}, fresh=False)
