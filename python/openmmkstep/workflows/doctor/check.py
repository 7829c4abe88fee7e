"""What a check of ``kstep doctor`` finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: whether it is as it should be; only "failed" keeps the main job from running.
        detail: what was found.
        remedy: what to do, where something is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """What a check finds; an error of any kind is a finding too."""
    try:
        return check()
    except Exception as error:
        # Whatever goes wrong is a finding here, not a crash.
        return Check(name, "failed", f"{type(error).__name__}: {error}", "see the message")
