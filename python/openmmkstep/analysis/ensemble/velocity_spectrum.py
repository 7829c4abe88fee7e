"""Spectra of velocities, and shifts of their peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from .normal_modes import SPEED_OF_LIGHT

Array = NDArray[np.float64]
_PADDING = 4  # Points of the spectrum per point that a segment has, so that peaks lie between few of them.
_FEWEST_SEGMENTS = 4


@dataclass(frozen=True)
class VelocitySpectrum:
    """Power spectrum of mass-weighted velocities: the Fourier transform of their autocorrelation.

    Attributes:
        wave_numbers: [f], cm-1.
        segments: spectrum of each segment [s,f], kJ/mol cm.
        smoothing: standard deviation of the Gaussian that they are smoothed with, cm-1.
    """

    wave_numbers: Array
    segments: Array
    smoothing: float

    @property
    def mean(self) -> Array:
        """Mean over the segments [f]; its integral is twice the mean kinetic energy."""
        return np.asarray(self.segments.mean(axis=0))


def velocity_spectrum(
    velocities: Array, masses: Array, interval: float, segment: float = 2.0, smoothing: float = 10.0
) -> VelocitySpectrum:
    """Welch's method: Hann windows that overlap by half (IEEE Trans. Audio Electroacoust. 15, 70 (1967)).

    Args:
        velocities: [T,n,3] nm/ps.
        masses: [n] amu.
        interval: between velocities, ps.
        segment: length of a segment, ps.
        smoothing: standard deviation of the Gaussian that smooths the spectrum, cm-1.

    Raises:
        ValueError: fewer velocities than four segments take.
    """
    length = max(2, round(segment / interval))
    # Overlapping by half: five half lengths hold four segments.
    if len(velocities) < (_FEWEST_SEGMENTS + 1) * length // 2:
        raise ValueError(
            f"a spectrum needs {_FEWEST_SEGMENTS} segments of {segment:g} ps that overlap by half, and there are "
            f"{len(velocities) * interval:g} ps: sample longer, or shorten the segments"
        )
    weighted = (velocities * np.sqrt(masses)[None, :, None]).reshape(len(velocities), -1)
    window = np.hanning(length)
    padded = _PADDING * length
    spectra = []
    for start in range(0, len(weighted) - length + 1, length // 2):
        transformed = np.fft.rfft(weighted[start : start + length] * window[:, None], padded, axis=0)
        spectra.append(np.sum(np.abs(transformed) ** 2, axis=1))
    wave_numbers: Array = np.fft.rfftfreq(padded, interval * SPEED_OF_LIGHT).astype(np.float64)
    step = wave_numbers[1]
    # One-sided, so that the integral over wave numbers is the mean square.
    scale = 2 * interval * SPEED_OF_LIGHT / np.sum(window**2)
    smooth = ndimage.gaussian_filter1d(np.array(spectra) * scale, float(smoothing / step), axis=1, mode="nearest")
    return VelocitySpectrum(wave_numbers, smooth, smoothing)


@dataclass(frozen=True)
class PeakShift:
    """A peak of a spectrum beside that of a reference, cm-1.

    Attributes:
        reference: where it is in the reference.
        shift: of the peak; None if there is none within reach.
        error: standard error of the shift, by leaving out one segment after the other in both; None likewise.
    """

    reference: float
    shift: float | None
    error: float | None


def peaks(spectrum: VelocitySpectrum, lowest: float = 200.0, prominence: float = 0.02) -> list[float]:
    """Wave numbers of the peaks.

    Args:
        spectrum: to look at.
        lowest: peaks below this are hindered rotations and translations, cm-1.
        prominence: least prominence, over the largest value.
    """
    mean = spectrum.mean
    found, _ = signal.find_peaks(mean, prominence=prominence * mean[spectrum.wave_numbers >= lowest].max())
    return [_refined(spectrum.wave_numbers, mean, index) for index in found if spectrum.wave_numbers[index] >= lowest]


def peak_shifts(
    spectrum: VelocitySpectrum, reference: VelocitySpectrum, at: list[float], reach: float = 40.0
) -> list[PeakShift]:
    """Where peaks of a reference have gone.

    Args:
        spectrum: looked at.
        reference: compared with.
        at: peaks of the reference, cm-1.
        reach: farthest shift that is looked for, cm-1.
    """
    return [_peak_shift(spectrum, reference, wave_number, reach) for wave_number in at]


def _peak_shift(spectrum: VelocitySpectrum, reference: VelocitySpectrum, wave_number: float, reach: float) -> PeakShift:
    here = _nearest(spectrum.wave_numbers, spectrum.mean, wave_number, reach)
    there = _nearest(reference.wave_numbers, reference.mean, wave_number, reach)
    errors = [_jackknife(item, wave_number, reach) for item in (spectrum, reference)]
    if here is None or there is None or None in errors:
        return PeakShift(wave_number, None, None)
    return PeakShift(wave_number, here - there, float(np.hypot(*errors)))  # type: ignore[arg-type]


def _jackknife(spectrum: VelocitySpectrum, wave_number: float, reach: float) -> float | None:
    """Standard error of the place of a peak; neighbours among overlapping segments are left out together."""
    number = len(spectrum.segments)
    groups = np.array_split(np.arange(number), max(_FEWEST_SEGMENTS // 2, number // 2))
    total = spectrum.segments.sum(axis=0)
    places = [
        _nearest(
            spectrum.wave_numbers,
            (total - spectrum.segments[group].sum(axis=0)) / (number - len(group)),
            wave_number,
            reach,
        )
        for group in groups
    ]
    if any(place is None for place in places):
        return None
    return float(np.std(np.array(places, dtype=np.float64)) * np.sqrt(len(places) - 1))


def _nearest(wave_numbers: Array, values: Array, wave_number: float, reach: float) -> float | None:
    """The local maximum nearest to a wave number."""
    inner = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])
    candidates = 1 + np.flatnonzero(inner & (np.abs(wave_numbers[1:-1] - wave_number) <= reach))
    if len(candidates) == 0:
        return None
    return _refined(wave_numbers, values, int(candidates[np.argmin(np.abs(wave_numbers[candidates] - wave_number))]))


def _refined(wave_numbers: Array, values: Array, index: int) -> float:
    """The top of the parabola through a point and its neighbours."""
    if not 0 < index < len(values) - 1:
        return float(wave_numbers[index])
    left, middle, right = values[index - 1 : index + 2]
    curvature = left - 2 * middle + right
    offset = 0.0 if curvature == 0 else 0.5 * (left - right) / curvature
    return float(wave_numbers[index] + offset * (wave_numbers[1] - wave_numbers[0]))
