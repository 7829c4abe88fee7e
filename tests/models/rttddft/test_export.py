"""Archives of response models: checks before writing, and what comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kstep_models.archive import ExportError
from kstep_models.contract import ContractError
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import export, load
from kstep_models.provenance import MODEL_PACKAGES, software_versions
from kstep_models.rttddft.export import export_response, load_response
from kstep_models.rttddft.time_steps import TimeSteps
from tests.support.models import methanol
from tests.support.models.response_network import BASIS, PEROXIDE, WATER, ResponseNetwork, network, response_contract


def tensors(geometry: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(geometry[0]), torch.as_tensor(geometry[1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_archive_computes_what_the_network_does(tmp_path: Path, dtype: str) -> None:
    checks = export_response([network()], response_contract(dtype), tmp_path / "w.pt", [WATER, PEROXIDE])
    assert max(checks.eager, checks.rotation, checks.permutation, checks.symmetry) < 1e-12
    assert (checks.precision == 0) == (dtype == "float64")
    module, contract = load_response(tmp_path / "w.pt")
    assert contract == response_contract(dtype)
    for geometry in (WATER, PEROXIDE):
        numbers, positions = tensors(geometry)
        size = BASIS.size(geometry[0])
        response, density = module(numbers, positions)
        assert (response.dtype, density.dtype) == (torch.float64, torch.float64)
        assert list(response.shape) == [size, size] and list(density.shape) == [size]
        expected = network()(numbers, positions - positions.mean(0))
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        for value, reference in zip((response, density), expected, strict=True):
            assert float((value - reference).detach().abs().max()) < tolerance * float(reference.detach().abs().max())


def test_ensembles_tell_their_members(tmp_path: Path) -> None:
    networks = [network(seed) for seed in range(3)]
    export_response(networks, response_contract(), tmp_path / "w.pt", [WATER])
    module, _ = load_response(tmp_path / "w.pt")
    numbers, positions = tensors(WATER)
    members = module.members(numbers, positions)  # type: ignore[attr-defined]
    expected = torch.stack([each(numbers, positions)[0] for each in networks]).detach()
    torch.testing.assert_close(members, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(module(numbers, positions)[0], expected.mean(0), rtol=0, atol=1e-12)
    assert float((members[1] - members[0]).abs().max()) > 0.01 * float(members.abs().max())
    with pytest.raises(ExportError, match="at least one network"):
        export_response([], response_contract(), tmp_path / "none.pt", [WATER])


def test_time_steps_are_in_the_archive(tmp_path: Path) -> None:
    export_response([network()], response_contract(), tmp_path / "w.pt", [WATER])
    module, _ = load_response(tmp_path / "w.pt")
    steps = module.time_steps  # type: ignore[attr-defined]
    random = torch.Generator().manual_seed(3)

    def symmetric(size: int) -> Tensor:
        matrix = torch.randn(size, size, dtype=torch.float64, generator=random)
        return matrix + matrix.T

    fock = symmetric(4)
    orbitals = torch.linalg.eigh(fock)[1][:, :2].to(torch.complex128)
    ground = (
        fock,
        orbitals,
        torch.stack([symmetric(4) for _ in range(3)]),
        0.05 * symmetric(10),
        0.05 * symmetric(6),
        torch.tensor(-1.0, dtype=torch.float64),
        torch.zeros(3, dtype=torch.float64),
    )
    own = TimeSteps()
    for scheme in ("magnus2", "cfm4"):
        fields = torch.full((3, len(own.field_fractions(scheme)), 3), 0.05, dtype=torch.float64)
        results = []
        for code in (own, steps):
            system = code.prepare(*ground)
            first = code.start(system, orbitals)
            results.append(code.advance(system, scheme, first.orbitals, first.history, fields, 0.1, 1e-9, 30))
        assert float((results[0].dipoles[-1] - results[0].dipoles[0]).abs().max()) > 1e-4
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("atomic_numbers", [None, (8, 1, 1)])
def test_what_depends_on_the_orientation_is_refused(tmp_path: Path, atomic_numbers: tuple[int, ...] | None) -> None:
    export_response([network()], response_contract(atomic_numbers=atomic_numbers), tmp_path / "w.pt", [WATER])
    with pytest.raises(ExportError, match="from the response of the molecule turned"):
        export_response([network(twisted=True)], response_contract(), tmp_path / "t.pt", [WATER])
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


class Changed(nn.Module):
    """A network, and something wrong with what it returns."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.network = network()
        self.wrong = wrong

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        response, density = self.network(numbers, positions)
        if self.wrong == "order":
            response = response * (1.0 + 0.01 * float(numbers[0]))
        elif self.wrong == "asymmetric":
            response = response * (1.0 + 0.01 * density.sum() * torch.ones_like(response).tril())
        elif self.wrong == "nan":
            response = response * float("nan")
        elif self.wrong == "shape":
            density = density[1:]
        elif self.wrong == "eager" and not torch.jit.is_scripting():
            density = density * 1.001
        return response, density


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("order", "atoms in another order"),
        ("asymmetric", "deviates"),
        ("nan", "deviates by nan"),
        ("shape", r"shapes \[\[18, 18\], \[17\]\].*asks for \[18,18\]"),
        ("eager", "from the network run eagerly"),
    ],
)
def test_wrong_networks_are_refused_and_nothing_is_written(tmp_path: Path, wrong: str, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        export_response([Changed(wrong)], response_contract(), tmp_path / "w.pt", [WATER])
    assert not list(tmp_path.iterdir())


def test_unsuitable_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="not a folder"):
        export_response([network()], response_contract(), tmp_path / "none" / "w.pt", [WATER])
    with pytest.raises(ExportError, match="at least one geometry"):
        export_response([network()], response_contract(), tmp_path / "w.pt", [])
    with pytest.raises(ExportError, match="positions"):
        export_response([network()], response_contract(), tmp_path / "w.pt", [(WATER[0], WATER[1][:2])])
    with pytest.raises(ContractError, match=r"also has \[6\]"):
        export_response([network()], response_contract(), tmp_path / "w.pt", [(np.array([6, 1, 1]), WATER[1])])
    assert not list(tmp_path.iterdir())


