"""The QM engines by name: those inside the plugin, those that a script registers, those of installed packages.

A package offers an engine by an entry point of the group ``openmmkstep.engines``, a script by `register`. A file (the
XML form of a System, a configuration) names an engine and gives its settings as plain JSON data; nothing is imported
for it but what the user's own environment has registered under that name.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .analytic import Analytic
from .protocol import EngineDescription, EngineError, QMEngine, QMOutput
from .xtb import XTB

ENTRY_POINT_GROUP = "openmmkstep.engines"

EngineFactory = Callable[..., EngineDescription]
"""Makes an engine of its settings, given by keyword; it says by its parameters which there are."""

_IN_THE_PLUGIN: dict[str, EngineFactory] = {"gfn2-xtb": XTB, "gfn1-xtb": XTB, "test-analytic": Analytic}
_FOR_TESTS = "test-"
_registered: dict[str, Callable[..., QMEngine]] = {}


@dataclass(frozen=True)
class EngineSpecification:
    """An engine with settings that were checked, as set-up uses it.

    Attributes:
        name: Name of the engine in lower case.
        settings: All settings of the engine with their values, defaults included; plain JSON data.
    """

    name: str
    settings: dict[str, Any]
    _description: EngineDescription | None = field(default=None, repr=False, compare=False)

    def check(self, numbers: Iterable[int], charge: int, multiplicity: int) -> None:
        """Refuse a molecule that the engine does not cover.

        Args:
            numbers: Atomic numbers [n].
            charge: Total charge of the molecule, e.
            multiplicity: Spin multiplicity of the molecule.

        Raises:
            EngineError: Elements, charges or multiplicities that the engine does not cover.
        """
        if self._description is not None:
            try:
                self._description.check([int(number) for number in numbers], charge, multiplicity)
            except EngineError as error:
                raise EngineError(f"{self.name}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """The level of theory: the name, and all settings that change results."""
        settings = self.settings if self._description is None else self._description.describe()
        return {"method": self.name, **settings}


def names() -> list[str]:
    """Names of all engines but those for tests, sorted: in the plugin, registered by a call, in installed packages."""
    public = {name for name in _IN_THE_PLUGIN if not name.startswith(_FOR_TESTS)}
    return sorted({*public, *names_in_python()})


def names_in_python() -> list[str]:
    """The names of the engines that create_engine() makes, sorted."""
    return sorted({*_registered, *_offered()})


def register(name: str, factory: Callable[..., QMEngine]) -> None:
    """Make an engine known for the rest of the process.

    Args:
        name: Name under which scripts and files ask for the engine; upper and lower case are the same.
        factory: A function or class that takes the settings of the engine by keyword and returns a `QMEngine`. Every
            molecule and every Context gets an object of its own.

    Raises:
        EngineError: The name is empty or that of an engine of the plugin, or the factory cannot be called.
    """
    key = _key(name)
    if key in _IN_THE_PLUGIN:
        raise EngineError(f"{name!r} is an engine of the plugin: register yours under another name")
    if not callable(factory):
        raise EngineError(f"the factory of engine {name!r} must be a class or function, got {factory!r}")
    _registered[key] = factory


def specification(name: str, settings: Mapping[str, Any], others: Collection[str] = ()) -> EngineSpecification:
    """An engine with its settings, checked as far as that goes without a molecule.

    Args:
        name: Name of the engine; upper and lower case are the same.
        settings: Settings of the engine by its own names.
        others: Names of engines that only the plugin knows, which then checks their settings itself.

    Raises:
        EngineError: An unknown engine, unknown settings, or values that the engine refuses.
    """
    key = _key(name)
    factory = _factory(key)
    if factory is None:
        if key not in others:
            raise EngineError(f"unknown QM method {name!r}: use one of {', '.join(sorted({*names(), *others}))}")
        return EngineSpecification(key, _plain(key, settings))
    return EngineSpecification(key, *_made(key, factory, settings))


def create_engine(name: str, settings: str, numbers: Sequence[int], charge: int, multiplicity: int) -> QMEngine:
    """An engine for one molecule, whose answers are checked; the plugin calls this.

    Args:
        name: Name of an engine in Python.
        settings: Settings of the engine, the text of a JSON object.
        numbers: Atomic numbers [n].
        charge: Total charge of the molecule, e.
        multiplicity: Spin multiplicity of the molecule.

    Raises:
        EngineError: An unknown engine, settings that it refuses, or a molecule that it does not cover.
    """
    key = _key(name)
    factory = None if key in _IN_THE_PLUGIN else _factory(key)
    if factory is None:
        raise EngineError(
            f"no engine {name!r} is registered in this process; there are {', '.join(names_in_python()) or 'none'}. "
            "Import the module that registers it, or install the package that offers it"
        )
    try:
        values = json.loads(settings)
    except json.JSONDecodeError as error:
        raise EngineError(f"the settings of engine {name!r} are not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise EngineError(f"the settings of engine {name!r} must be a JSON object, got {settings}")
    made, engine = _made(key, factory, values)
    EngineSpecification(key, made, engine).check(numbers, charge, multiplicity)
    return _CheckedEngine(key, cast(QMEngine, engine), len(numbers))


class _CheckedEngine:
    """An engine whose errors name it, and whose answers have the right shapes, in double precision.

    An array of another shape or type would be read wrongly.
    """

    def __init__(self, name: str, engine: QMEngine, atoms: int) -> None:
        self._name = name
        self._engine = engine
        self._atoms = atoms

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        self._engine.check(numbers, charge, multiplicity)

    def describe(self) -> dict[str, Any]:
        return self._engine.describe()

    def reset(self) -> None:
        with self._named():
            self._engine.reset()

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        with self._named():
            output = self._engine.compute(positions, charge_positions, charges, np.asarray(needs_potential, dtype=bool))
        if not isinstance(output, QMOutput):
            raise EngineError(f"engine {self._name!r}: compute() must return a QMOutput, got {type(output).__name__}")
        n, m = self._atoms, len(charges)
        return QMOutput(
            float(self._array("energy", output.energy, ())),
            self._array("gradient", output.gradient, (n, 3)),
            self._array("charge_gradient", output.charge_gradient, (m, 3)),
            self._array("potential_at_charges", output.potential_at_charges, (m,)),
            self._array("atomic_charges", output.atomic_charges, (n,)),
            self._array("dipole", output.dipole, (3,)),
            int(self._array("iterations", output.iterations, ())),
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give the engine's name to what goes wrong inside; an interruption by the user is no failure of it."""
        try:
            yield
        except EngineError as error:
            raise EngineError(f"engine {self._name!r}: {error}") from error
        except Exception as error:
            message = f": {error}" if str(error) else " without a message"
            raise EngineError(f"engine {self._name!r}: {type(error).__name__}{message}") from error

    def _array(self, name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
        try:
            array = np.asarray(values)
        except (RuntimeError, TypeError, ValueError) as error:
            raise EngineError(f"engine {self._name!r}: {name} is no array: {error}") from error
        # Not what NumPy would make a number of: texts, None, complex numbers less their imaginary parts.
        if array.dtype.kind not in "fiu":
            raise EngineError(f"engine {self._name!r}: {name} must hold real numbers, got {array.dtype}")
        if array.shape != shape:
            wanted = f"have the shape {list(shape)}" if shape else "be one number"
            raise EngineError(f"engine {self._name!r}: {name} must {wanted}, got {list(array.shape)}")
        return array.astype(np.float64, order="C")


def _key(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise EngineError(f"the name of a QM method must be a text, got {name!r}: use one of {', '.join(names())}")
    return name.strip().lower()


def _offered() -> dict[str, EntryPoint]:
    return {point.name.lower(): point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _factory(key: str) -> EngineFactory | None:
    if key in _IN_THE_PLUGIN:
        return _IN_THE_PLUGIN[key]
    if key in _registered:
        return _registered[key]
    point = _offered().get(key)
    if point is None:
        return None
    try:
        return cast(EngineFactory, point.load())
    except (ImportError, AttributeError) as error:
        raise EngineError(f"the engine {key!r} is offered as {point.value}, which cannot be loaded: {error}") from error


def _made(key: str, factory: EngineFactory, settings: Mapping[str, Any]) -> tuple[dict[str, Any], EngineDescription]:
    """All settings with their values, and the engine made of them."""
    parameters = inspect.signature(factory).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in settings:
        if name not in known and not takes_any:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else "."
            raise EngineError(f"{key} has no setting {name!r}{hint} There are: {', '.join(known) or 'none'}")
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in settings:
            raise EngineError(f"{key} needs the setting {name!r}")
    values = _plain(key, {**known, **settings})
    try:
        return values, factory(**values)
    except EngineError as error:
        raise EngineError(f"{key}: {error}") from error


def _plain(key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, so that an engine is made of the same values from a script and from a file."""
    try:
        values: dict[str, Any] = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EngineError(f"the settings of engine {key!r} must be plain JSON data: {error}") from error
    return values
