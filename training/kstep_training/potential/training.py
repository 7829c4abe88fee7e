"""One training run, from a YAML file to a checkpoint, metrics and an evaluation."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from numpy.typing import NDArray
from rich.console import Console
from torch.utils.data import DataLoader

from kstep_models.configuration import ConfigError, load_config
from kstep_models.files import replaced_atomically, write_json
from kstep_models.locks import locked_folder
from kstep_models.potential.interface import MoleculeData, PotentialModel, create_model
from kstep_models.regression.labels import net_charge
from kstep_training.checkpoints import CheckpointError
from kstep_training.potential.checkpoint import NAME, describe, load_checkpoint, read_raw, refuse_other_size
from kstep_training.potential.config import PotentialTraining
from kstep_training.potential.data import EMBEDDED, GAS, Batch, BatchStream, FrameSet, load_frames
from kstep_training.potential.evaluation import Evaluation, evaluate
from kstep_training.potential.optimisation.budget import Budget
from kstep_training.potential.optimisation.losses import Scales, make_loss
from kstep_training.potential.optimisation.module import PotentialModule

_VALIDATION_BATCH = 50


@dataclass(frozen=True)
class TrainingResult:
    """Where a run left its results.

    Attributes:
        checkpoint: file with the trained model.
        metrics: JSON with the configuration and the history of the validation.
        history: the validation records.
        evaluation: errors on the test trajectories.
    """

    checkpoint: Path
    metrics: Path
    history: list[dict[str, float]]
    evaluation: Evaluation


def train(
    config_path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, resume: bool = False
) -> TrainingResult:
    """See :func:`kstep_training.train`."""
    config = load_config(config_path, PotentialTraining)
    folder = Path(output) if output is not None else config.output
    with locked_folder(folder):
        return _train(config, Path(config_path), folder, resume)


def _train(config: PotentialTraining, config_path: Path, folder: Path, resume: bool) -> TrainingResult:
    checkpoint = folder / NAME
    if checkpoint.exists() and not resume:
        raise CheckpointError(
            f"{checkpoint} exists already: continue that run with resume, or give another output folder"
        )
    console = Console(stderr=True)
    sources = [(file.path, file.use) for file in config.data.files]
    frames = load_frames(sources, config.data.validation_fraction, config.data.test_fraction, config.data.split_seed)
    training, validation = frames.members("train"), frames.members("validation")
    for use, members in (("training", training), ("validation", validation)):
        if len(members) == 0:
            raise ConfigError(f"{config_path}: data.files leave no frames for {use}")
    torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, verbose=False)

    if config.start_from is None:
        model = create_model(config.model, molecule_data(frames, training))
    else:
        model = _earlier_model(config, frames, training, config.start_from)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            f"{config_path}: model.name: {config.model.name} is fitted at once and has no weights to train: use "
            "`kstep fit-regression`, or choose another network"
        )
    batch = frames.batch(training, model.energy_mean)
    console.print(
        f"{len(training)} frames for training, {len(validation)} for validation, "
        f"{len(frames.members('test'))} held out; {sum(p.numel() for p in model.parameters())} parameters"
    )
    digest = _combined_digest(frames)
    description = describe(frames, model, config.written(), digest)
    if resume:
        _check_resumable(checkpoint, description)

    first = Batch(*(tensor[: min(config.data.batch_size, len(training))] for tensor in batch))
    if config.compile != "off":
        console.print("Compiling the training step (about a minute) ...")
    loss = make_loss(config.loss, Scales.measure(batch), config.compile, model.train(), first)
    budget = Budget(config.schedule.max_steps, config.schedule.max_time)
    budget.start()
    kinds, loaders = _validation_loaders(frames, validation, config.schedule.validation_frames, model.energy_mean)
    module = PotentialModule(model, loss, config.optimizer, budget, kinds, description)
    stretch = config.schedule.validate_every
    if config.schedule.max_steps is not None:
        stretch = min(stretch, config.schedule.max_steps)
    stream = BatchStream(batch, config.data.batch_size, stretch, config.seed, lambda: module.global_step)

    callbacks: list[Callback] = [_Keep(checkpoint, folder / "metrics.json", config, console)]
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar(refresh_rate=50))
    with _quiet():
        trainer = _trainer(config, folder, callbacks)
        trainer.fit(
            module,
            train_dataloaders=DataLoader(stream, batch_size=None),
            val_dataloaders=loaders,
            ckpt_path=str(checkpoint) if resume else None,
            weights_only=True,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    return TrainingResult(
        checkpoint=checkpoint,
        metrics=folder / "metrics.json",
        history=module.history,
        evaluation=evaluate(checkpoint, [path for path, _ in sources], folder),
    )


def molecule_data(frames: FrameSet, training: NDArray[np.int64]) -> MoleculeData:
    """What a network takes its scales from.

    Args:
        frames: of all uses.
        training: indices of those that are trained on.
    """
    region = frames.region
    # Energies and forces in water contain the coupling, which the network does not have to represent. It can be taken
    # out but for the polarisation, so that frames of the gas phase are better.
    gas = training[~frames.embedded[training]]
    reference = gas if len(gas) else training
    charges, potential = frames.charges[reference], frames.potential[reference]
    return MoleculeData(
        numbers=region.numbers,
        bonds=region.bonds,
        total_charge=net_charge(region),
        positions=frames.positions[reference],
        energies=frames.energy[reference] - (charges * potential).sum(1),
        forces=frames.forces[reference] + charges[..., None] * frames.potential_gradient[reference],
        charges=charges,
        geometries=frames.positions[training],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says about accelerators, its own services, and what is meant to be as it is."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning advises data-loading workers; the data are in memory.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*`IterableDataset` has `__len__` defined.*")
        # The averaged model is in eval mode for good.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
        yield


def _trainer(config: PotentialTraining, folder: Path, callbacks: list[Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=-1 if config.schedule.max_steps is None else config.schedule.max_steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        num_sanity_val_steps=0,
        # Forces are gradients, also in validation.
        inference_mode=False,
        default_root_dir=folder,
    )


def _earlier_model(
    config: PotentialTraining, frames: FrameSet, training: NDArray[np.int64], path: Path
) -> PotentialModel:
    earlier = load_checkpoint(path)
    model = earlier.model
    if model.numbers.tolist() != frames.region.numbers.tolist():
        raise CheckpointError(f"start_from: {path} is for another molecule than the frames")
    refuse_other_size(path, model, config.model)
    if earlier.level_of_theory != dict(frames.region.level_of_theory):
        # Levels count energies from different zeros, by more than all that there is to learn.
        index = training[:: max(1, len(training) // _VALIDATION_BATCH)]
        batch = frames.batch(index, 0.0)
        energies, _, _ = model(batch.positions, batch.potential)
        model.energy_mean = float(np.mean(frames.energy[index] - energies.detach().double().numpy()))
    return model.requires_grad_(True)


class _Keep(Callback):
    """Checkpoint and metrics after every validation, each replaced atomically."""

    def __init__(self, checkpoint: Path, metrics: Path, config: PotentialTraining, console: Console) -> None:
        self._checkpoint = checkpoint
        self._metrics = metrics
        self._config = config
        self._console = console

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        with replaced_atomically(self._checkpoint) as partial:
            trainer.save_checkpoint(partial)
        if not isinstance(pl_module, PotentialModule) or not pl_module.history:
            return
        history = pl_module.history
        write_json(self._metrics, {"configuration": self._config.written(), "history": history})
        record = history[-1]
        parts = [f"step {record['step']:.0f}", f"{record['seconds'] / 60:.1f} min"]
        for name, label in (("train", "train"), (GAS, "gas"), (EMBEDDED, "embedded")):
            key = f"{name}_force_rmse_meV_per_A"
            if key in record:
                parts.append(f"{label} {record[key]:.2f} meV/A")
        self._console.print("  ".join(parts), highlight=False)


def _validation_loaders(
    frames: FrameSet, members: NDArray[np.int64], most: int, energy_mean: float
) -> tuple[list[str], list[DataLoader[Batch]]]:
    kinds: list[str] = []
    loaders: list[DataLoader[Batch]] = []
    for kind, embedded in ((GAS, False), (EMBEDDED, True)):
        chosen = members[frames.embedded[members] == embedded]
        if len(chosen) == 0:
            continue
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(int))]
        batches = [
            frames.batch(chosen[start : start + _VALIDATION_BATCH], energy_mean)
            for start in range(0, len(chosen), _VALIDATION_BATCH)
        ]
        kinds.append(kind)
        loaders.append(DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return kinds, loaders


def _combined_digest(frames: FrameSet) -> str:
    joined = "".join(sorted(record.digest for record in frames.files))
    return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"


def _check_resumable(checkpoint: Path, description: dict[str, Any]) -> None:
    saved = read_raw(checkpoint)["kstep"]
    for what, (then, now) in {
        "the training data": (saved["digest"], description["digest"]),
        "the size of the network": (saved["configuration"]["model"], description["configuration"]["model"]),
    }.items():
        if then != now:
            raise CheckpointError(f"{checkpoint} cannot be continued: {what} changed since. Start a new output folder")
    splits = [[record["trajectories"] for record in part["files"]] for part in (saved, description)]
    if splits[0] != splits[1]:
        raise CheckpointError(
            f"{checkpoint} cannot be continued: other trajectories would be held out. Use the fractions and split_seed "
            "it was started with"
        )
