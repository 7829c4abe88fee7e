from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kstep_models.archive import without_source_positions
from kstep_models.contract import ContractError, read_contract
from kstep_models.potential import export as exporting
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import ExportError, export, load
from kstep_models.provenance import MODEL_PACKAGES, software_versions
from tests.support.models import methanol


def contract(
    dtype: str = "float32", charge: int = 0, numbers: tuple[int, ...] = tuple(methanol.NUMBERS)
) -> PotentialContract:
    return PotentialContract(
        elements=tuple(sorted(set(numbers))),
        atomic_numbers=numbers,
        cutoff=0.6,
        dtype=dtype,
        charge=charge,
        multiplicity=1,
        level_of_theory={"method": "analytic"},
        training_data={"digest": "sha256:0", "frames": 1},
        versions=software_versions(MODEL_PACKAGES),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_archive_computes_what_the_model_does(tmp_path: Path, dtype: str) -> None:
    model = methanol.potential()
    checks = export(model, contract(dtype), tmp_path / "m.pt", methanol.geometries(2, 7))
    assert checks.finite_difference < 1e-7
    assert checks.eager < 1e-12
    assert (checks.precision == 0) == (dtype == "float64")
    module, read = load(tmp_path / "m.pt")
    assert read == contract(dtype)
    x, phi = torch.as_tensor(methanol.geometries(1, 8)[0]), torch.linspace(-50, 50, 6, dtype=torch.float64)
    reference = methanol.potential().to(torch.float64).eval()
    energy, forces, charges = reference(x.unsqueeze(0), phi.unsqueeze(0))
    # Whatever the caller's gradient mode: the derivative is part of the graph.
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            values = module(x, phi)
        assert all(value.dtype == torch.float64 for value in values)
        tolerance = 1e-5 if dtype == "float32" else 1e-10
        assert abs(float(values[0]) - float(energy[0]) - reference.energy_mean) < tolerance * 100
        assert float((values[1] - forces[0]).abs().max()) < tolerance * float(forces.abs().max())
        assert float((values[2] - charges[0]).abs().max()) < tolerance


def test_without_potential_it_is_vacuum(tmp_path: Path) -> None:
    export(methanol.potential(), contract(), tmp_path / "m.pt", methanol.geometries(1, 7))
    module, _ = load(tmp_path / "m.pt")
    x = torch.as_tensor(methanol.geometries(1, 8)[0])
    for a, b in zip(module(x), module(x, torch.zeros(6, dtype=torch.float64)), strict=True):
        assert torch.equal(a, b)


def test_another_number_of_atoms_is_refused_by_the_archive(tmp_path: Path) -> None:
    export(methanol.potential(), contract(), tmp_path / "m.pt", methanol.geometries(1, 7))
    module, _ = load(tmp_path / "m.pt")
    with pytest.raises(torch.jit.Error, match="another number of atoms"):
        module(torch.zeros(5, 3, dtype=torch.float64))


def test_contract_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="charge 1, the model has 0"):
        export(methanol.potential(), contract(charge=1), tmp_path / "m.pt", methanol.geometries(1, 7))
    with pytest.raises(ContractError, match="3 atoms"):
        export(methanol.potential(), contract(numbers=(6, 8, 1)), tmp_path / "m.pt", methanol.geometries(1, 7))
    assert not list(tmp_path.iterdir())


def test_wrong_forces_are_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = exporting.compile_graph

    def wrong(model: object, dtype: torch.dtype) -> object:
        graph = right(model, dtype)  # type: ignore[arg-type]

        def call(x: Tensor, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            energy, forces, charges = graph(x, phi)
            return energy, forces * 1.001, charges

        return call

    monkeypatch.setattr(exporting, "compile_graph", wrong)
    with pytest.raises(ExportError, match="deviate"):
        export(methanol.potential(), contract(), tmp_path / "m.pt", methanol.geometries(1, 7))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = methanol.potential()
    with torch.no_grad():
        model.readout.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match="deviate by nan"):
        export(model, contract(), tmp_path / "m.pt", methanol.geometries(1, 7))


def test_unsuitable_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="not a folder"):
        export(methanol.potential(), contract(), tmp_path / "none" / "m.pt", methanol.geometries(1, 7))
    with pytest.raises(ExportError, match="geometries"):
        export(methanol.potential(), contract(), tmp_path / "m.pt", np.zeros((1, 5, 3)))


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    export(methanol.potential(), contract(), tmp_path / "m.pt", methanol.geometries(1, 7))
    content = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ContractError, match="damaged"):
        read_contract(tmp_path / "m.pt")


def test_archive_names_no_path_of_this_machine(tmp_path: Path) -> None:
    """Neither the source tree nor the interpreter's folder, which TorchScript writes down for debugging."""
    module = torch.jit.script(torch.nn.Linear(2, 2))
    plain = io.BytesIO()
    torch.jit.save(module, plain, _extra_files={"contract.json": "{}"})
    stripped = without_source_positions(plain.getvalue())

    def content(archive: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            return b"".join(file.read(name) for name in file.namelist())

    folder = str(Path(torch.__file__).parent).encode()
    assert folder in content(plain.getvalue()) and folder not in content(stripped)
    files = {"contract.json": ""}
    again = torch.jit.load(io.BytesIO(stripped), _extra_files=files)
    assert files["contract.json"] == b"{}"
    x = torch.ones(3, 2)
    torch.testing.assert_close(again(x), module(x))
