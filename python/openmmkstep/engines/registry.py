"""The QM engines by name: those inside the plugin, those that a script registers, those of installed packages.

A package offers an engine by an entry point of the group ``openmmkstep.engines``, a script by `register`. A file (the
XML form of a System, a configuration) names an engine and gives its settings as plain JSON data; nothing is imported
for it but what the user's own environment has registered under that name.
"""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from openmmkstep import offers

from .analytic import Analytic
from .checked import CheckedEngine, description_of, errors_of
from .gfn_ff import GFNFF
from .protocol import EngineDescription, EngineError, QMEngine
from .result_cache import CachedEngine, cache_in_use
from .xtb import XTB

ENTRY_POINT_GROUP = "openmmkstep.engines"

EngineFactory = Callable[..., EngineDescription]
"""Makes an engine of its settings, given by keyword; it says by its parameters which there are."""

_IN_THE_PLUGIN: dict[str, EngineFactory] = {
    "gfn2-xtb": XTB,
    "gfn1-xtb": XTB,
    "gfn-ff": GFNFF,
    "test-analytic": Analytic,
}
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
            with errors_of(self.name):
                self._description.check([int(number) for number in numbers], charge, multiplicity)

    def check_charges(self, fading: bool) -> None:
        """Refuse point charges around the molecule, if the engine cannot take them.

        Args:
            fading: Whether they are switched off with the distance.

        Raises:
            EngineError: The engine takes none, or none that fade; the message has the remedy.
        """
        ask = getattr(self._description, "check_charges", None)
        if ask is not None:
            with errors_of(self.name):
                ask(fading)

    def describe(self) -> dict[str, Any]:
        """The level of theory: the name, and all settings that change results."""
        known = self._description
        settings = self.settings if known is None else description_of(self.name, known)
        return {"method": self.name, **settings}


def names() -> list[str]:
    """Names of all engines but those for tests, sorted: in the plugin, registered by a call, in installed packages."""
    public = {name for name in _IN_THE_PLUGIN if not name.startswith(_FOR_TESTS)}
    return sorted({*public, *names_in_python()})


def names_in_python() -> list[str]:
    """The names of the engines that create_engine() makes, sorted."""
    return sorted({*_registered, *_offered()})


def registered_names() -> frozenset[str]:
    """The names, in lower case, of the engines that were registered by a call, which no other process knows of."""
    return frozenset(_registered)


def problems() -> dict[str, str]:
    """What is wrong with the engines of installed packages, by name; each of them is loaded for this."""
    found = {}
    for key in _offered():
        try:
            _factory(key)
        except EngineError as error:
            found[key] = str(error)
    return found


def canonical_name(name: str, others: Collection[str] = ()) -> str:
    """A name of an engine as it is stored and compared: that of ``others`` which differs by case at most.

    Args:
        name: Name of an engine, which need not be known yet; it is in lower case then.
        others: Names of engines that are known.

    Raises:
        EngineError: The name is empty, or no text.
    """
    key = _key(name)
    return next((other for other in others if other.lower() == key), key)


def register(name: str, factory: Callable[..., QMEngine]) -> None:
    """Make an engine known for the rest of the process, instead of any that had the name before or a package offers.

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
        native = canonical_name(name, others)
        if native not in others:
            known = sorted({*names(), *others})
            raise EngineError(f"unknown QM method {name!r}{_hint(name, known)}There are: {_list(known)}")
        return EngineSpecification(native, _plain(native, settings))
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
        known = names_in_python()
        raise EngineError(
            f"no engine {name!r} is registered in this process{_hint(name, known)}There are: {_list(known)}. "
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
    checked, cache = CheckedEngine(key, cast(QMEngine, engine), len(numbers)), cache_in_use()
    return checked if cache is None else CachedEngine(key, checked, cache, (numbers, charge, multiplicity))


def _key(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise EngineError(f"the name of a QM method must be a text, got {name!r}: use one of {', '.join(names())}")
    return name.strip().lower()


def _offered() -> dict[str, list[EntryPoint]]:
    return offers.by_name(entry_points(group=ENTRY_POINT_GROUP), key=lambda name: name.strip().lower())


def _factory(key: str) -> EngineFactory | None:
    offered = _offered().get(key, [])
    if key in _IN_THE_PLUGIN:
        if offered:
            raise EngineError(
                f"the engine {key!r} is one of the package openmm-kstep, and another one is offered under the same "
                f"name by {offers.named(offered)}: uninstall that package, or have its engine renamed"
            )
        return _IN_THE_PLUGIN[key]
    if key in _registered:
        return _registered[key]
    if not offered:
        return None
    what = f"the engine {key!r}"
    try:
        factory = offers.load(what, offered)
    except offers.OfferError as error:
        raise EngineError(str(error)) from error
    if not callable(factory):
        raise EngineError(
            f"{what} of {offers.named(offered)} is neither a class nor a function, but {factory!r}: repair or "
            "uninstall that package"
        )
    return cast(EngineFactory, factory)


def _made(key: str, factory: EngineFactory, settings: Mapping[str, Any]) -> tuple[dict[str, Any], EngineDescription]:
    """All settings with their values, and the engine made of them."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError) as error:
        raise EngineError(f"{key}: the settings of {factory!r} cannot be told: {error}") from error
    known = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in settings:
        if name not in known and not takes_any:
            raise EngineError(f"{key} has no setting {name!r}{_hint(name, known)}There are: {_list(known)}")
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in settings:
            raise EngineError(f"{key} needs the setting {name!r}")
    values = _plain(key, {**known, **settings})
    with errors_of(key):
        engine = factory(**values)
    needed = ("check", "describe") if key in _IN_THE_PLUGIN else ("check", "describe", "compute", "reset")
    missing = [method for method in needed if not callable(getattr(engine, method, None))]
    if missing:
        raise EngineError(f"{key}: {type(engine).__name__} has no method {', '.join(missing)}")
    description_of(key, engine)
    return values, engine


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name).lower(), list(known), n=1)
    return f": did you mean {near[0]!r}? " if near else ". "


def _list(known: Iterable[str]) -> str:
    return ", ".join(known) or "none"


def _plain(key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back, so that an engine is made of the same values from a script and from a file."""
    try:
        values: dict[str, Any] = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EngineError(f"the settings of engine {key!r} must be plain JSON data: {error}") from error
    return values
