"""External electric fields, uniform in space: an impulse at the start, pulses, and the user's own.

Everything is in atomic units: fields in hartree/(e bohr) (5.142e11 V/m), times in hbar/hartree (0.02419 fs), angular
frequencies in hartree/hbar. A field points where it pushes a positive charge; an electron feels the potential energy
``+r.E``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmmkstep.rttddft.arguments import finite_number, positive_number, unit_vector
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian, Orbitals
from openmmkstep.rttddft.errors import ElectronDynamicsError

RealArray = NDArray[np.float64]


@dataclass(frozen=True)
class DeltaKick:
    """The field ``E(t) = strength direction delta(t)``, applied in full between t = 0- and t = 0+.

    The electrons are multiplied by ``exp(-i strength direction.r)``, each gains the momentum ``-strength`` along the
    direction, and nothing else happens at t = 0. In the basis this is the exact exponential of the matrix of r, hence
    unitary. A linear response divided by ``strength`` is the response per unit of the Fourier transform of the field.

    Attributes:
        strength: integral of the field over time, atomic units; 1e-4 to 1e-3 for linear response. May be negative.
        direction: any length but zero; normalised.
    """

    strength: float
    direction: ArrayLike = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        store = object.__setattr__
        store(self, "strength", finite_number("kick strength", self.strength))
        if self.strength == 0.0:
            raise ElectronDynamicsError("kick strength is zero: leave the kick out")
        store(self, "direction", tuple(unit_vector("kick direction", self.direction).tolist()))

    @property
    def vector(self) -> RealArray:
        """Strength times direction [3]."""
        return self.strength * np.asarray(self.direction, dtype=np.float64)

    def apply(self, hamiltonian: Hamiltonian, orbitals: Orbitals) -> Orbitals:
        """The orbitals right after the kick."""
        values, vectors = np.linalg.eigh(hamiltonian.coupling(self.vector))
        phases = np.exp(-1j * values)[:, None]
        return tuple(vectors @ (phases * (vectors.T @ part)) for part in orbitals)

    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {"kind": "delta", "strength": self.strength, "direction": np.asarray(self.direction).tolist()}


class ElectricField(ABC):
    """A field that depends on time only."""

    @abstractmethod
    def at(self, time: float) -> RealArray:
        """The field [3] at a time."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""


@dataclass(frozen=True)
class NoField(ElectricField):
    """Free motion."""

    def at(self, time: float) -> RealArray:
        """Zero."""
        return np.zeros(3)

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {"kind": "none"}


class Envelope(ABC):
    """The slow shape of a pulse, between 0 and 1."""

    center: float

    @abstractmethod
    def at(self, time: float) -> float:
        """The value at a time."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""


@dataclass(frozen=True)
class GaussianEnvelope(Envelope):
    """``exp(-(t - center)^2 / (2 width^2))``.

    Attributes:
        center: time of the maximum.
        width: standard deviation; the field (not the intensity) falls to half at 1.177 widths.
    """

    center: float
    width: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "center", finite_number("pulse center", self.center))
        object.__setattr__(self, "width", positive_number("pulse width", self.width))

    def at(self, time: float) -> float:
        """See the base class."""
        return float(np.exp(-0.5 * ((time - self.center) / self.width) ** 2))

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {"kind": "gaussian", "center": self.center, "width": self.width}


@dataclass(frozen=True)
class SinSquaredEnvelope(Envelope):
    """``sin^2(pi (t - start) / duration)`` from ``start`` to ``start + duration``, zero outside.

    Attributes:
        start: when the pulse begins.
        duration: from zero to zero.
    """

    start: float
    duration: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", finite_number("pulse start", self.start))
        object.__setattr__(self, "duration", positive_number("pulse duration", self.duration))

    @property
    def center(self) -> float:  # type: ignore[override]
        """Time of the maximum."""
        return self.start + 0.5 * self.duration

    def at(self, time: float) -> float:
        """See the base class."""
        phase = (time - self.start) / self.duration
        return float(np.sin(np.pi * phase) ** 2) if 0.0 < phase < 1.0 else 0.0

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {"kind": "sin_squared", "start": self.start, "duration": self.duration}


@dataclass(frozen=True)
class Pulse(ElectricField):
    """``amplitude direction envelope(t) cos(frequency (t - center) + phase)``, linearly polarised.

    Without a frequency it is a pulse of the envelope's own shape; with the frequency of an excitation it is resonant.

    Attributes:
        amplitude: largest field; may be negative.
        envelope: shape in time.
        direction: polarisation, any length but zero; normalised.
        frequency: of the carrier, not negative.
        phase: of the carrier at the center of the envelope, radians.
    """

    amplitude: float
    envelope: Envelope
    direction: ArrayLike = (0.0, 0.0, 1.0)
    frequency: float = 0.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        store = object.__setattr__
        store(self, "amplitude", finite_number("pulse amplitude", self.amplitude))
        if not isinstance(self.envelope, Envelope):
            raise ElectronDynamicsError(
                f"envelope must be a GaussianEnvelope or SinSquaredEnvelope, got {self.envelope!r}"
            )
        store(self, "direction", tuple(unit_vector("field direction", self.direction).tolist()))
        store(self, "frequency", finite_number("pulse frequency", self.frequency))
        if self.frequency < 0.0:
            raise ElectronDynamicsError(f"pulse frequency must not be negative, got {self.frequency}")
        store(self, "phase", finite_number("pulse phase", self.phase))

    def at(self, time: float) -> RealArray:
        """See the base class."""
        carrier = np.cos(self.frequency * (time - self.envelope.center) + self.phase)
        return self.amplitude * self.envelope.at(time) * carrier * np.asarray(self.direction, dtype=np.float64)

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {
            "kind": "pulse",
            "amplitude": self.amplitude,
            "envelope": self.envelope.describe(),
            "direction": np.asarray(self.direction).tolist(),
            "frequency": self.frequency,
            "phase": self.phase,
        }


@dataclass(frozen=True)
class UserField(ElectricField):
    """A field of the user's own.

    Attributes:
        function: from time to the field [3], both in atomic units. It is called at times between steps too, and must
            give the same value whenever it is asked for the same time.
        name: recorded in trajectory files; a continued run must use the same.
    """

    function: Callable[[float], ArrayLike] = field(compare=False)
    name: str

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ElectronDynamicsError(f"a user-defined field must be a function of time, got {self.function!r}")
        if not str(self.name).strip():
            raise ElectronDynamicsError("a user-defined field needs a name, so that a trajectory file can tell it")

    def at(self, time: float) -> RealArray:
        """See the base class.

        Raises:
            ElectronDynamicsError: the function did not give three finite numbers.
        """
        value = self.function(time)
        try:
            vector = np.array(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ElectronDynamicsError(f"field {self.name!r} gave {value!r} at t = {time}, not 3 numbers") from error
        if vector.shape != (3,) or not np.all(np.isfinite(vector)):
            raise ElectronDynamicsError(f"field {self.name!r} gave {value!r} at t = {time}, expected 3 finite numbers")
        return vector

    def describe(self) -> dict[str, Any]:
        """See the base class."""
        return {"kind": "user", "name": self.name}
