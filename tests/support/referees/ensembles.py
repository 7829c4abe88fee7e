"""The package physical_validation (Merz and Shirts, PLoS ONE 13, e0202764 (2018)) on plain arrays."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest


def p_value_of_kinetic_energies(kinetic: np.ndarray, atoms: int, temperature: float) -> float:
    """Of independent kinetic energies of free atoms."""
    package = _package()
    system = package.data.SystemData(
        natoms=atoms, nconstraints=0, ndof_reduction_tra=0, ndof_reduction_rot=0, mass=np.ones(atoms)
    )
    data = _data(package, temperature, system=system, observables=package.data.ObservableData(kinetic_energy=kinetic))
    with _quiet():
        return float(package.kinetic_energy.distribution(data, strict=True, verbosity=0, data_is_uncorrelated=True))


def deviation_of_two_temperatures(series: list[np.ndarray], temperatures: tuple[float, float]) -> float:
    """Of independent potential energies, in standard errors, without sign."""
    package = _package()
    data = [
        _data(package, temperature, observables=package.data.ObservableData(potential_energy=values))
        for temperature, values in zip(temperatures, series, strict=True)
    ]
    with _quiet():
        (deviation,) = package.ensemble.check(*data, verbosity=0, data_is_uncorrelated=True)
    return abs(float(deviation))


def _package() -> Any:
    with _quiet():
        return pytest.importorskip("physical_validation", reason="physical_validation is not installed")


def _data(package: Any, temperature: float, **parts: Any) -> Any:
    return package.data.SimulationData(
        units=package.data.UnitData.units("GROMACS"),
        ensemble=package.data.EnsembleData(ensemble="NVT", natoms=3, volume=1.0, temperature=temperature),
        **parts,
    )


@contextlib.contextmanager
def _quiet() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
