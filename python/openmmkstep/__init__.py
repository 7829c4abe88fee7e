"""QM/MM molecular dynamics in OpenMM for one QM call every k steps.

Importing this package loads the plugin for every platform that OpenMM has; `pluginLoadFailures` names what could not be
loaded and why. What users need is here: `QMMMPotential` and `createIntegrator`, and by hand `KStepIntegrator`,
`QMMMForce`, `TorchScriptForce`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ._plugin import load_plugins

pluginLoadFailures: dict[str, str] = load_plugins()

from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges  # noqa: E402
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics  # noqa: E402
from openmmkstep.openmmapi.qmmm_force import LinkAtom, QMMMForce, QMResult  # noqa: E402
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce  # noqa: E402
from openmmkstep.qmmm.integrator import createIntegrator  # noqa: E402
from openmmkstep.qmmm.potential import QMMMPotential  # noqa: E402
from openmmkstep.qmmm.region import RegionChargeWarning  # noqa: E402

try:
    __version__ = version("openmm-kstep")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

__all__ = [
    "EmbeddingCharges",
    "KStepIntegrator",
    "KStepStatistics",
    "LinkAtom",
    "QMMMForce",
    "QMMMPotential",
    "QMResult",
    "RegionChargeWarning",
    "TorchScriptForce",
    "createIntegrator",
    "pluginLoadFailures",
]
