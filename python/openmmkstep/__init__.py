"""QM/MM molecular dynamics in OpenMM for one QM call every k steps.

What users need is here: `QMMMPotential` and `createIntegrator`, and by hand `KStepIntegrator`, `QMMMForce`,
`TorchScriptForce`, `FarFieldForce`. Importing the package loads the plugin for every platform that OpenMM has, if
OpenMM has been imported before, as in every script that uses it; otherwise the first use of one of these names does. So
the command line, and `openmmkstep.rttddft`, which needs no OpenMM, load nothing that they do not use.
`pluginLoadFailures` names what could not be loaded and why.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmmkstep.engines.single_point import SinglePoint, SinglePointResult
    from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
    from openmmkstep.openmmapi.far_field_force import FarFieldForce
    from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics
    from openmmkstep.openmmapi.minimization import Minimization, minimize
    from openmmkstep.openmmapi.qmmm_force import QMMMForce, QMResult
    from openmmkstep.openmmapi.region import LinkAtom
    from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
    from openmmkstep.qmmm.integrator import createIntegrator
    from openmmkstep.qmmm.potential import QMMMPotential
    from openmmkstep.qmmm.region import RegionChargeWarning

    pluginLoadFailures: dict[str, str]

__all__ = [
    "EmbeddingCharges",
    "FarFieldForce",
    "KStepIntegrator",
    "KStepStatistics",
    "LinkAtom",
    "Minimization",
    "QMMMForce",
    "QMMMPotential",
    "QMResult",
    "RegionChargeWarning",
    "SinglePoint",
    "SinglePointResult",
    "TorchScriptForce",
    "createIntegrator",
    "get_include",
    "minimize",
    "pluginLoadFailures",
]

_MODULES = {
    "EmbeddingCharges": "openmmapi.embedding_charges",
    "FarFieldForce": "openmmapi.far_field_force",
    "KStepIntegrator": "openmmapi.kstep_integrator",
    "KStepStatistics": "openmmapi.kstep_integrator",
    "LinkAtom": "openmmapi.region",
    "Minimization": "openmmapi.minimization",
    "QMMMForce": "openmmapi.qmmm_force",
    "QMMMPotential": "qmmm.potential",
    "QMResult": "openmmapi.qmmm_force",
    "RegionChargeWarning": "qmmm.region",
    "SinglePoint": "engines.single_point",
    "SinglePointResult": "engines.single_point",
    "TorchScriptForce": "openmmapi.torchscript_force",
    "createIntegrator": "qmmm.integrator",
    "minimize": "openmmapi.minimization",
}

try:
    __version__ = version("openmm-kstep")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"


def get_include() -> str:
    """The folder of the C++ headers. The library that belongs to them is ``lib/libOpenMMKStep.so`` beside it."""
    return str(Path(__file__).parent / "include")


def __getattr__(name: str) -> Any:
    if name == "pluginLoadFailures":
        return import_module("openmmkstep._plugin").load_plugins()
    if name in _MODULES:
        # First, because it looks at the versions before OpenMM is loaded.
        import_module("openmmkstep._plugin").load_plugins()
        value = getattr(import_module(f"openmmkstep.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'openmmkstep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "openmm" in sys.modules:
    import_module("openmmkstep._plugin").load_plugins()
