"""From a configuration to an ensemble of response networks with measured errors."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from kstep_models.configuration import load_config
from kstep_models.files import write_json
from kstep_models.locks import locked_folder
from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseFile, ResponseFileError
from kstep_training.checkpoints import CheckpointError
from kstep_training.rttddft.checkpoint import NAME, ResponseCheckpoint, load, new_network, save
from kstep_training.rttddft.config import ResponseTraining
from kstep_training.rttddft.data import ResponseDataset, load_responses
from kstep_training.rttddft.evaluation import ResponseEvaluation, molecule_errors, predicted, response_error
from kstep_training.rttddft.last_layer_ridge import LastLayer
from kstep_training.rttddft.refinement import refine
from kstep_training.rttddft.targets import effective_kernels


@dataclass(frozen=True)
class ResponseResult:
    """What a training run wrote.

    Attributes:
        checkpoint: with all members.
        evaluation: errors on held-out geometries and on molecules left out.
        regularisation: that was chosen for each member.
    """

    checkpoint: Path
    evaluation: ResponseEvaluation
    regularisation: tuple[float, ...]


def train(
    config_path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, resume: bool = False
) -> ResponseResult:
    """See :func:`kstep_training.train`; the networks that an interrupted run had finished are kept."""
    config = load_config(config_path, ResponseTraining)
    folder = Path(output) if output is not None else config.output
    with locked_folder(folder):
        return _train(config, folder, resume)


def _train(config: ResponseTraining, folder: Path, resume: bool) -> ResponseResult:
    checkpoint = folder / NAME
    if checkpoint.exists() and not resume:
        raise CheckpointError(f"{checkpoint} is in the way: give another output folder, or go on with it by --resume")
    dataset = load_responses(config.data)
    console = Console()
    state = _begun(checkpoint, config, dataset) if checkpoint.exists() else _nothing(config, dataset)
    begin = time.monotonic() - state.seconds
    console.print(
        "learning from "
        + ", ".join(f"{len(part)} {part.name}" for part in dataset.training)
        + (f"; leaving out {', '.join(part.name for part in dataset.left_out)}" if dataset.left_out else "")
    )
    targets = [effective_kernels(part.records, config.damping) for part in dataset.training]
    for index in range(len(state.members), config.members):
        member, regularisation, error = _member(config, dataset, targets, config.seed + index, console)
        seconds = time.monotonic() - begin
        state = replace(
            state,
            members=(*state.members, member),
            regularisation=(*state.regularisation, regularisation),
            evaluation={},
            seconds=seconds,
        )
        save(checkpoint, state)
        console.print(
            f"network {index + 1} of {config.members}: error of the response on held-out geometries "
            f"{100 * error:.2f} % with regularisation {regularisation:g}, {seconds:.0f} s"
        )
    evaluation = ResponseEvaluation(
        "validation",
        {part.name: molecule_errors(state.members, part) for part in (*dataset.validation, *dataset.left_out)},
        tuple(part.name for part in dataset.left_out),
    )
    save(checkpoint, replace(state, evaluation=evaluation.to_dict(), seconds=time.monotonic() - begin))
    _write(evaluation, folder)
    return ResponseResult(checkpoint, evaluation, state.regularisation)


def evaluate(
    checkpoint: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    subset: str = "all",
) -> ResponseEvaluation:
    """Errors of a checkpoint on all geometries of files of responses.

    Args:
        checkpoint: of :func:`train`.
        files: of responses.
        output: folder for ``evaluation.json``.
        subset: has no meaning here: which geometries were learned from is not known of other files.

    Raises:
        CheckpointError: not a checkpoint of response networks.
        ResponseFileError: a file is missing, damaged, or for another auxiliary basis.
    """
    trained = load(checkpoint)
    errors = {}
    for path in files:
        file = ResponseFile(path)
        if file.basis != trained.members[0].basis:
            raise ResponseFileError(f"{path} has another auxiliary basis than the networks: generate it with theirs")
        errors.update({molecule.name: molecule_errors(trained.members, molecule) for molecule in file})
    left_out = tuple(name for name in errors if name not in trained.geometries)
    evaluation = ResponseEvaluation("all", errors, left_out)
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        _write(evaluation, Path(output))
    return evaluation


def _nothing(config: ResponseTraining, dataset: ResponseDataset) -> ResponseCheckpoint:
    """What a run has before its first network."""
    return ResponseCheckpoint(
        members=(),
        configuration=config.written(),
        level_of_theory=dataset.level_of_theory,
        digest=dataset.digest,
        geometries={part.name: len(part) for part in dataset.training},
        regularisation=(),
        evaluation={},
        seconds=0.0,
    )


def _begun(checkpoint: Path, config: ResponseTraining, dataset: ResponseDataset) -> ResponseCheckpoint:
    """What an interrupted run had finished; it may be given more members than it was begun with.

    Raises:
        CheckpointError: it was begun with other data or settings.
    """
    state = load(checkpoint)
    ours, theirs = ({**each, "members": 0, "output": ""} for each in (config.written(), state.configuration))
    differing = sorted(key for key in ours if ours[key] != theirs.get(key))
    if state.digest != dataset.digest:
        differing.append("training data")
    if differing or len(state.members) > config.members:
        what = ", ".join(differing) or "more members"
        raise CheckpointError(f"{checkpoint} was begun with other {what}: use the same, or give another output folder")
    return replace(state, configuration=config.written())


def _write(evaluation: ResponseEvaluation, folder: Path) -> None:
    write_json(folder / "evaluation.json", evaluation.to_dict())


def _member(
    config: ResponseTraining,
    dataset: ResponseDataset,
    targets: list[NDArray[np.float64]],
    seed: int,
    console: Console,
) -> tuple[ResponseNetwork, float, float]:
    network = new_network(dataset.basis, config.model, seed)
    best, error = _solved(network, dataset, targets, config.regularisation)
    if config.refinement.steps:

        def log(step: int, loss: float) -> None:
            if (step + 1) % 50 == 0:
                console.print(f"  refinement {step + 1}/{config.refinement.steps}: {100 * loss:.2f} %")

        refine(network, dataset.training, config.refinement, seed, log)
        best, error = _solved(network, dataset, targets, config.regularisation)
    return network, best, error


def _solved(
    network: ResponseNetwork, dataset: ResponseDataset, targets: list[NDArray[np.float64]], candidates: list[float]
) -> tuple[float, float]:
    """Set the last layer with the best of several regularisations; returns it and its error."""
    layer = LastLayer(network, dataset.training, targets)
    errors = {}
    for candidate in candidates:
        layer.solve(candidate)
        errors[candidate] = float(
            np.mean([response_error(predicted(network, part)[0], part.records) for part in dataset.validation])
        )
    best = min(errors, key=lambda candidate: errors[candidate] if np.isfinite(errors[candidate]) else np.inf)
    layer.solve(best)
    return best, errors[best]
