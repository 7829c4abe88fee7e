from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from kstep_models.contract import ENTRY, Contract, ContractError, read_contract

CONTRACT = Contract(
    elements=(1, 8),
    atomic_numbers=(8, 1, 1),
    cutoff=0.5,
    dtype="float32",
    charge=0,
    multiplicity=1,
    level_of_theory={"method": "analytic"},
    training_data={"digest": "sha256:0", "frames": 3},
    validation={"gas": {"force_rmse": 9.0}},
    versions={"torch": "2.13.0"},
)


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(CONTRACT.to_json()), **changes})


def test_round_trip() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT


def test_unknown_fields_are_let_pass() -> None:
    assert Contract.from_json(changed(added_later=1)) == CONTRACT


def test_any_atoms() -> None:
    contract = Contract.from_json(changed(atomic_numbers=None))
    contract.check_atoms([1, 1, 1, 8])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contract": "something"}, "'something' document"),
        ({"version": 2}, "contract version 2"),
        ({"kind": "jump"}, "kind 'jump'"),
        ({"units": {"length": "A"}}, "units"),
        ({"inputs": ["velocities"]}, "inputs"),
        ({"inputs": ["positions"], "outputs": ["energy", "forces", "charges"]}, "not supported"),
        ({"inputs": "positions"}, "inputs must be a list"),
        ({"dtype": "bfloat16"}, "dtype 'bfloat16'"),
        ({"cutoff": 0}, "cutoff"),
        ({"cutoff": float("nan")}, "cutoff"),
        ({"cutoff": "wide"}, "cutoff"),
        ({"elements": []}, "elements"),
        ({"elements": [0]}, "elements"),
        ({"atomic_numbers": [7]}, r"\[7\], which elements"),
        ({"atomic_numbers": []}, "atomic_numbers"),
        ({"charge": 0.5}, "charge"),
        ({"multiplicity": 0}, "multiplicity"),
        ({"level_of_theory": {}}, "level_of_theory"),
        ({"training_data": {}}, "training_data"),
    ],
)
def test_refusals_say_what_and_where(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=f"model.pt: .*{reason}"):
        Contract.from_json(changed(**changes), "model.pt")


@pytest.mark.parametrize("text", ["{", "[]", b"\xff"])
def test_what_is_not_a_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(ContractError, match="JSON"):
        Contract.from_json(text)


def test_missing_fields_are_named() -> None:
    data = json.loads(CONTRACT.to_json())
    del data["units"], data["cutoff"]
    with pytest.raises(ContractError, match="lacks units, cutoff"):
        Contract.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [([8, 1, 1, 6], r"also has \[6\]"), ([8, 1], "3 atoms, the region has 2"), ([1, 8, 1], "atom 0 .* element 1")],
)
def test_other_atoms_are_refused(atoms: list[int], reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        CONTRACT.check_atoms(atoms)


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="does not exist"):
        read_contract(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(ContractError, match="not a TorchScript archive"):
        read_contract(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "bare.pt", "w") as archive:
        archive.writestr("bare/data.pkl", b"")
    with pytest.raises(ContractError, match=f"has no {ENTRY}"):
        read_contract(tmp_path / "bare.pt")
