"""Networks trained on the labels in a process of their own: what is recorded of them, and when they are due."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from .settings import LearningError, LearningSettings

# Labels that must be there for each of the last network, before another one is worth its time.
_GROWTH = 2
_NEEDED = ("lightning", "kstep_training")


@dataclass
class NetworkRecord:
    """A network.

    Attributes:
        labels: Labels that there were.
        used: Labels that it is trained on, or watched with on the way: all but those that the fit holds out.
        against: Number of the fit to the labels that there were, of which it has the held-out labels.
        state: Whether it is being trained, or how that ended.
        error: Its force error on the held-out labels, meV/A; None before it is trained.
        fit: The number that it has among the fits; 0 for none.
        seconds: Of training, over interruptions.
        reason: Why it is no fit.
    """

    labels: int
    used: int
    against: int
    state: Literal["training", "trained", "failed"] = "training"
    error: float | None = None
    fit: int = 0
    seconds: float = 0.0
    reason: str = ""


def under_way(networks: list[NetworkRecord]) -> NetworkRecord | None:
    """The network that is being trained; there is one at a time."""
    return networks[-1] if networks and networks[-1].state == "training" else None


def is_due(networks: list[NetworkRecord], labels: int, settings: LearningSettings) -> bool:
    """Whether a network is to be trained on so many labels."""
    if settings.network is None or under_way(networks) is not None:
        return False
    before = networks[-1].labels if networks else 0
    return labels >= max(settings.network.from_labels, _GROWTH * before)


def refuse_missing_training(settings: LearningSettings) -> None:
    """Make sure that networks can be trained, if they are wanted. Raises LearningError."""
    missing = [name for name in _NEEDED if settings.network is not None and find_spec(name) is None]
    if missing:
        raise LearningError(
            f"learning with a network needs {missing[0]}, which is not installed: pip install "
            "'openmm-kstep[training]', or leave out network"
        )
