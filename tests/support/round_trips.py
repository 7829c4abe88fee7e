"""Ways in which objects of OpenMM are copied, and what a copy must keep."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm

ROUND_TRIPS: dict[str, Callable[[Any], Any]] = {
    "xml": lambda thing: openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(thing)),
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def settings(thing: Any) -> dict[str, Any]:
    """What all getters of an object say that need no arguments: a setting added later is among them by itself.

    Getters that only work in a Context are left out.
    """
    found = {}
    for name in dir(type(thing)):
        getter = getattr(thing, name)
        if not name.startswith("get") or not callable(getter):
            continue
        if any(p.default is p.empty for p in inspect.signature(getter).parameters.values()):
            continue
        try:
            value = getter()
        except openmm.OpenMMException:
            continue
        found[name] = _comparable(value)
    return found


def _comparable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    # The order of levels counts.
    return list(value.items()) if isinstance(value, dict) else value
