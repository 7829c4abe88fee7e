from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kstep_models.contract import ATOMIC_UNITS, ENTRY, Contract, ContractError, _kinds, known_kinds, read_contract
from kstep_models.potential.contract import PotentialContract
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.contract import ResponseContract

CONTRACT = PotentialContract(
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

BASIS = AuxiliaryBasis(
    "small",
    {
        1: (Shell(0, (1.5, 0.4), (0.6, 0.5)), Shell(1, (0.8,), (1.0,))),
        8: (Shell(0, (9.0,), (1.0,)), Shell(0, (0.9,), (1.0,)), Shell(2, (1.1,), (1.0,))),
    },
)
RESPONSE = ResponseContract.of(
    BASIS,
    cutoff=12.0,
    dtype="float64",
    level_of_theory={"method": "rks", "functional": "pbe0", "basis": "6-31g"},
    training_data={"digest": "sha256:1", "geometries": 20},
    validation={"H2O": {"response_error": 0.01}},
    versions={"torch": "2.13.0"},
)


def changed(base: Contract = CONTRACT, **changes: Any) -> str:
    return json.dumps({**json.loads(base.to_json()), **changes})


@pytest.mark.parametrize("contract", [CONTRACT, RESPONSE])
def test_round_trip(contract: Contract) -> None:
    assert Contract.from_json(contract.to_json()) == contract


def test_response_model() -> None:
    contract = Contract.from_json(RESPONSE.to_json())
    assert contract.kind == "fxc" and contract.atomic_numbers is None
    assert contract.elements == (1, 8)
    assert isinstance(contract, ResponseContract)
    assert json.loads(RESPONSE.to_json())["units"] == dict(ATOMIC_UNITS)
    assert contract.basis() == BASIS
    assert contract.basis().size([8, 1, 1]) == 15
    contract.check_atoms([1, 8, 8])


def test_kinds_are_found_by_their_place() -> None:
    """Each with its own units; a subclass is all that a new kind needs."""
    assert set(known_kinds()) >= {"potential", "fxc"}

    @dataclass(frozen=True)
    class TestContract(Contract, kind="test"):
        signatures = ((("positions",), ("displacements",)),)
        k: int = 1

    try:
        common = (0.5, "float32", 0, 1, {"method": "x"}, {"digest": "x"})
        contract = TestContract((1,), None, *common, ("positions",), ("displacements",), k=8)
        again = Contract.from_json(contract.to_json())
        assert type(again) is TestContract and again == contract
        with pytest.raises(ContractError, match="k does not belong to a model of kind 'potential'"):
            Contract.from_json(changed(k=8))
    finally:
        del _kinds["test"]


def test_contracts_are_read_without_torch(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr(f"m/extra/{ENTRY}", RESPONSE.to_json())
    code = (
        "import sys\n"
        "for name in ('torch', 'openmm', 'h5py'): sys.modules[name] = None\n"
        "from kstep_models.contract import read_contract\n"
        f"print(read_contract({str(tmp_path / 'm.pt')!r}).basis().name)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "small\n"


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
        ({"units": dict(ATOMIC_UNITS)}, "units .* expected .*'nm'"),
        ({"units": "SI"}, "units are SI"),
        ({"auxiliary_basis": BASIS.to_json()}, "auxiliary_basis does not belong to a model of kind 'potential'"),
    ],
)
def test_refusals_say_what_and_where(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=f"model.pt: .*{reason}"):
        Contract.from_json(changed(**changes), "model.pt")


def basis(**elements: Any) -> dict[str, Any]:
    """The basis with the shells of some elements replaced, named z1, z8; None takes one out."""
    data = BASIS.to_json()
    data["elements"].update({name[1:]: shells for name, shells in elements.items()})
    data["elements"] = {number: shells for number, shells in data["elements"].items() if shells is not None}
    return data


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"units": json.loads(CONTRACT.to_json())["units"]}, "units .* expected .*'bohr'"),
        ({"inputs": ["positions"]}, "inputs .* not supported"),
        ({"outputs": ["response"]}, "outputs .* not supported"),
        ({"cutoff": -1.0}, "positive length in bohr"),
        ({"charge": 1}, "charge 1 and multiplicity 1"),
        ({"multiplicity": 3}, "charge 0 and multiplicity 3"),
        ({"level_of_theory": {"method": "rks"}}, "must name its functional"),
        ({"level_of_theory": {"functional": ""}}, "must name its functional"),
        ({"auxiliary_basis": None}, "auxiliary_basis is missing"),
        ({"auxiliary_basis": []}, "auxiliary_basis is ill-formed"),
        ({"auxiliary_basis": {"elements": BASIS.to_json()["elements"]}}, "auxiliary_basis is ill-formed"),
        ({"auxiliary_basis": basis(z8=None)}, r"for elements \[1\], the model covers \[1, 8\]"),
        ({"auxiliary_basis": basis(z6=[[0, [1.0], [1.0]]])}, r"for elements \[1, 6, 8\]"),
        ({"auxiliary_basis": basis(z1=[])}, "ill-formed: element 1 needs shells"),
        ({"auxiliary_basis": basis(z1=[[0, [1.0]]])}, "auxiliary_basis is ill-formed"),
        ({"auxiliary_basis": basis(z1=[[0, [-1.0], [1.0]]])}, "ill-formed: exponents must be positive"),
        ({"auxiliary_basis": basis(z1=[[0, [1.0], [1.0, 2.0]]])}, "ill-formed: .*as many coefficients"),
        ({"auxiliary_basis": basis(z1=[[9, [1.0], [1.0]]])}, "ill-formed: angular momentum"),
    ],
)
def test_response_models_that_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=f"model.pt: .*{reason}"):
        Contract.from_json(changed(RESPONSE, **changes), "model.pt")


def test_response_model_without_its_basis_is_refused() -> None:
    data = json.loads(RESPONSE.to_json())
    del data["auxiliary_basis"]
    with pytest.raises(ContractError, match="auxiliary_basis is missing"):
        Contract.from_json(json.dumps(data))


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
