"""Response networks learn what a teacher of the same kind says, and what they know comes back from files."""

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
import yaml
from torch import Tensor

import kstep_training
from kstep_models.configuration import ConfigError
from kstep_models.contract import read_contract
from kstep_models.locks import InUseError, locked
from kstep_models.rttddft.export import load_response
from kstep_models.rttddft.linear_response import agreement, modes
from kstep_models.rttddft.network import ResponseNetwork, ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseFile, ResponseFileError, ResponseSet
from kstep_training.checkpoints import CheckpointError, read_checkpoint
from kstep_training.methods import RESPONSE, method_of_checkpoint
from kstep_training.rttddft.checkpoint import ResponseCheckpoint, load, new_network, save
from kstep_training.rttddft.config import RefinementSection
from kstep_training.rttddft.evaluation import molecule_errors, predicted, response_error
from kstep_training.rttddft.last_layer_ridge import LastLayer
from kstep_training.rttddft.refinement import refine
from kstep_training.rttddft.targets import effective_kernels
from tests.support.models import teacher

NAMES = ("H2", "H2O", "H2O2")


@pytest.fixture(scope="session")
def teaching(small_size: ResponseNetworkConfig) -> ResponseNetwork:
    return teacher.prepare(new_network(teacher.BASIS, small_size, 11), 1).requires_grad_(False)


@pytest.fixture(scope="session")
def student(small_size: ResponseNetworkConfig) -> ResponseNetwork:
    """With other weights than the teacher."""
    return new_network(teacher.BASIS, small_size, 5)


