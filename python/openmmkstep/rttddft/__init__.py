"""Real-time TDDFT: the motion of a molecule's electrons in time, with PySCF's integrals and functionals.

Everything here is in atomic units: hartree, bohr, hbar/hartree for times, hartree/(e bohr) for fields; electrons have
charge -1. `units` has the factors to others; `Molecule.create` takes OpenMM's quantities.

    water = Molecule.create("OHH", positions)
    level = LevelOfTheory("rks", "6-31g", "pbe0")
    run = ElectronDynamics(water, level, CFM4(time_step=0.4), kick=DeltaKick(1e-3, (0, 0, 1)))
    run.run(steps=2000, path="water.h5")

Running needs PySCF: ``pip install 'openmm-kstep[pyscf]'``. Reading trajectories and computing spectra do not. Importing
this package loads nothing; the first use of a name loads the module that it is from.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmmkstep.rttddft.errors import (
        AccuracyWarning,
        ConvergenceError,
        ElectronDynamicsError,
        MissingDependencyError,
        TrajectoryError,
        WorkerError,
    )
    from openmmkstep.rttddft.observables.populations import GroundOrbitals, Populations, populations
    from openmmkstep.rttddft.observables.spectrum import dipole_strength, pade_polarizability, peaks, polarizability
    from openmmkstep.rttddft.propagation.fields import (
        DeltaKick,
        ElectricField,
        GaussianEnvelope,
        NoField,
        Pulse,
        SinSquaredEnvelope,
        UserField,
    )
    from openmmkstep.rttddft.propagation.propagators import CFM4, Magnus2
    from openmmkstep.rttddft.reduction.reduced_hamiltonian import Reduction
    from openmmkstep.rttddft.simulation import ElectronDynamics, Observables
    from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
    from openmmkstep.rttddft.systems.molecule import Molecule
    from openmmkstep.rttddft.systems.point_charges import PointCharges
    from openmmkstep.rttddft.trajectory.reader import TrajectoryFile
    from openmmkstep.rttddft.trajectory.schema import DipoleAccuracy

__all__ = [
    "CFM4",
    "AccuracyWarning",
    "ConvergenceError",
    "DeltaKick",
    "DipoleAccuracy",
    "ElectricField",
    "ElectronDynamics",
    "ElectronDynamicsError",
    "GaussianEnvelope",
    "GroundOrbitals",
    "LevelOfTheory",
    "Magnus2",
    "MissingDependencyError",
    "Molecule",
    "NoField",
    "Observables",
    "PointCharges",
    "Populations",
    "Pulse",
    "Reduction",
    "SinSquaredEnvelope",
    "TrajectoryError",
    "TrajectoryFile",
    "UserField",
    "WorkerError",
    "dipole_strength",
    "pade_polarizability",
    "peaks",
    "polarizability",
    "populations",
]

_MODULES = {
    "CFM4": "propagation.propagators",
    "AccuracyWarning": "errors",
    "ConvergenceError": "errors",
    "DeltaKick": "propagation.fields",
    "DipoleAccuracy": "trajectory.schema",
    "ElectricField": "propagation.fields",
    "ElectronDynamics": "simulation",
    "ElectronDynamicsError": "errors",
    "GaussianEnvelope": "propagation.fields",
    "GroundOrbitals": "observables.populations",
    "LevelOfTheory": "systems.level_of_theory",
    "Magnus2": "propagation.propagators",
    "MissingDependencyError": "errors",
    "Molecule": "systems.molecule",
    "NoField": "propagation.fields",
    "Observables": "simulation",
    "PointCharges": "systems.point_charges",
    "Populations": "observables.populations",
    "Pulse": "propagation.fields",
    "Reduction": "reduction.reduced_hamiltonian",
    "SinSquaredEnvelope": "propagation.fields",
    "TrajectoryError": "errors",
    "TrajectoryFile": "trajectory.reader",
    "UserField": "propagation.fields",
    "WorkerError": "errors",
    "dipole_strength": "observables.spectrum",
    "pade_polarizability": "observables.spectrum",
    "peaks": "observables.spectrum",
    "polarizability": "observables.spectrum",
    "populations": "observables.populations",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(f"openmmkstep.rttddft.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'openmmkstep.rttddft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
