"""Files of linear responses: what goes in comes out, and what does not belong is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, AuxiliaryBasisError, Shell
from kstep_models.rttddft.response_file import ResponseFile, ResponseFileError, ResponseRecord, ResponseWriter
from tests.support.models.response_network import BASIS

LEVEL = {"method": "rks", "functional": "pbe0", "basis": "sto-3g"}
WATER = np.array([8, 1, 1])


def record(seed: int, atoms: int = 3, functions: int = 6, changes: int = 4) -> ResponseRecord:
    random = np.random.default_rng(seed)
    square = (changes, changes)
    shapes = {
        "positions": (atoms, 3),
        "fit": (functions, changes),
        "response": square,
        "kernel": (functions, functions),
        "sum": square,
        "difference": square,
        "dipole": (3, changes),
        "density": (functions,),
        "metric": (functions, functions),
    }
    return ResponseRecord(**{name: random.normal(size=shape) for name, shape in shapes.items()})


def writer(path: Path, basis: AuxiliaryBasis = BASIS) -> ResponseWriter:
    return ResponseWriter(path, basis, LEVEL, {"numpy": "2"})


def same(stored: ResponseRecord, expected: list[ResponseRecord]) -> None:
    for entry in dataclasses.fields(ResponseRecord):
        values = np.stack([getattr(each, entry.name) for each in expected])
        assert np.array_equal(getattr(stored, entry.name), values), entry.name


def test_round_trip_of_several_molecules(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    first = writer(path)
    records = [record(seed) for seed in range(3)]
    hydrogen = record(9, atoms=2, functions=3, changes=1)
    for each in records[:2]:
        first.append("H2O", WATER, each)
    first.append("H2", np.array([1, 1]), hydrogen)
    # Another process goes on.
    second = writer(path)
    assert (second.count("H2O"), second.count("H2"), second.count("CH4")) == (2, 1, 0)
    second.append("H2O", WATER, records[2])
    file = ResponseFile(path)
    assert (file.basis, file.level, file.molecules) == (BASIS, LEVEL, ("H2", "H2O"))
    water = file.read("H2O")
    assert len(water) == 3 and np.array_equal(water.numbers, WATER)
    same(water.records, records)
    same(file.read("H2").records, [hydrogen])
    assert [each.name for each in file] == ["H2", "H2O"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.h5"]


def test_record_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    """As after a crash between some arrays and the rest: what is complete stays, the next record takes the place."""
    path = tmp_path / "r.h5"
    own = writer(path)
    own.append("H2O", WATER, record(0))
    with h5py.File(path, "r+") as file:
        for name in ("positions", "fit"):
            file["H2O"][name].resize(2, axis=0)
            file["H2O"][name][1] = 7.0
    assert own.count("H2O") == 1
    same(ResponseFile(path).read("H2O").records, [record(0)])
    own.append("H2O", WATER, record(1))
    same(ResponseFile(path).read("H2O").records, [record(0), record(1)])


def test_other_bases_and_levels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    writer(path)
    other = AuxiliaryBasis("other", {1: (Shell(0, (1.0,), (1.0,)),)})
    with pytest.raises(ResponseFileError, match="another auxiliary_basis: write to another file"):
        writer(path, other)
    with pytest.raises(ResponseFileError, match="another level_of_theory"):
        ResponseWriter(path, BASIS, {**LEVEL, "functional": "pbe"}, {})
    assert ResponseFile(path).molecules == ()


def test_records_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    own = writer(path)
    own.append("H2O", WATER, record(0))
    with pytest.raises(ResponseFileError, match="H2O has other atoms"):
        own.append("H2O", np.array([1, 8, 1]), record(1))
    with pytest.raises(ResponseFileError, match="fit of H2O has shape"):
        own.append("H2O", WATER, record(1, changes=5))
    bad = record(1)
    bad.density[2] = np.nan
    with pytest.raises(ResponseFileError, match="density of H2O has values that are not finite"):
        own.append("H2O", WATER, bad)
    with pytest.raises(ResponseFileError, match="not finite"):
        own.append("NH3", np.array([7, 1, 1, 1]), bad)
    file = ResponseFile(path)
    assert file.molecules == ("H2O",)
    same(file.read("H2O").records, [record(0)])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ResponseFileError, match="does not exist"):
        ResponseFile(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    for opened in (ResponseFile, writer):
        with pytest.raises(ResponseFileError, match="not a readable HDF5 file"):
            opened(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["schema"] = "kstep-frames"
    with pytest.raises(ResponseFileError, match="not one of responses"):
        ResponseFile(other)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    own = writer(path)
    for seed in range(20):
        own.append("H2O", WATER, record(seed))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResponseFileError, match="cut off"):
        ResponseFile(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file.attrs["auxiliary_basis"] = '{"name": "x", "elements": {"1": [[0, [-1.0], [1.0]]]}}'
    with pytest.raises(ResponseFileError, match="damaged: exponents must be positive"):
        ResponseFile(path)
    path.write_bytes(whole)
    with pytest.raises(ResponseFileError, match="has no molecule NH3, only H2O"):
        ResponseFile(path).read("NH3")


def test_part_of_a_record_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.h5"
    writer(path).append("H2O", WATER, record(0))
    with h5py.File(path, "r+") as file:
        del file["H2O"]["kernel"]
    with pytest.raises(ResponseFileError, match="kernel"):
        ResponseFile(path).read("H2O")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Shell(7, (1.0,), (1.0,)), "between 0 and 6"),
        (lambda: Shell(0, (1.0,), (1.0, 2.0)), "as many coefficients"),
        (lambda: Shell(0, (0.0,), (1.0,)), "positive"),
        (lambda: Shell(0, (1.0,), (0.0,)), "not all zero"),
        (lambda: AuxiliaryBasis("none", {}), "at least one element"),
        (lambda: AuxiliaryBasis("x", {1: (Shell(1, (1.0,), (1.0,)), Shell(0, (1.0,), (1.0,)))}), "ascending"),
        (lambda: AuxiliaryBasis.from_json({"name": "x"}), "not an auxiliary basis"),
        (lambda: BASIS.size([6]), "no element 6, only"),
    ],
)
def test_impossible_auxiliary_bases(make, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AuxiliaryBasisError, match=reason):
        make()
