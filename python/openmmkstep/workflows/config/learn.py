"""The section ``learn`` of ``kstep run``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kstep_models.configuration import Section
from openmmkstep.learning.settings import LearningError, LearningSettings, NetworkSettings

from .quantities import Duration, WallTime

WHO_LABELS = ("workers", "scheduler")
"""Keys that say who labels, not what is learned."""

HOW_MUCH = ("max_calls", "relearn_calls", "network")
"""Keys that say how much may be spent, which may change on the way."""

_DEFAULTS = LearningSettings()
_NETWORK = NetworkSettings()
# Of a time, by which two are the same number of steps.
_ROUNDING = 1e-6


class NetworkSection(Section):
    """A network that is trained on the labels by a process of its own, once they are many.

    Attributes:
        from_labels: Labels from which on one is trained; another one where they have doubled.
        max_time: Wall time of the training, such as 20 min.
        max_steps: Optimisation steps; None for no bound.
        validate_every: Steps between checkpoints.
        start_from: Checkpoint of `kstep train` for the same molecule to begin with, at whatever level.
        model: Size of the network, as in `kstep train`, and that of the checkpoint if there is one.
        loss: As in `kstep train`.
        optimizer: As in `kstep train`.
        compile: Whether the training step is compiled; auto where there is a compiler.
    """

    from_labels: int = Field(default=_NETWORK.from_labels, ge=20)
    max_time: WallTime | None = _NETWORK.max_time
    max_steps: int | None = Field(default=_NETWORK.max_steps, ge=1)
    validate_every: int = Field(default=_NETWORK.validate_every, ge=1)
    start_from: Path | None = None
    model: dict[str, Any] = Field(default_factory=dict)
    loss: dict[str, Any] = Field(default_factory=dict)
    optimizer: dict[str, Any] = Field(default_factory=dict)
    compile: Literal["auto", "on", "off"] = "auto"

    def settings(self) -> NetworkSettings:
        """What the learner is told. Raises LearningError."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        start = None if self.start_from is None else str(self.start_from)
        return NetworkSettings(**{**values, "start_from": start})


class LearnSection(Section):
    """Learning before production: a surrogate from labels of the QM level, and the k that it carries.

    What is learned is added to the QM method in the section ``surrogate``, or stands alone where there is none. The k
    of production is found; ``integrator.k`` is left out.

    Attributes:
        acceptance: What is aimed at: mean probability with which a Metropolis test on the correction accepts an outer
            step; 0.9 is an error of about kT/4.
        k: Inner steps per QM call that are tried.
        max_calls: QM calls before production, trials included. More of them take learning up again until production
            has begun.
        first_k: Production begins as soon as a k of this size passes; larger ones are left to learning again between
            blocks. None: learning goes on until the largest k passes, or the calls are used up.
        block: Length of the blocks of production, each with one surrogate and one k; after each it is decided whether
            more is learned, ps. 0 for one surrogate and one k throughout.
        relearn_calls: QM calls of learning again between blocks in all, trials included; may be changed at any time.
        labels: Time between labels of production that are kept, ps; 0 for every outer step.
        first_labels: Labels before the first fit, from configurations of the pool; 0 to learn nothing, and find the k
            that the section ``surrogate`` carries as it is.
        more_labels: Labels that are added where a surrogate is not good enough.
        trial_steps: Outer steps of a trial of one k.
        pool_time: Dynamics on the level below QM, from which configurations are taken, ps.
        pool_size: Configurations that are kept of it.
        pool_temperature: Temperature of that dynamics as a multiple of that of the run.
        max_permutations: Exchanges of like atoms that a fit uses.
        max_unknowns: Unknowns of a fit's linear system; beyond them labels are left out.
        network: A network that is trained beside the dynamics, which uses all labels; None for none. May be changed at
            any time.
        workers: Processes that label configurations of the pool side by side, one thread each; 1 for none beside this
            one.
        scheduler: Instead, the address of a running Dask scheduler, such as tcp://host:8786.
    """

    acceptance: float = Field(default=_DEFAULTS.acceptance, gt=0.0, lt=1.0)
    k: tuple[int, ...] = _DEFAULTS.ks
    max_calls: int = Field(default=_DEFAULTS.max_calls, ge=1)
    first_k: int | None = None
    block: Duration = 1.0
    relearn_calls: int = Field(default=_DEFAULTS.relearn_calls, ge=0)
    labels: Duration = 0.0
    first_labels: int = Field(default=_DEFAULTS.first_labels, ge=0)
    more_labels: int = Field(default=_DEFAULTS.more_labels, ge=1)
    trial_steps: int = Field(default=_DEFAULTS.trial_steps, ge=5)
    pool_time: Duration = _DEFAULTS.pool_time
    pool_size: int = Field(default=_DEFAULTS.pool_size, ge=10)
    pool_temperature: float = Field(default=_DEFAULTS.pool_temperature, gt=0.0)
    max_permutations: int = Field(default=_DEFAULTS.max_permutations, ge=1)
    max_unknowns: int = Field(default=_DEFAULTS.max_unknowns, ge=100)
    network: NetworkSection | None = None
    workers: int = Field(default=1, ge=1)
    scheduler: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> LearnSection:
        if self.workers > 1 and self.scheduler is not None:
            raise ValueError("give either 'workers', which are started here, or the 'scheduler' of running ones")
        try:
            self.settings(1)
        except LearningError as error:
            raise ValueError(str(error)) from error
        return self

    def settings(self, seed: int) -> LearningSettings:
        """What the learner is told."""
        values = self.model_dump(exclude={"k", "block", "labels", "network", *WHO_LABELS})
        network = None if self.network is None else self.network.settings()
        return LearningSettings(ks=tuple(self.k), seed=seed, network=network, **values)

    def grid(self, inner_step: float) -> float:
        """Times that are whole outer steps for every k are multiples of this one, ps."""
        return math.lcm(*self.k) * inner_step

    def fits(self, time: float, inner_step: float) -> bool:
        """Whether a time (ps) is a whole number of outer steps for every k."""
        grid = self.grid(inner_step)
        return abs(time - round(time / grid) * grid) < _ROUNDING * grid

    def fitted(self, time: float, inner_step: float) -> float:
        """The next longer time (ps) that fits; 0 stays."""
        grid = self.grid(inner_step)
        return math.ceil(time / grid - _ROUNDING) * grid
