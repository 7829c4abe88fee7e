"""What can go wrong in real-time TDDFT, by who can repair it."""

from __future__ import annotations


class ElectronDynamicsError(ValueError):
    """What was asked for cannot be: molecule, level of theory, field, time step or output file."""


class ConvergenceError(RuntimeError):
    """An iteration (ground state, or one step of the propagation) did not reach its tolerance."""


class TrajectoryError(ValueError):
    """A trajectory file is not what it should be, or cannot be continued."""


class MissingDependencyError(ImportError):
    """A package that only this part of openmm-kstep needs is not installed."""


class AccuracyWarning(UserWarning):
    """A reduced trajectory is not known to be as accurate as it was asked to be."""


class WorkerError(RuntimeError):
    """A process that computed a geometry was lost."""
