"""Checkpoints, DCD files and frames files that are cut back, and folders that hold another run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit

from kstep_models.configuration import load_config
from openmmkstep.io import dcd
from openmmkstep.io.digests import BytesDigest, DamagedFileError, Extent
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run.checkpoint import Checkpoint, CheckpointError
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


def test_other_files_are_no_dcd(tmp_path: Path) -> None:
    (tmp_path / "x.dcd").write_bytes(b"x" * 200)
    with pytest.raises(ValueError, match="not a DCD file"):
        dcd.count_frames(tmp_path / "x.dcd")


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.bin"
    checkpoint = Checkpoint(7, {"trajectory.dcd": Extent(3, "ab"), "frames.h5": Extent(2, "cd")}, 1.5, b"\x00state\xff")
    checkpoint.write(path)
    assert Checkpoint.read(path) == checkpoint
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"checkpoint\.bin is (not a checkpoint|damaged).*remove it"):
            Checkpoint.read(path)
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


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    config = load_config(EXAMPLE / "run.yaml", RunConfig)
    folder = RunFolder(tmp_path / "out")
    assert folder.open(config, fresh=False) is False
    assert folder.open(config, fresh=False) is True
    assert folder.open(config.model_copy(update={"time": 2 * config.time}), fresh=False) is True
    other = config.model_copy(update={"seed": 99})
    with pytest.raises(RunFolderError, match=r"seed.*--fresh"):
        folder.open(other, fresh=False)
    folder.trajectory.write_bytes(b"old")
    folder.settings.unlink()
    folder.digests.unlink()
    with pytest.raises(RunFolderError, match=r"overwrite \(trajectory.dcd\)"):
        folder.open(other, fresh=False)
    assert folder.open(other, fresh=True) is False
    assert not folder.trajectory.exists()
