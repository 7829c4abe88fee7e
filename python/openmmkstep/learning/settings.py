"""What there is to choose about learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class LearningError(ValueError):
    """Learning that cannot be done, or a folder that holds another."""


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is trained beside the dynamics, by ``kstep train`` in a process of its own with low priority.

    Attributes:
        from_labels: Labels from which on one is trained; another one where they have doubled.
        max_time: Wall time of the training, s; None for no bound.
        max_steps: Optimisation steps; None for no bound.
        validate_every: Steps between checkpoints, which is what an interruption loses at most.
        start_from: Checkpoint of `kstep train` for the same molecule to begin with, at whatever level; None for none.
        model: Size of the network, as in the section ``model`` of `kstep train`, and that of the checkpoint if there is
            one.
        loss: As in its section ``loss``.
        optimizer: As in its section ``optimizer``.
        compile: Whether the training step is compiled.

    Raises:
        LearningError: Values that make no sense.
    """

    from_labels: int = 300
    max_time: float | None = 1200.0
    max_steps: int | None = None
    validate_every: int = 500
    start_from: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    compile: str = "auto"

    def __post_init__(self) -> None:
        if self.from_labels < 20:
            raise LearningError(f"network.from_labels must be at least 20, got {self.from_labels!r}")
        if self.max_time is None and self.max_steps is None:
            raise LearningError("the training of a network needs an end: give network.max_time, max_steps or both")
        for name in ("max_time", "max_steps", "validate_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LearningError(f"network.{name} must be positive, got {value!r}")
        if self.compile not in ("auto", "on", "off"):
            raise LearningError(f"network.compile must be auto, on or off, got {self.compile!r}")


@dataclass(frozen=True)
class LearningSettings:
    """How a surrogate is learned and k is chosen.

    Attributes:
        acceptance: What is aimed at: the mean probability with which a Metropolis test on the correction accepts an
            outer step (`KStepIntegrator.setMetropolis`). 0.9 is an error of about kT/4 per step.
        ks: Inner steps per QM call that are tried, all of them from small to large: resonances make some in between
            worse than larger ones.
        max_calls: QM calls that learning may take before production, trials included.
        first_k: Where production may begin: learning is over as soon as a k of this size passes, and larger ones are
            left to learning again between blocks of production. None to learn until the largest k passes, or the calls
            are used up.
        relearn_calls: QM calls that learning again between blocks of production may take in all, trials included; 0 for
            one surrogate and one k throughout.
        first_labels: Labels before the first fit, from configurations of the pool; 0 to learn nothing, and find the k
            that the levels which are there carry.
        more_labels: Labels of the pool that are added where a surrogate is not good enough.
        trial_steps: Outer steps of a trial of one k.
        pool_time: Dynamics on the level below from which configurations are taken, ps.
        pool_size: Configurations that are kept of it.
        pool_temperature: Temperature of that dynamics as a multiple of that of the run; above 1 it finds more.
        max_permutations: Exchanges of like atoms that a fit uses.
        max_unknowns: Unknowns of a fit's linear system: beyond them labels are left out, by what they add.
        seed: Of everything random.
        network: How a network is trained beside the dynamics once labels are many; None for none. May be changed at any
            time.

    Raises:
        LearningError: Values that make no sense.
    """

    acceptance: float = 0.9
    ks: tuple[int, ...] = (4, 8, 12, 16)
    max_calls: int = 300
    first_k: int | None = None
    relearn_calls: int = 300
    first_labels: int = 60
    more_labels: int = 30
    trial_steps: int = 30
    pool_time: float = 20.0
    pool_size: int = 500
    pool_temperature: float = 1.2
    max_permutations: int = 12
    max_unknowns: int = 12000
    seed: int = 1
    network: NetworkSettings | None = None

    @property
    def learns(self) -> bool:
        """Whether anything is learned, beside k."""
        return self.first_labels > 0

    def __post_init__(self) -> None:
        if not 0 < self.acceptance < 1:
            raise LearningError(f"acceptance must lie between 0 and 1, got {self.acceptance!r}")
        if not self.ks or list(self.ks) != sorted(set(self.ks)) or self.ks[0] < 2:
            raise LearningError(f"ks must be growing whole numbers from 2, got {self.ks!r}")
        if self.first_k is not None and not 2 <= self.first_k <= self.ks[-1]:
            raise LearningError(f"first_k must be one of the k that are tried, {self.ks!r}, got {self.first_k!r}")
        for name, least in (
            ("max_calls", 1),
            ("relearn_calls", 0),
            ("more_labels", 1),
            ("trial_steps", 5),
            ("pool_size", 10),
            ("max_permutations", 1),
            ("max_unknowns", 100),
        ):
            if getattr(self, name) < least:
                raise LearningError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        for name in ("pool_time", "pool_temperature"):
            if not getattr(self, name) > 0:
                raise LearningError(f"{name} must be positive, got {getattr(self, name)!r}")
        if self.first_labels != 0 and self.first_labels < 10:
            raise LearningError(f"first_labels must be at least 10, or 0 to learn nothing, got {self.first_labels!r}")
        if self.network is not None and not self.learns:
            raise LearningError("a network needs labels: leave network out where first_labels is 0")
        if self.first_labels > self.pool_size:
            raise LearningError(
                f"first_labels ({self.first_labels}) are taken from the pool, which has {self.pool_size} configurations"
            )
