"""Training runs of response networks: what they know comes back from files, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kstep_training
from kstep_models.configuration import ConfigError
from kstep_models.contract import read_contract
from kstep_models.locks import InUseError, locked
from kstep_models.rttddft.export import load_response
from kstep_models.rttddft.network import ResponseNetwork, ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseFile, ResponseFileError
from kstep_training.checkpoints import CheckpointError, read_checkpoint
from kstep_training.methods import RESPONSE, method_of_checkpoint
from kstep_training.rttddft.checkpoint import ResponseCheckpoint, load, new_network, save
from kstep_training.rttddft.evaluation import response_error
from tests.support.models import teacher

NAMES = ("H2", "H2O", "H2O2")


def test_training_run(trained: Any, files: Path) -> None:
    evaluation = trained.evaluation
    assert set(evaluation.molecules) == set(NAMES) and evaluation.left_out == ("H2O2",)
    assert {name: errors.geometries for name, errors in evaluation.molecules.items()} == {"H2": 2, "H2O": 3, "H2O2": 3}
    water = ResponseFile(files / "responses.h5").read("H2O").records
    mean = response_error(np.broadcast_to(water.kernel[:9].mean(0), water.kernel[9:].shape), _part(water, slice(9, 12)))
    assert evaluation.molecules["H2O"].response < 0.5 * mean
    assert 0.0 < evaluation.molecules["H2O"].spread < 2.0 * mean
    stored = json.loads((trained.checkpoint.parent / "evaluation.json").read_text())
    assert stored["molecules"]["H2O"]["response"] == evaluation.molecules["H2O"].response
    checkpoint = read_checkpoint(trained.checkpoint)
    assert method_of_checkpoint(trained.checkpoint) is RESPONSE
    assert (len(checkpoint["members"]), checkpoint["geometries"]) == (2, {"H2": 6, "H2O": 9})
    assert checkpoint["level_of_theory"] == teacher.LEVEL
    # What was measured is what the checkpoint gives, of the molecule that was left out as of others.
    again = kstep_training.evaluate(trained.checkpoint, [files / "responses.h5"], files / "again")
    assert again.left_out == ("H2O2",)
    assert again.molecules["H2O2"] == evaluation.molecules["H2O2"]
    assert again.molecules["H2O"].geometries == 12
    assert (files / "again" / "evaluation.json").is_file()


def _part(record: Any, part: slice) -> Any:
    return type(record)(**{entry.name: getattr(record, entry.name)[part] for entry in dataclasses.fields(record)})


def test_what_is_left_out_is_never_learned_from(trained: Any, configured: Callable[..., Path], files: Path) -> None:
    """Other labels of it, and no other weight changes in any bit."""
    sets = {each.name: each for each in ResponseFile(files / "responses.h5")}
    wrong = dataclasses.replace(sets["H2O2"].records, kernel=7.0 * sets["H2O2"].records.kernel)
    wrong = dataclasses.replace(wrong, response=7.0 * wrong.response, density=7.0 * wrong.density)
    sets["H2O2"] = dataclasses.replace(sets["H2O2"], records=wrong)
    teacher.write(files / "wrong.h5", list(sets.values()))
    data = {"files": ["wrong.h5"], "leave_out": ["H2O2"], "validation_fraction": 0.25}
    result = kstep_training.train(configured("other", data=data))
    one, other = read_checkpoint(trained.checkpoint), read_checkpoint(result.checkpoint)
    assert one["digest"] == other["digest"]
    pairs = zip(one["members"][0].items(), other["members"][0].items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    assert result.evaluation.molecules["H2O2"].response != trained.evaluation.molecules["H2O2"].response


def same_weights(one: ResponseNetwork, other: ResponseNetwork) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def checkpoint_of(network: ResponseNetwork) -> ResponseCheckpoint:
    return ResponseCheckpoint((network,), {"method": "response"}, teacher.LEVEL, "d", {"H2": 1}, (1e-8,), {}, 1.0)


def test_an_interrupted_run_keeps_its_networks(trained: Any, single: Path, configured: Callable[..., Path]) -> None:
    """Stopped after the first of two networks: the second is trained, the first is not, and both are as in one go."""
    path = configured("interrupted", members=2)
    folder = path.parent / "interrupted"
    folder.mkdir()
    content = {**read_checkpoint(single), "evaluation": {}}
    # Of a weight that training would not give, by which it is known again.
    content["members"][0]["embedding.weight"] = content["members"][0]["embedding.weight"] + 1.0
    torch.save({**content, "regularisation": content["regularisation"][:1]}, folder / "last.ckpt")
    with pytest.raises(CheckpointError, match="was interrupted"):
        kstep_training.export(folder / "last.ckpt", folder / "m.pt")
    with pytest.raises(CheckpointError, match="is in the way"):
        kstep_training.train(path)
    with pytest.raises(CheckpointError, match="begun with other damping"):
        kstep_training.train(configured("other_damping", members=2, damping=0.02), folder, resume=True)
    result = kstep_training.train(path, resume=True)
    one, other = read_checkpoint(trained.checkpoint), read_checkpoint(result.checkpoint)
    assert torch.equal(other["members"][0]["embedding.weight"], content["members"][0]["embedding.weight"])
    assert all(torch.equal(value, other["members"][1][name]) for name, value in one["members"][1].items())
    assert other["evaluation"] and len(result.regularisation) == 2


@torch.no_grad()
def test_checkpoints_come_back_bit_by_bit(student: ResponseNetwork, tmp_path: Path) -> None:
    network = teacher.prepare(copy.deepcopy(student), 2)
    save(tmp_path / "last.ckpt", checkpoint_of(network))
    loaded = load(tmp_path / "last.ckpt")
    assert same_weights(loaded.members[0], network)
    assert dataclasses.replace(loaded, members=()) == dataclasses.replace(checkpoint_of(network), members=())
    numbers, positions = (torch.as_tensor(part) for part in teacher.MOLECULES["H2O"])
    for value, expected in zip(loaded.members[0](numbers, positions), network(numbers, positions), strict=True):
        assert torch.equal(value, expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_seeds_make_networks(student: ResponseNetwork, small_size: ResponseNetworkConfig) -> None:
    """The same seed the same network, whatever was drawn before, and in double precision."""
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert same_weights(new_network(teacher.BASIS, small_size, 5), student)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_default_dtype() == torch.float32
    assert all(value.dtype == torch.float64 for value in student.state_dict().values() if value.is_floating_point())


def test_checkpoints_that_do_not_fit_are_refused(student: ResponseNetwork, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save(path, checkpoint_of(student))
    content = torch.load(path, weights_only=True)
    for change, reason in (
        ({"version": 99}, "version 99"),
        ({"format": "other"}, "is a checkpoint of format other"),
        ({"members": [{}]}, "weights are not those"),
    ):
        torch.save({**content, **change}, path)
        with pytest.raises(CheckpointError, match=reason):
            load(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "none.ckpt")


def test_archive_and_card(single: Path, trained: Any, tmp_path: Path) -> None:
    """In double precision: the archive computes what the network in the checkpoint does."""
    exported = kstep_training.export(single, tmp_path / "m.pt", "float64")
    assert exported.checks.rotation < 1e-10 and exported.checks.precision == 0.0
    contract = read_contract(tmp_path / "m.pt")
    assert (contract.kind, contract.elements, contract.basis()) == ("fxc", (1, 8), teacher.BASIS)
    assert contract.level_of_theory == teacher.LEVEL
    assert contract.training_data["geometries"] == {"H2": 6, "H2O": 9}
    response = trained.evaluation.molecules["H2O"].response
    assert contract.validation["molecules"]["H2O"]["response"] == pytest.approx(response)
    module, _ = load_response(tmp_path / "m.pt")
    numbers, positions = (torch.as_tensor(part) for part in teacher.MOLECULES["H2O"])
    with torch.jit.optimized_execution(False), torch.no_grad():
        value = module(numbers, positions)[0]
        expected = load(single).members[0](numbers, positions)[0]
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-11)
    card = (tmp_path / "m.md").read_text()
    assert "pbe0/6-31g" in card and "H2O2 (not learned from)" in card and "9 geometries of H2O" in card
    assert json.loads((tmp_path / "m.json").read_text())["contract"]["kind"] == "fxc"


def test_two_runs_do_not_write_one_folder(configured: Callable[..., Path]) -> None:
    path = configured("held")
    (path.parent / "held").mkdir()
    with pytest.raises(InUseError, match="held is being written by process"), locked(path.parent / "held"):
        kstep_training.train(path, resume=True)


def test_runs_in_the_way(trained: Any, configured: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt is in the way"):
        kstep_training.train(configured("run", members=2))


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"member": 2}, "unknown key 'member', did you mean members?"),
        ({"data": {"files": ["responses.h5"], "leave_ou": []}}, "did you mean data.leave_out?"),
        ({"data": {"files": []}}, "data.files"),
        ({"data": None}, "data is missing"),
        ({"output": None}, "output is missing"),
        ({"members": 0}, "members"),
        ({"model": {"channels": [8, 0]}}, "between one and five positive numbers"),
        ({"damping": 0.0}, "damping"),
        ({"method": "respons"}, "method"),
    ],
)
def test_wrong_configurations(configured: Callable[..., Path], sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason.replace("?", r"\?")):
        kstep_training.train(configured("wrong", **sections))


def test_wrong_data(configured: Callable[..., Path], files: Path, teaching: ResponseNetwork) -> None:
    teacher.write(files / "few.h5", [teacher.responses(teaching, "H2", 1, 0)])
    clash = dataclasses.replace(teacher.responses(teaching, "H2O", 2, 0), name="H2")
    teacher.write(files / "clash.h5", [clash])
    other = dataclasses.replace(teacher.BASIS, name="another")
    teacher.write(files / "basis.h5", [teacher.responses(teaching, "H2", 2, 0)], other)
    for data, reason in (
        ({"files": ["none.h5"]}, "does not exist"),
        ({"files": ["responses.h5"], "leave_out": ["CH4"]}, "leave_out names CH4, the files have H2, H2O, H2O2"),
        ({"files": ["responses.h5"], "leave_out": list(NAMES)}, "every molecule is left out"),
        ({"files": ["few.h5"]}, "H2 has 1 geometries, too few"),
        ({"files": ["responses.h5", "basis.h5"]}, "basis.h5 has another auxiliary basis"),
        ({"files": ["responses.h5", "clash.h5"]}, "two files call different molecules H2"),
    ):
        with pytest.raises(ResponseFileError, match=reason):
            kstep_training.train(configured("wrong", data=data))
    assert not (files / "wrong").exists()


def test_evaluation_with_another_basis(single: Path, teaching: ResponseNetwork, tmp_path: Path) -> None:
    other = dataclasses.replace(teacher.BASIS, name="another")
    teacher.write(tmp_path / "other.h5", [teacher.responses(teaching, "H2", 2, 0)], other)
    with pytest.raises(ResponseFileError, match="another auxiliary basis than the networks"):
        kstep_training.evaluate(single, [tmp_path / "other.h5"])
