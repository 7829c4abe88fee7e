"""libxtb called directly through ctypes, written apart from the plugin, for comparison with it. Atomic units."""

from __future__ import annotations

import ctypes
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

_POINTER = ctypes.c_void_p


def _array(values):
    return values.ctypes.data_as(_POINTER)


def _load():
    folder = Path(str(distribution("xtb").locate_file("xtb.libs")))
    for stem in ("libquadmath", "libgfortran", "libgomp", "libopenblas", "libmctc", "libxtb"):
        library = ctypes.CDLL(str(next(folder.glob(stem + "*"))))
    for name in ("newEnvironment", "newCalculator", "newResults", "newMolecule"):
        getattr(library, "xtb_" + name).restype = _POINTER
    library.xtb_newMolecule.argtypes = [_POINTER] * 8
    library.xtb_setVerbosity.argtypes = [_POINTER, ctypes.c_int]
    library.xtb_setAccuracy.argtypes = [_POINTER, _POINTER, ctypes.c_double]
    library.xtb_loadGFN1xTB.argtypes = library.xtb_loadGFN2xTB.argtypes = [_POINTER] * 4
    library.xtb_setExternalCharges.argtypes = [_POINTER] * 6
    library.xtb_singlepoint.argtypes = [_POINTER] * 4
    for name in ("Energy", "Gradient", "PCGradient", "Charges"):
        getattr(library, "xtb_get" + name).argtypes = [_POINTER] * 3
    library.xtb_checkEnvironment.argtypes = [_POINTER]
    return library


def single_point(
    numbers, positions, charge=0, unpaired=0, charges=None, charge_positions=None, method="GFN2", accuracy=0.01
):
    """Energy, gradient [n,3], gradient on charges [m,3] and atomic charges [n], in hartree and bohr, cold start."""
    library = _load()
    numbers = np.ascontiguousarray(numbers, dtype=np.int32)
    positions = np.ascontiguousarray(positions, dtype=float)
    count = np.array([len(numbers)], dtype=np.int32)
    environment = library.xtb_newEnvironment()
    library.xtb_setVerbosity(environment, 0)
    molecule = library.xtb_newMolecule(
        environment,
        _array(count),
        _array(numbers),
        _array(positions),
        _array(np.array([float(charge)])),
        _array(np.array([unpaired], dtype=np.int32)),
        None,
        None,
    )
    calculator = library.xtb_newCalculator()
    getattr(library, f"xtb_load{method}xTB")(environment, molecule, calculator, None)
    library.xtb_setAccuracy(environment, calculator, accuracy)
    num_charges = 0 if charges is None else len(charges)
    if num_charges:
        elements = np.full(num_charges, {"GFN2": 84, "GFN1": 2}[method], dtype=np.int32)
        values = np.ascontiguousarray(charges, dtype=float)
        places = np.ascontiguousarray(charge_positions, dtype=float)
        number = np.array([num_charges], dtype=np.int32)
        library.xtb_setExternalCharges(
            environment, calculator, _array(number), _array(elements), _array(values), _array(places)
        )
    results = library.xtb_newResults()
    library.xtb_singlepoint(environment, molecule, calculator, results)
    assert library.xtb_checkEnvironment(environment) == 0
    energy, gradient = np.zeros(1), np.zeros_like(positions)
    charge_gradient, atomic_charges = np.zeros((num_charges, 3)), np.zeros(len(numbers))
    library.xtb_getEnergy(environment, results, _array(energy))
    library.xtb_getGradient(environment, results, _array(gradient))
    library.xtb_getCharges(environment, results, _array(atomic_charges))
    if num_charges:
        library.xtb_getPCGradient(environment, results, _array(charge_gradient))
    assert library.xtb_checkEnvironment(environment) == 0
    return energy[0], gradient, charge_gradient, atomic_charges
