"""For scripts of the Atomic Simulation Environment: QM engines, surrogates and OpenMM as calculators; k-step dynamics.

Imported when used, because ASE is installed only where it is wanted: ``pip install 'openmm-kstep[ase]'``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dynamics.kstep import KStepDynamics
    from .dynamics.statistics import KStepDynamicsStatistics
    from .openmm_calculator import OpenMMCalculator
    from .qm_calculator import QMCalculator
    from .surrogate_calculator import SurrogateCalculator

__all__ = ["KStepDynamics", "KStepDynamicsStatistics", "OpenMMCalculator", "QMCalculator", "SurrogateCalculator"]

_MODULES = {
    "KStepDynamics": "dynamics.kstep",
    "KStepDynamicsStatistics": "dynamics.statistics",
    "OpenMMCalculator": "openmm_calculator",
    "QMCalculator": "qm_calculator",
    "SurrogateCalculator": "surrogate_calculator",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import ase.calculators.calculator  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"openmmkstep.ase needs ASE, which cannot be imported ({error}): pip install 'openmm-kstep[ase]'"
        ) from error
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
