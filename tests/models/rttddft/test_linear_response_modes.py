"""Weak kicks in closed form: against two levels on paper, and against the equations of motion solved step by step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kstep_models.rttddft.linear_response import Modes, UnstableResponseError, agreement, modes
from kstep_models.units import EV_PER_HARTREE

RealArray = NDArray[np.float64]


def random_system(size: int = 5) -> tuple[RealArray, RealArray, RealArray, RealArray]:
    """A + B without f_xc, A - B, dipoles and a response, of the size that molecules have."""
    random = np.random.default_rng(4)

    def symmetric(scale: float) -> RealArray:
        matrix = random.normal(size=(size, size))
        return scale * (matrix + matrix.T)

    gaps = np.diag(np.linspace(0.4, 1.5, size))
    return gaps + symmetric(0.02), gaps + symmetric(0.02), random.normal(size=(3, size)), symmetric(0.01)


def test_two_levels_on_paper() -> None:
    """One excitation with gap w and coupling k: W^2 = w (w + 2 k), and the dipole is d d w / W sin(W t)."""
    gap, coupling, dipole = 0.5, 0.11, np.array([0.3, -0.7, 0.2])
    own = modes(np.array([[gap]]), np.array([[gap]]), dipole[:, None], np.array([[coupling]]))
    frequency = np.sqrt(gap * (gap + 2 * coupling))
    assert own.frequencies[0] == pytest.approx(frequency, rel=1e-14)
    times = np.linspace(0.0, 40.0, 7)
    expected = np.einsum("x,y,t->xyt", dipole, dipole, gap / frequency * np.sin(frequency * times))
    np.testing.assert_allclose(own.traces(times), expected, rtol=1e-12, atol=1e-14)


def test_slope_of_the_trace_is_the_sum_rule() -> None:
    """At t = 0 the dipole grows by d (A - B) d^T, whatever A + B is: the sum rule of Thomas, Reiche and Kuhn."""
    total, difference, dipole, response = random_system()
    own = modes(total, difference, dipole, response)
    slope = own.traces(np.array([1e-6]))[:, :, 0] / 1e-6
    np.testing.assert_allclose(slope, dipole @ difference @ dipole.T, rtol=1e-9, atol=1e-9)


def test_against_integration_in_time() -> None:
    """The real part X and the imaginary part Y of the density obey dX/dt = (A - B) Y, dY/dt = -(A + B) X, and a kick
    along y sets Y = d_y. Runge-Kutta of fourth order, with an error of 1e-9 at this time step."""
    total, difference, dipole, response = random_system()
    full, step, count = total + 2.0 * response, 0.01, 2000
    size = len(total)
    generator = np.block([[np.zeros((size, size)), difference], [-full, np.zeros((size, size))]])
    state, traces = np.vstack([np.zeros((size, 3)), dipole.T]), []
    for _ in range(count + 1):
        traces.append(dipole @ state[:size])
        slopes = [generator @ state]
        for fraction in (0.5, 0.5, 1.0):
            slopes.append(generator @ (state + fraction * step * slopes[-1]))
        state = state + step / 6.0 * (slopes[0] + 2.0 * slopes[1] + 2.0 * slopes[2] + slopes[3])
    own = modes(total, difference, dipole, response).traces(step * np.arange(count + 1))
    np.testing.assert_allclose(own.transpose(2, 0, 1), np.array(traces), atol=1e-8)
    assert np.abs(own).max() > 1.0


def test_spectrum_has_the_area_of_the_dipole_strengths() -> None:
    own = modes(*random_system())
    frequencies = np.linspace(-200.0, 200.0, 400001)
    area = np.sum(own.spectrum(frequencies, 0.02)) * (frequencies[1] - frequencies[0])
    assert area == pytest.approx(2.0 / 3.0 * np.sum(own.dipoles**2), rel=1e-3)
    brightest = int(np.argmax(np.sum(own.dipoles**2, axis=0)))
    highest = frequencies[np.argmax(own.spectrum(frequencies, 0.002))]
    assert highest == pytest.approx(own.frequencies[brightest], abs=2e-3)


def test_what_grows_is_refused() -> None:
    total, difference, dipole, response = random_system()
    with pytest.raises(UnstableResponseError, match="squared frequency"):
        modes(total, difference, dipole, response - np.eye(5))
    with pytest.raises(UnstableResponseError, match="ground state is not stable"):
        modes(total, difference - np.eye(5), dipole, response)
    with pytest.raises(UnstableResponseError, match="not finite"):
        modes(total, difference, dipole, np.full((5, 5), np.nan))


def test_agreement() -> None:
    """Of a trace with itself; of one with all lines moved by 0.2 eV; of one that is 1 % too strong."""
    frequencies = np.array([9.0, 12.0, 17.0]) / EV_PER_HARTREE
    dipoles = np.array([[0.5, 0.0, 0.1], [0.0, 0.9, 0.0], [0.0, 0.0, 0.6]])
    changes = np.eye(3)
    true = Modes(frequencies, dipoles, changes)
    same = agreement(true, true)
    assert (same.dipole, same.peak) == (0.0, 0.0) and same.overlap == pytest.approx(1.0, abs=1e-12)
    moved = agreement(true, Modes(frequencies + 0.2 / EV_PER_HARTREE, dipoles, changes))
    assert moved.peak == pytest.approx(0.2, abs=1e-9)
    assert moved.dipole > 0.3 and moved.overlap < 0.999
    stronger = agreement(true, Modes(frequencies, 1.01 * dipoles, changes))
    assert stronger.dipole == pytest.approx(1.01**2 - 1.0, rel=1e-9)
    assert stronger.overlap == pytest.approx(1.0, abs=1e-12) and stronger.peak == 0.0


def test_shift_is_that_of_the_same_line() -> None:
    """Modes in another order, of other signs, and with a dark one nearer to the bright line than its true partner."""
    true = Modes(np.array([0.4, 0.6]), np.array([[0.0, 1.0], [0.1, 0.0], [0.0, 0.0]]), np.eye(2))
    shift = 0.1 / EV_PER_HARTREE
    dipoles = np.array([[0.01, -1.0, 0], [0, 0, 0.1], [0, 0, 0]])
    other = Modes(np.array([0.6 + 0.01 * shift, 0.6 - shift, 0.4]), dipoles, np.eye(3))
    assert agreement(true, other).peak == pytest.approx(0.1, abs=1e-9)