@pytest.fixture(scope="session")
def files(teaching: ResponseNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``responses.h5``: twelve geometries of water, eight of hydrogen, three of peroxide."""
    folder = tmp_path_factory.mktemp("responses")
    counts = {"H2": 8, "H2O": 12, "H2O2": 3}
    sets = [teacher.responses(teaching, name, count, seed) for seed, (name, count) in enumerate(counts.items())]
    teacher.write(folder / "responses.h5", sets)
    return folder


@pytest.fixture(scope="session")
def configured(files: Path, small_size: ResponseNetworkConfig) -> Callable[..., Path]:
    """Writes a configuration; keyword arguments replace whole sections."""

    def write(name: str, **sections: Any) -> Path:
        content: dict[str, Any] = {
            "method": "response",
            "data": {"files": ["responses.h5"], "leave_out": ["H2O2"], "validation_fraction": 0.25},
            "model": small_size.written(),
            "members": 1,
            "seed": 3,
            "output": name,
        }
        content.update(sections)
        path = files / f"{name}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return path

    return write


@pytest.fixture(scope="session")
def trained(configured: Callable[..., Path]) -> Any:
    """Two networks, without peroxide."""
    return kstep_training.train(configured("run", members=2))


@pytest.fixture(scope="session")
def single(trained: Any) -> Path:
    """Checkpoint of the first of both networks."""
    content = read_checkpoint(trained.checkpoint)
    path = trained.checkpoint.with_name("single.ckpt")
    torch.save({**content, "members": content["members"][:1]}, path)
    return path


def unsymmetrised(network: ResponseNetwork, molecule: ResponseSet) -> Tensor:
    """Blocks as the readouts give them [T,M,M], before the mean with the transpose."""
    numbers = torch.as_tensor(molecule.numbers)
    sites, pairs = network.features(numbers, torch.as_tensor(molecule.records.positions))
    elements = network.element_index[numbers].tolist()
    first, second = (part.tolist() for part in network.ordered_pairs(len(numbers)))
    rows = []
    for one in range(len(numbers)):
        row = []
        for other in range(len(numbers)):
            if one == other:
                readout, features = network.site_blocks[elements[one]], sites[:, one]
            else:
                pair = next(i for i, both in enumerate(zip(first, second, strict=True)) if both == (one, other))
                readout = network.pair_blocks[elements[one] * len(network.elements) + elements[other]]
                features = pairs[:, pair]
            row.append(readout(features.unsqueeze(1))[:, 0])
        rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


@torch.no_grad()
def test_last_layer_of_the_teachers_encoder_is_found_again(teaching: ResponseNetwork) -> None:
    """A student with the teacher's encoder gives its responses and densities, also of geometries that it has not
    seen. The labels are what the teacher's readouts gave."""
    own = copy.deepcopy(teaching)
    for part in (own.site_blocks, own.pair_blocks, own.densities):
        for parameter in part.parameters():
            parameter.zero_()
    sets = [teacher.responses(teaching, name, 40, 20, displacement=0.3) for name in NAMES]
    held = [teacher.responses(teaching, name, 5, 30, displacement=0.15) for name in NAMES]
    assert response_error(predicted(own, held[1])[0], held[1].records) > 0.1
    LastLayer(own, sets, [unsymmetrised(teaching, each).numpy() for each in sets]).solve(1e-14)
    for each in held:
        kernels, densities = predicted(own, each)
        assert response_error(kernels, each.records) < 1e-6
        assert np.linalg.norm(densities - each.records.density) < 1e-6 * np.linalg.norm(each.records.density)


def test_the_ridge_beats_the_mean(teaching: ResponseNetwork, student: ResponseNetwork) -> None:
    """With an encoder that knows nothing of the teacher's, on held-out geometries: better than the mean response by
    far, and better with more geometries."""
    held = teacher.responses(teaching, "H2", 8, 8)
    errors = []
    for count in (4, 40):
        learned = teacher.responses(teaching, "H2", count, 9)
        labels = effective_kernels(learned.records, 0.01)
        mean = response_error(np.broadcast_to(labels.mean(0), held.records.kernel.shape), held.records)
        own = copy.deepcopy(student)
        LastLayer(own, [learned], [labels]).solve(1e-8)
        errors.append(response_error(predicted(own, held)[0], held.records) / mean)
    assert errors[1] < 0.1 and errors[1] < errors[0]


def test_what_symmetry_forbids_is_not_learned_from_round_off(
    teaching: ResponseNetwork, student: ResponseNetwork
) -> None:
    """In a linear molecule most features and blocks are zero but for round-off. Regressions among them had weights of
    1e20, and nonsense for any other molecule."""
    hydrogen = teacher.responses(teaching, "H2", 20, 9)
    own = copy.deepcopy(student)
    LastLayer(own, [hydrogen], [effective_kernels(hydrogen.records, 0.01)]).solve(1e-8)
    weights = [part.detach() for readouts in (own.site_blocks, own.pair_blocks) for part in readouts.parameters()]
    assert max(float(part.abs().max()) for part in weights) < 1e6
    peroxide = teacher.responses(teaching, "H2O2", 2, 1)
    assert np.abs(predicted(own, peroxide)[0]).max() < 1e3 * np.abs(hydrogen.records.kernel).max()


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


def test_errors_are_those_of_dipole_traces(teaching: ResponseNetwork) -> None:
    """Of an ensemble of two: its mean and its spread, in the terms of the module of linear response."""

    class Changed(torch.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def batched(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
            response, density = teaching.batched(numbers, positions)
            return self.factor * response, self.factor * density

    water = teacher.responses(teaching, "H2O", 2, 6)
    errors = molecule_errors([Changed(1.0), Changed(1.2)], water)  # type: ignore[list-item]
    assert errors.response == pytest.approx(0.1, rel=1e-9) and errors.spread == pytest.approx(0.1 / 1.1, rel=1e-9)
    assert errors.density == pytest.approx(0.1, rel=1e-9)
    records, single = water.records, []
    for index in range(2):
        known = (records.sum[index], records.difference[index], records.dipole[index])
        true, other = (modes(*known, factor * records.response[index]) for factor in (1.0, 1.1))
        single.append(agreement(true, other))
    assert errors.dipole == pytest.approx(np.mean([each.dipole for each in single]), rel=1e-6)
    assert errors.largest_dipole == pytest.approx(max(each.dipole for each in single), rel=1e-6)
    unstable = molecule_errors([Changed(-1e4), Changed(-1e4)], water)  # type: ignore[list-item]
    assert unstable.largest_dipole == np.inf and unstable.smallest_overlap == 0.0


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


def test_refinement_decreases_the_loss(teaching: ResponseNetwork, student: ResponseNetwork) -> None:
    water = teacher.responses(teaching, "H2O", 8, 12)
    network = copy.deepcopy(student)
    LastLayer(network, [water], [effective_kernels(water.records, 0.01)]).solve(1e-2)
    before = response_error(predicted(network, water)[0], water.records)
    encoder = network.embedding.weight.detach().clone()
    losses: list[float] = []
    section = RefinementSection(steps=30, learning_rate=3e-3, batch_size=8)
    refine(network, [water], section, 1, lambda _, loss: losses.append(loss))
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert response_error(predicted(network, water)[0], water.records) < 0.8 * before
    assert not torch.equal(network.embedding.weight, encoder) and not network.training


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
