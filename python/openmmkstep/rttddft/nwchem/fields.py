"""Electric fields as NWChem understands them, and what its electrons feel.

The sign is the one of this package and of text books: a field pushes positive charges forward, an electron has the
potential energy ``+r.E``. The shape in time needs care. NWChem's Magnus propagator takes the mean of the Fock matrices
at both ends of a step, field included. What the electrons feel is therefore the straight-line interpolation of the
field between the times that are multiples of dt. A "delta" is ``max`` at the step next to its center and zero at all
others: a triangle of area ``max dt``, of which only the half after t = 0 exists when it is centered there. So

- **a delta of "max" E at t = 0 has the impulse E dt/2**, and E dt at any other multiple of dt;
- **it is spread evenly over the first step**, and acts like an instantaneous kick at dt/2, not at zero. For water
  (HF/6-31G, dt = 0.2) the dipole after an instantaneous kick at zero is off by 11 % of the response, that after a kick
  at dt/2 by 1 %.

``field_of`` gives the field that electrons feel. With it, densities agree with NWChem's to better than 1e-9.

All quantities are in atomic units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NWChemInputError

RealArray = NDArray[np.float64]

_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class NWChemField(ABC):
    """A field of NWChem's input, along one axis.

    Attributes:
        maximum: NWChem's ``max``; may be negative.
        polarization: ``x``, ``y`` or ``z``.
    """

    maximum: float
    polarization: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "maximum", finite("field maximum", self.maximum))
        axis = str(self.polarization).lower()
        if axis not in _AXES:
            raise NWChemInputError(
                f"NWChem knows the polarizations x, y and z, got {self.polarization!r}: "
                "write any other direction as one field for each axis"
            )
        object.__setattr__(self, "polarization", axis)

    @abstractmethod
    def value_at(self, time: float, time_step: float) -> float:
        """The field at a multiple of the time step."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The lines of the input block besides maximum and polarization."""

    def vector_at(self, time: float, time_step: float) -> RealArray:
        """The field [3] at a multiple of the time step."""
        vector = np.zeros(3)
        vector[_AXES.index(self.polarization)] = self.value_at(time, time_step)
        return vector


@dataclass(frozen=True)
class NWChemDelta(NWChemField):
    """NWChem's ``delta``.

    Attributes:
        center: time of the kick; the step next to it is taken.
    """

    center: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "center", not_negative("field center", self.center))

    def value_at(self, time: float, time_step: float) -> float:
        """See the base class."""
        return self.maximum if abs(time - self.center) < 0.5 * time_step else 0.0

    def lines(self) -> list[str]:
        """See the base class."""
        return ["type delta", f"center {number(self.center)}"]


@dataclass(frozen=True)
class NWChemGaussian(NWChemField):
    """NWChem's ``gaussian``: ``max sin(frequency t + phase) exp(-(t - center)^2 / (2 width^2))``.

    The carrier is a sine of the absolute time; a cosine about the center needs ``phase = pi/2 - frequency center``.

    Attributes:
        center: time of the maximum of the envelope.
        width: standard deviation of the envelope.
        frequency: of the carrier.
        phase: of the carrier, radians.
    """

    center: float
    width: float
    frequency: float
    phase: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store = object.__setattr__
        store(self, "center", not_negative("field center", self.center))
        store(self, "width", positive("field width", self.width))
        store(self, "frequency", not_negative("field frequency", self.frequency))
        store(self, "phase", finite("field phase", self.phase))

    def value_at(self, time: float, time_step: float) -> float:
        """See the base class."""
        envelope = math.exp(-0.5 * ((time - self.center) / self.width) ** 2)
        return self.maximum * math.sin(self.frequency * time + self.phase) * envelope

    def lines(self) -> list[str]:
        """See the base class."""
        return [
            "type gaussian",
            f"center {number(self.center)}",
            f"width {number(self.width)}",
            f"frequency {number(self.frequency)}",
            # NWChem leaves a phase that is not given undefined.
            f"phase {number(self.phase)}",
        ]


def delta_for_impulse(impulse: ArrayLike, time_step: float) -> tuple[NWChemDelta, ...]:
    """The kicks at t = 0 that give an impulse.

    Args:
        impulse: integral of the field over time [3]; electrons gain the momentum ``-impulse``.
        time_step: of the propagation that they are for.

    Returns:
        one kick for every axis along which there is an impulse.

    Raises:
        NWChemInputError: not three finite numbers, or all of them zero.
    """
    vector = np.asarray(impulse, dtype=np.float64)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)) or not np.any(vector):
        raise NWChemInputError(f"an impulse is three finite numbers, not all zero, got {impulse!r}")
    step = positive("time step", time_step)
    return tuple(
        NWChemDelta(2.0 * float(part) / step, axis) for part, axis in zip(vector, _AXES, strict=True) if part != 0.0
    )


def impulse_of(fields: Sequence[NWChemField], time_step: float, steps: int) -> RealArray:
    """Integral over time [3] of the field that electrons feel in NWChem.

    Args:
        fields: of the input.
        time_step: dt of the propagation.
        steps: of the propagation.
    """
    values = _on_steps(fields, time_step, steps)
    return np.asarray(0.5 * time_step * (values[1:] + values[:-1]).sum(axis=0))


def field_of(fields: Sequence[NWChemField], time_step: float) -> Callable[[float], RealArray]:
    """The field that electrons feel in NWChem, as a function of time.

    With it a Magnus propagator of second order that takes the field at the middle of a step does what NWChem does.

    Args:
        fields: of the input.
        time_step: dt of the propagation.

    Returns:
        a function from time to the field [3]; zero before t = 0.
    """
    step = positive("time step", time_step)

    def field(time: float) -> RealArray:
        if time < 0.0:
            return np.zeros(3)
        index = math.floor(time / step)
        fraction = time / step - index
        before, after = (
            sum((one.vector_at(place * step, step) for one in fields), np.zeros(3)) for place in (index, index + 1)
        )
        return (1.0 - fraction) * before + fraction * after

    return field


def _on_steps(fields: Sequence[NWChemField], time_step: float, steps: int) -> RealArray:
    times = time_step * np.arange(steps + 1)
    return np.array([sum((one.vector_at(float(t), time_step) for one in fields), np.zeros(3)) for t in times])


def finite(name: str, value: float) -> float:
    """A finite number, or NWChemInputError."""
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise NWChemInputError(f"{name} must be a number, got {value!r}") from error
    if not math.isfinite(result):
        raise NWChemInputError(f"{name} must be a finite number, got {value!r}")
    return result


def positive(name: str, value: float) -> float:
    """A positive number, or NWChemInputError."""
    result = finite(name, value)
    if result <= 0.0:
        raise NWChemInputError(f"{name} must be positive, got {value!r}")
    return result


def not_negative(name: str, value: float) -> float:
    """A number that is zero or positive, or NWChemInputError."""
    result = finite(name, value)
    if result < 0.0:
        raise NWChemInputError(f"{name} must not be negative, got {value!r}")
    return result


def number(value: float) -> str:
    """A number as NWChem reads it, without loss."""
    text = f"{value:.17g}"
    for digits in range(1, 17):
        short = f"{value:.{digits}g}"
        if float(short) == value:
            text = short
            break
    mantissa, _, exponent = text.partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return mantissa + (f"d{int(exponent)}" if exponent else "")
