"""An engine in Python as the plugin calls it: its errors name it, and its answers are what they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .protocol import EngineDescription, EngineError, Orbitals, QMEngine, QMOutput


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Give an engine's name to what goes wrong inside it; an interruption by the user is no failure of it."""
    try:
        yield
    except Exception as error:
        # An EngineError explains itself, the others need their type.
        text = str(error) or "without a message"
        separator = ": " if str(error) else " "
        explained = isinstance(error, EngineError) and str(error)
        raise EngineError(
            f"{name}: {text}" if explained else f"{name}: {type(error).__name__}{separator}{text}"
        ) from error


def description_of(name: str, engine: EngineDescription) -> dict[str, Any]:
    """What an engine says of its level of theory.

    Args:
        name: Name of the engine, for messages.
        engine: The engine.

    Raises:
        EngineError: It fails, or says what a file cannot hold.
    """
    with errors_of(name):
        described = engine.describe()
    if not isinstance(described, dict):
        raise EngineError(f"{name}: describe() must return a dict, got {type(described).__name__}")
    if "method" in described:
        raise EngineError(f"{name}: describe() must not use the key 'method', under which files keep the engine's name")
    try:
        same = json.loads(json.dumps(described, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EngineError(f"{name}: describe() must return plain JSON data: {error}") from error
    return dict(same)


class CheckedEngine:
    """An engine whose errors name it, and whose answers are finite, have the right shapes, and are in double precision.

    An array of another shape or type would be read wrongly.

    Attributes:
        engine: The engine itself.
    """

    def __init__(self, name: str, engine: QMEngine, atoms: int) -> None:
        self.engine = engine
        self._name = f"engine {name!r}"
        self._atoms = atoms

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take the molecule."""
        with errors_of(self._name):
            self.engine.check(numbers, charge, multiplicity)

    def describe(self) -> dict[str, Any]:
        """The settings that change results."""
        return description_of(self._name, self.engine)

    def reset(self) -> None:
        """Forget earlier calculations."""
        with errors_of(self._name):
            self.engine.reset()

    def memory(self) -> bytes:
        """What the next calculation starts from; an engine that cannot tell forgets it."""
        tell = getattr(self.engine, "memory", None)
        if tell is None:
            self.reset()
            return b""
        with errors_of(self._name):
            found = tell()
        if not isinstance(found, bytes):
            raise EngineError(f"{self._name}: memory() must return bytes, got {type(found).__name__}")
        return found

    def recall(self, memory: bytes) -> None:
        """Go on from what memory() gave; from nothing where the engine cannot use it."""
        self.reset()
        recall = getattr(self.engine, "recall", None)
        if not memory or recall is None:
            return
        try:
            with errors_of(self._name):
                recall(memory)
        except EngineError:
            # It saves iterations and changes no result.
            self.reset()

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        """Calculate energy and derivatives, in arrays that belong to nobody else."""
        needed = np.array(needs_potential, dtype=bool)
        with errors_of(self._name):
            output = self.engine.compute(positions, charge_positions, charges, needed.copy())
        if not isinstance(output, QMOutput):
            raise EngineError(f"{self._name}: compute() must return a QMOutput, got {type(output).__name__}")
        n, m = self._atoms, len(charges)
        return QMOutput(
            float(self._array("energy", output.energy, ())),
            self._array("gradient", output.gradient, (n, 3)),
            self._array("charge_gradient", output.charge_gradient, (m, 3)),
            self._array("potential_at_charges", output.potential_at_charges, (m,), needed),
            self._observable("atomic_charges", output.atomic_charges, (n,)),
            self._observable("dipole", output.dipole, (3,)),
            int(self._array("iterations", output.iterations, ())),
        )

    def orbitals(self) -> Orbitals | None:
        """The orbitals of the last calculation; None if there was none, or if the engine has none."""
        ask = getattr(self.engine, "orbitals", None)
        if ask is None:
            return None
        with errors_of(self._name):
            found = ask()
        if found is None:
            return None
        if not isinstance(found, Orbitals):
            raise EngineError(f"{self._name}: orbitals() must return Orbitals or None, got {type(found).__name__}")
        shape = np.shape(found.energies)
        if len(shape) != 2 or shape[0] not in (1, 2):
            raise EngineError(f"{self._name}: the orbital energies must have the shape [1 or 2, n], got {list(shape)}")
        return Orbitals(
            self._array("energies of orbitals", found.energies, shape),
            self._array("occupations of orbitals", found.occupations, shape),
        )

    def _observable(self, name: str, values: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.full(shape, np.nan) if values is None else self._array(name, values, shape)

    def _array(
        self, name: str, values: ArrayLike, shape: tuple[int, ...], read: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """An output, checked; ``read`` tells which of its entries anybody reads, by default all."""
        try:
            array = np.asarray(values)
        except (RuntimeError, TypeError, ValueError) as error:
            raise EngineError(f"{self._name}: {name} is no array: {error}") from error
        # Not what NumPy would make a number of: texts, None, complex numbers less their imaginary parts.
        if array.dtype.kind not in "fiu":
            raise EngineError(f"{self._name}: {name} must hold real numbers, got {array.dtype}")
        if array.shape != shape:
            wanted = f"have the shape {list(shape)}" if shape else "be one number"
            raise EngineError(f"{self._name}: {name} must {wanted}, got {list(array.shape)}")
        bad = np.argwhere(~np.isfinite(array) & (True if read is None else read))
        if len(bad):
            where = f" at {bad[0].tolist()}" if shape else ""
            raise EngineError(f"{self._name}: {name} is not finite, got {array[tuple(bad[0])]}{where}")
        return array.astype(np.float64, order="C")
