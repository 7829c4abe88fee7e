"""Every option of training a potential, documented field by field. Paths are relative to the YAML file's folder.

A minimal file::

    method: potential
    data:
      files: [frames_gas.h5, frames_water.h5]
    output: runs/my_molecule
    schedule:
      max_time: 30 min
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kstep_models.configuration import Section
from kstep_models.potential.interface import NetworkConfig
from kstep_models.quantities import positive, quantity_reader

WallTime = Annotated[
    float, BeforeValidator(quantity_reader({"s": 1.0, "min": 60.0, "h": 3600.0}, "s")), AfterValidator(positive)
]
"""Seconds, from "90 s", "30 min", "2 h" or a number of seconds."""


def _file(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class DataFile(Section):
    """A frames file; a plain path in the YAML means ``use: auto``."""

    path: Path = Field(description="HDF5 file of frames")
    use: Literal["auto", "train", "validation", "test"] = Field(
        default="auto", description="auto divides the file by trajectories; otherwise all of it has this use"
    )


class DataSection(Section):
    """What is learned from."""

    files: list[Annotated[DataFile, BeforeValidator(_file)]] = Field(
        min_length=1, description="frames files of one molecule and one level of theory, gas phase and embedded"
    )
    validation_fraction: float = Field(
        default=0.1, gt=0, lt=0.5, description="fraction of trajectories for monitoring, at least one per file"
    )
    test_fraction: float = Field(
        default=0.1, gt=0, lt=0.5, description="fraction of trajectories never looked at before the final evaluation"
    )
    split_seed: int = Field(default=0, description="which trajectories are held out")
    batch_size: int = Field(default=8, ge=1, description="frames per step; small batches learn fastest per CPU second")


class LossSection(Section):
    """Weights of the mean squared errors, each in units of its natural scale."""

    forces: float = Field(default=1.0, ge=0, description="forces, over the variance of the training forces")
    energy: float = Field(default=0.02, ge=0, description="energy, over the variance of the training energies")
    charges: float = Field(
        default=0.02, ge=0, description="charges dU/dphi against the QM atomic charges, over (0.01 e)^2"
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> LossSection:
        if self.forces == 0 and self.energy == 0:
            raise ValueError("forces and energy cannot both have weight 0")
        return self


class OptimizerSection(Section):
    """Adam with gradient clipping and averaged weights."""

    learning_rate: float = Field(default=4e-3, gt=0, description="highest rate, reached after the warm-up")
    final_fraction: float = Field(default=1e-3, ge=0, lt=1, description="rate at the end, as a fraction of the highest")
    warmup_steps: int = Field(default=300, ge=0, description="steps of linear increase at the start")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay (AdamW)")
    clip_norm: float = Field(default=0.5, gt=0, description="largest norm of the gradient")
    skip_factor: float = Field(
        default=10.0, gt=1, description="a step is left out if the norm of its gradient exceeds this many usual ones"
    )
    average: float = Field(
        default=0.999, ge=0, lt=1, description="decay per step of the averaged weights, which are what is exported"
    )


class ScheduleSection(Section):
    """How long; the rate follows a half cosine over whichever budget is used up first."""

    max_time: WallTime | None = Field(
        default=None, description='wall time, "90 s", "30 min" or "2 h"; counted over interruptions'
    )
    max_steps: int | None = Field(default=None, ge=1, description="optimisation steps; repeatable, unlike a time")
    validate_every: int = Field(default=2000, ge=1, description="steps between validations, each with a checkpoint")
    validation_frames: int = Field(default=400, ge=1, description="at most this many frames per kind, evenly spaced")

    @model_validator(mode="after")
    def _finite(self) -> ScheduleSection:
        if self.max_time is None and self.max_steps is None:
            raise ValueError("give max_time, max_steps or both")
        return self


class PotentialTraining(Section):
    """The whole file."""

    method: Literal["potential"] = Field(description="which of the methods of kstep_training")
    data: DataSection
    output: Path = Field(default=Path("run"), description="folder for checkpoints and metrics")
    model: NetworkConfig = Field(
        default_factory=lambda: NetworkConfig.model_validate({}),
        description="size of the network that its name means; see kstep_models.potential.network.PotentialConfig",
    )
    loss: LossSection = LossSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection
    start_from: Path | None = Field(
        default=None,
        description="checkpoint of the same molecule whose averaged weights and scales this run starts from; `model` "
        "must be as it was there",
    )
    seed: int = Field(default=0, description="initial weights and order of the frames")
    threads: int = Field(default=1, ge=1, description="threads of torch; one is best for small molecules")
    compile: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="compile a whole training step with torch.compile (a C++ compiler is needed; about a minute at the "
        "start, then 2-3 times faster); auto falls back to uncompiled steps",
    )
