"""QM engines by name, with their settings, as they can be checked before anything is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openmmkstep.qmmm.region import QMRegion, RegionError

_XTB = ("gfn2-xtb", "gfn1-xtb")
_HEAVIEST_XTB_ELEMENT = 86
# How an engine is run rather than what it computes: no part of the level of theory.
_RUNTIME_SETTINGS = frozenset({"threads", "library"})


@dataclass(frozen=True)
class QMEngine:
    """A QM engine of the plugin and its settings.

    Attributes:
        name: in the plugin's registry.
        settings: a JSON object; what the engine does not know it refuses when a Context is created.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def json(self) -> str:
        """The settings as the plugin takes them."""
        return json.dumps(self.settings)

    def describe(self) -> dict[str, Any]:
        """The level of theory: name and all settings that change results."""
        kept = {key: value for key, value in self.settings.items() if key not in _RUNTIME_SETTINGS}
        return {"method": self.name, **kept}

    def check(self, region: QMRegion) -> None:
        """Raise RegionError for elements that the engine does not cover."""
        if self.name in _XTB:
            heavy = sorted({int(z) for z in region.numbers if z > _HEAVIEST_XTB_ELEMENT})
            if heavy:
                raise RegionError(
                    f"{self.name} covers elements up to Z = {_HEAVIEST_XTB_ELEMENT}, the QM region has {heavy}"
                )


def checked_engine(name: str, accuracy: float, threads: int, options: dict[str, Any]) -> QMEngine:
    """An engine with its settings.

    Args:
        name: as users write it, in any case.
        accuracy: of the SCF, for engines that have one.
        threads: for engines that have them.
        options: further settings by the engine's own names; JSON values.

    Raises:
        ValueError: unknown name, or values that make no sense.
    """
    from openmmkstep.openmmapi.qmmm_force import QMMMForce

    known = sorted(QMMMForce.getEngines())
    lower = name.lower() if isinstance(name, str) else name
    if lower not in known:
        raise ValueError(f"unknown QM method {name!r}: use one of {', '.join(known)}")
    if not (isinstance(accuracy, (int, float)) and np.isfinite(accuracy) and accuracy > 0):
        raise ValueError(f"accuracy must be a positive number, got {accuracy!r}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be a positive integer, got {threads!r}")
    settings: dict[str, Any] = dict(options)
    if lower in _XTB:
        settings = {"accuracy": float(accuracy), "threads": threads, **settings}
    return QMEngine(lower, settings)
