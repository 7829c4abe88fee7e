"""The calculators of ASE by name: a few of ASE's own, those that a script registers, those of installed packages.

Settings of an engine come from files too, and no file may run a program that the user has not named. Of ASE's own
calculators many start programs that their parameters name, or read and write files. So only those that do neither are
there by themselves; every other has to be made known to the process, by `register_calculator` or by an entry point of
the group ``openmmkstep.ase_calculators`` of an installed package.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from openmmkstep import offers
from openmmkstep.engines.protocol import EngineError

ENTRY_POINT_GROUP = "openmmkstep.ase_calculators"

_HARMLESS: dict[str, frozenset[str]] = {
    "emt": frozenset({"asap_cutoff"}),
    "lj": frozenset({"sigma", "epsilon", "rc", "ro", "smooth"}),
    "morse": frozenset({"epsilon", "rho0", "r0", "rcut1", "rcut2"}),
}
"""ASE's own calculators that compute in this process from these parameters alone."""
_NEVER = ("command", "profile", "restart", "parameters", "atoms")
"""Parameters that start programs, or read files, in any of ASE's own calculators."""

CalculatorFactory = Callable[..., Any]
"""Makes a new calculator of ASE of parameters given by keyword; never one that it has given away before."""

_registered: dict[str, CalculatorFactory] = {}


@dataclass(frozen=True)
class KnownCalculator:
    """A calculator that may be made.

    Attributes:
        name: Its name in lower case.
        factory: Makes one.
        allowed: The parameters that it may be given; None for all but those that start programs.
    """

    name: str
    factory: CalculatorFactory
    allowed: frozenset[str] | None = None

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that it has not, or that no file may give.

        Raises:
            EngineError: The message names the parameter, and the remedy.
        """
        for name in parameters:
            if self.allowed is not None and name not in self.allowed:
                raise EngineError(
                    f"the calculator {self.name!r} takes the parameters {', '.join(sorted(self.allowed))} here, not "
                    f"{name!r}"
                )
            if name in _NEVER:
                raise EngineError(
                    f"the parameter {name!r} is not taken from settings, which come from files too: register the "
                    f"calculator by a function that gives it, register_calculator({self.name!r}, lambda **p: ...)"
                )

    def takes_by_name(self, *arguments: str) -> bool:
        """Whether the factory names all of these arguments."""
        try:
            return set(arguments) <= set(inspect.signature(self.factory).parameters)
        except (TypeError, ValueError):
            return False

    def make(self, parameters: Mapping[str, Any]) -> Any:
        """A new calculator.

        Raises:
            EngineError: The factory fails.
        """
        try:
            return self.factory(**parameters)
        except Exception as error:
            # Whatever a foreign program does when it is set up.
            raise EngineError(
                f"the calculator {self.name!r} cannot be made of {dict(parameters)}: {type(error).__name__}: {error}"
            ) from error


def register_calculator(name: str, factory: CalculatorFactory | None = None) -> None:
    """Make a calculator known for the rest of the process, under a name that scripts and files may use.

    Whoever registers one lets files choose its parameters.

    Args:
        name: Its name; upper and lower case are the same.
        factory: A class, or a function, that makes a new calculator of keyword arguments each time. None for ASE's own
            calculator of that name, such as ``"orca"``.

    Raises:
        EngineError: The name is empty, the factory cannot be called, or ASE has no calculator of that name.
    """
    key = _key(name)
    if factory is None:
        factory = _ases_own(key)
    if not callable(factory):
        raise EngineError(f"the factory of calculator {name!r} must be a class or function, got {factory!r}")
    _registered[key] = factory


def names() -> list[str]:
    """Names of the calculators that may be made, sorted."""
    return sorted({*_HARMLESS, *_registered, *_offered()})


def registered_names() -> frozenset[str]:
    """The names, in lower case, of those that were registered by a call, which no other process knows of."""
    return frozenset(_registered)


def find(name: str) -> KnownCalculator:
    """A calculator by name.

    Raises:
        EngineError: There is none of that name here; or its package cannot be loaded.
    """
    key = _key(name)
    if key in _registered:
        return KnownCalculator(key, _registered[key])
    offered = _offered().get(key)
    if offered:
        try:
            factory = offers.load(f"the calculator {key!r}", offered)
        except offers.OfferError as error:
            raise EngineError(str(error)) from error
        if not callable(factory):
            raise EngineError(f"the calculator {key!r} of {offers.named(offered)} is neither a class nor a function")
        return KnownCalculator(key, factory)
    if key in _HARMLESS:
        return KnownCalculator(key, _ases_own(key), _HARMLESS[key])
    raise EngineError(_unknown(key))


def _unknown(key: str) -> str:
    from ase.calculators.calculator import names as in_ase

    if key in {name.lower() for name in in_ase}:
        return (
            f"the calculator {key!r} of ASE starts programs or reads files, so that a file could run what it likes "
            f"with it: let the script say openmmkstep.engines.ase.calculators.register_calculator({key!r}) first"
        )
    near = difflib.get_close_matches(key, names(), n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return (
        f"no calculator {key!r} is known in this process{hint} There are: {', '.join(names())}. Register another by "
        f"openmmkstep.engines.ase.calculators.register_calculator({key!r}, its class)"
    )


def _ases_own(key: str) -> CalculatorFactory:
    from ase.calculators.calculator import get_calculator_class
    from ase.calculators.calculator import names as in_ase

    own = {name.lower(): name for name in in_ase}
    if key not in own:
        raise EngineError(f"ASE has no calculator {key!r}: give its class, or a function that makes one")
    try:
        factory: CalculatorFactory = get_calculator_class(own[key])
    except (ImportError, AttributeError) as error:
        raise EngineError(f"the calculator {key!r} of ASE cannot be imported: {error}") from error
    return factory


def _key(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise EngineError(f"the name of a calculator must be a text, got {name!r}")
    return name.strip().lower()


def _offered() -> dict[str, list[EntryPoint]]:
    return offers.by_name(entry_points(group=ENTRY_POINT_GROUP), key=lambda name: name.strip().lower())
