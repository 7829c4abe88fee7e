"""Which method a file belongs to, and what importing the packages does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import kstep_training
from kstep_models.configuration import ConfigError
from kstep_models.contract import ContractError
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import export
from kstep_models.provenance import software_versions
from kstep_training.checkpoints import CheckpointError
from kstep_training.methods import METHODS, POTENTIAL, Method, method_of_configuration, method_of_model
from tests.support.models import methanol


@pytest.mark.parametrize(
    "package", ["kstep_models", "kstep_training", "kstep_training.methods", "kstep_models.contract"]
)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        "print(sorted({'torch', 'openmm', 'openmmkstep', 'h5py', 'lightning', 'e3nn', 'scipy', 'matplotlib'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_has_its_functions(method: Method) -> None:
    functions = method.load()
    assert all(callable(getattr(functions, name)) for name in ("train", "evaluate", "export"))


def test_configurations_name_their_method(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    for method in METHODS:
        path.write_text(yaml.safe_dump({"method": method.name}))
        assert method_of_configuration(path) is method
    path.write_text("data: {}")
    with pytest.raises(ConfigError, match="method is missing: give one of potential, response"):
        kstep_training.train(path)
    path.write_text("method: [potential]")
    with pytest.raises(ConfigError, match=r"there is no method \['potential'\], known are potential, response"):
        kstep_training.train(path)


def test_checkpoints_and_archives_name_their_method(tmp_path: Path) -> None:
    for method in METHODS:
        torch.save({"format": method.checkpoint_format}, tmp_path / "last.ckpt")
        assert method_of_model(tmp_path / "last.ckpt") is method
    contract = PotentialContract(
        elements=(1, 6, 8),
        atomic_numbers=tuple(methanol.NUMBERS),
        cutoff=0.6,
        dtype="float64",
        charge=0,
        multiplicity=1,
        level_of_theory={"method": "analytic"},
        training_data={"digest": "sha256:0"},
        versions=software_versions(["torch"]),
    )
    export(methanol.potential(methanol.SMALL), contract, tmp_path / "m.pt", methanol.geometries(1, 7))
    assert method_of_model(tmp_path / "m.pt") is POTENTIAL
    torch.jit.save(torch.jit.script(torch.nn.Identity()), tmp_path / "foreign.pt")
    with pytest.raises(ContractError, match="was not exported by kstep"):
        method_of_model(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"is an exported archive: give the last\.ckpt"):
        kstep_training.export(tmp_path / "m.pt", tmp_path / "n.pt")


def test_files_of_no_method_are_refused(tmp_path: Path) -> None:
    torch.save({"format": "other"}, tmp_path / "other.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    for name in ("other.ckpt", "list.ckpt"):
        with pytest.raises(CheckpointError, match="is not a checkpoint of kstep_training"):
            kstep_training.evaluate(tmp_path / name, [])
    with pytest.raises(CheckpointError, match="does not exist"):
        kstep_training.evaluate(tmp_path / "none.ckpt", [])
    with pytest.raises(ValueError, match="subset must be one of test, validation, train, all, got 'best'"):
        kstep_training.evaluate(tmp_path / "other.ckpt", [], subset="best")
