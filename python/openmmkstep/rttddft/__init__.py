"""Real-time TDDFT: the motion of a molecule's electrons in time, with PySCF's integrals and functionals.

Everything here is in atomic units: hartree, bohr, hbar/hartree for times, hartree/(e bohr) for fields; electrons have
charge -1. `units` has the factors to others; `Molecule.create` takes OpenMM's quantities.

    water = Molecule.create("OHH", positions)
    level = LevelOfTheory("rks", "6-31g", "pbe0")
    run = ElectronDynamics(water, level, CFM4(time_step=0.4), kick=DeltaKick(1e-3, (0, 0, 1)))
    run.run(steps=2000, path="water.h5")

Running needs PySCF: ``pip install 'openmm-kstep[pyscf]'``. Reading trajectories and computing spectra do not.
"""

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
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges

from .errors import (
    AccuracyWarning,
    ConvergenceError,
    ElectronDynamicsError,
    MissingDependencyError,
    TrajectoryError,
    WorkerError,
)
from .simulation import ElectronDynamics, Observables
from .trajectory import DipoleAccuracy, TrajectoryFile

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
