"""Spectra: of made-up signals, and against PySCF's linear response."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf import tddft

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    ElectronDynamicsError,
    LevelOfTheory,
    Molecule,
    dipole_strength,
    peaks,
    polarizability,
)
from openmmkstep.rttddft.units import EV_PER_HARTREE
from tests.support.electrons.systems import AMMONIA, ETHENE, WATER

TIMES = np.arange(2001) * 0.25


def test_lines_of_known_oscillators() -> None:
    # An oscillator of strength f at w0 answers a kick k with a dipole k f sin(w0 t) / w0.
    lines = {0.3: 0.2, 0.5: 0.05, 0.56: 0.1}
    signal = sum(f * np.sin(w * TIMES) / w for w, f in lines.items())
    for strength in (1e-3, -1e-3):
        dipole = 0.7 + strength * np.stack([signal] * 3, axis=1)
        frequencies = np.arange(1e-3, 1.0, 1e-3)
        alpha = polarizability(TIMES, dipole, strength, frequencies)
        spectrum = dipole_strength(frequencies, alpha.sum(axis=1))
        assert np.abs(peaks(frequencies, alpha[:, 0].imag, 0.1) - list(lines)).max() < 1e-5
        assert np.abs(peaks(frequencies, spectrum, 0.1) - list(lines)).max() < 1e-3
        assert spectrum.sum() * 1e-3 == pytest.approx(sum(lines.values()), rel=0.01)
    static = polarizability(TIMES, strength * signal, strength, [0.0], line_width=0.02)
    assert static[0].real == pytest.approx(sum(f / w**2 for w, f in lines.items()), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TIMES, TIMES[:-1], 1e-3, [0.1]), "as many dipoles"),
        ((TIMES[:2], TIMES[:2], 1e-3, [0.1]), "three or more"),
        ((TIMES + 0.25, TIMES, 1e-3, [0.1]), "start at zero"),
        ((TIMES**2, TIMES, 1e-3, [0.1]), "equally spaced"),
        ((TIMES, TIMES, 0.0, [0.1]), "kick strength is zero"),
        ((TIMES, TIMES, 1e-3, [0.1], -1.0), "line width"),
    ],
)
def test_input_that_gives_no_spectrum(arguments: tuple, message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        polarizability(*arguments)


def test_peaks_need_a_spectrum() -> None:
    with pytest.raises(ElectronDynamicsError, match="peaks need"):
        peaks([0.1, 0.2], [1.0, 2.0])


def compare_peaks(molecule: Molecule, duration: float, time_step: float, highest: float, grid_level: int) -> float:
    """Largest distance between bright lines of linear response and peaks after a kick, eV.

    The molecule's axes are along x, y and z, so that one kick along (1, 1, 1) gives the three diagonal elements of the
    polarisability, each with the transitions of one symmetry.

    Args:
        highest: lines above this are not compared, hartree.
    """
    run = ElectronDynamics(
        molecule,
        LevelOfTheory("rks", "6-31g", "pbe0", grid_level=grid_level),
        CFM4(time_step, tolerance=1e-8),
        DeltaKick(3e-4 * np.sqrt(3.0), (1, 1, 1)),
    )
    observables = run.run(round(duration / time_step))
    response = tddft.TDDFT(run._mean_field)
    occupied = run.hamiltonian.occupied[0]
    response.nstates = min(40, occupied * (run.hamiltonian.size - occupied))
    response.conv_tol = 1e-8
    response.max_cycle = 200
    response.kernel()
    strengths = response.transition_dipole() ** 2 * response.e[:, None] * 2.0 / 3.0
    frequencies = np.arange(0.05, highest + 0.1, 2e-4)
    width = 4.0 / duration
    largest, compared = 0.0, 0
    for axis in range(3):
        alpha = polarizability(observables.time, observables.dipole[:, axis], 3e-4, frequencies)
        places = peaks(frequencies, alpha.imag, 0.01)
        for energy, strength in zip(response.e, strengths[:, axis], strict=True):
            # Bright, and not blended with another bright line of the same direction.
            others = response.e[(strengths[:, axis] > 0.02 * strength) & (response.e != energy)]
            blended = np.any(np.abs(others - energy) < 5.0 * width)
            if strength < 0.01 or energy > highest or blended:
                continue
            distance = np.abs(places - energy).min() * EV_PER_HARTREE
            largest, compared = max(largest, distance), compared + 1
    assert compared >= 3
    return largest


def test_bright_peaks_of_water_are_those_of_linear_response() -> None:
    assert compare_peaks(WATER, 240.0, 0.4, 1.0, 0) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("molecule", [WATER, AMMONIA, ETHENE], ids=["H2O", "NH3", "C2H4"])
def test_bright_peaks_are_those_of_linear_response(molecule: Molecule) -> None:
    assert compare_peaks(molecule, 400.0, 0.4, 0.8, 1) < 0.01