def test_networks_that_cannot_be_scripted_are_refused(tmp_path: Path) -> None:
    class Unscriptable(ResponseNetwork):
        def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
            values = np.asarray(positions)
            return torch.as_tensor(values @ values.T), torch.as_tensor(values[:, 0])

    with pytest.raises(ExportError, match="cannot be scripted"):
        export_response([Unscriptable(BASIS)], response_contract(), tmp_path / "w.pt", [WATER])


def test_kinds_are_not_mixed_up(tmp_path: Path) -> None:
    export_response([network()], response_contract(), tmp_path / "response.pt", [WATER])
    numbers = tuple(methanol.NUMBERS)
    document = PotentialContract(
        elements=tuple(sorted(set(numbers))),
        atomic_numbers=numbers,
        cutoff=0.6,
        dtype="float64",
        charge=0,
        multiplicity=1,
        level_of_theory={"method": "analytic"},
        training_data={"digest": "sha256:0"},
        versions=software_versions(MODEL_PACKAGES),
    )
    export(methanol.potential(), document, tmp_path / "potential.pt", methanol.geometries(1, 7))
    with pytest.raises(ContractError, match="kind 'fxc', needed is one of kind 'potential'"):
        load(tmp_path / "response.pt")
    with pytest.raises(ContractError, match="kind 'potential', needed is one of kind 'fxc'"):
        load_response(tmp_path / "potential.pt")


def test_importing_needs_no_e3nn() -> None:
    code = (
        "import sys; sys.modules['e3nn'] = None\n"
        "import kstep_models.rttddft.export as module\n"
        "import torch\n"
        "try:\n    module.script_response([torch.nn.Linear(1, 1)], torch.float64)\n"
        "except module.ExportError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs e3nn" in result.stdout and "openmm-kstep[training]" in result.stdout
