"""Labels of configurations of the pool: in a Context of this process, or in any process from a System on its way."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import openmm

from kstep_models.workers import InProcess, LocalProcesses, ProcessLostError, RunningScheduler, Workers, WorkersError
from openmmkstep.engines import registry
from openmmkstep.engines.ase import calculators
from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.qmmm_force import QMResult

from ..settings import LearningError
from .pool import Pool

# Engines keep what they had last, and not all of them may be called by two threads.
_ONE_AT_A_TIME = threading.Lock()


def workers_from(number: int, scheduler: str | None) -> Workers:
    """Who computes labels.

    Args:
        number: Of processes side by side; 1 for this one.
        scheduler: Address of a Dask scheduler instead; None for none.

    Raises:
        LearningError: Both are given, or no positive number.
    """
    if scheduler is not None:
        if number != 1:
            raise LearningError("give either workers, which are started here, or the scheduler of running ones")
        return RunningScheduler(scheduler)
    try:
        processes = LocalProcesses(number)
    except WorkersError as error:
        raise LearningError(str(error)) from error
    return processes if number > 1 else InProcess()


@dataclass(frozen=True)
class PackedSystem:
    """A mixed system as other processes get it, which know it by its digest when they get it again.

    Attributes:
        digest: SHA-256 of the system's XML.
        difference: Whether labels are differences, see `LabelSource`.
        registered: What of its engines this process knows by a call alone, in words.
        content: The XML, compressed.
    """

    digest: str
    difference: bool
    registered: tuple[str, ...]
    content: bytes = field(repr=False, compare=False)

    @classmethod
    def of(cls, system: openmm.System, difference: bool) -> PackedSystem:
        """Pack a system.

        Args:
            system: The mixed system.
            difference: Whether labels are differences.

        Raises:
            ValueError: The system has no QM level, or no method below it.
        """
        content = openmm.XmlSerializer.serialize(system).encode()
        engines = LabelSource(system, difference).engines
        registered = {
            *(f"the engine {name!r}" for name, _ in engines if name in registry.registered_names()),
            *(f"the calculator {name!r}" for name in _calculators(engines) if name in calculators.registered_names()),
        }
        return cls(hashlib.sha256(content).hexdigest(), difference, tuple(sorted(registered)), zlib.compress(content))

    def unpack(self) -> openmm.System:
        """The system.

        Raises:
            LearningError: This process does not know an engine of it, or knows another one by the name.
        """
        known = {f"the engine {name!r}" for name in registry.registered_names()}
        known |= {f"the calculator {name!r}" for name in calculators.registered_names()}
        unknown = [what for what in self.registered if what not in known]
        if unknown:
            raise LearningError(
                f"{unknown[0]} is registered by a call in the process that learns, which others do not make: offer it "
                "by an entry point of an installed package, register it where the script is imported, or set workers=1"
            )
        return openmm.XmlSerializer.deserialize(zlib.decompress(self.content).decode())


def label(configuration: Pool, context: openmm.Context, source: LabelSource) -> QMResult:
    """The label of a configuration, which is the only one of a pool, in a Context.

    Raises:
        openmm.OpenMMException: The calculation fails.
    """
    configuration.apply_to(context, 0)
    # Configurations differ as much as they can; and whoever labels one, after whatever others, the label is the same.
    source.forget(context)
    source.calculate(context)
    return source.read(context)


def label_anywhere(configuration: Pool, packed: PackedSystem) -> QMResult:
    """The label of a configuration, in whatever process; a system that it had last is not read again.

    Raises:
        LearningError: This process does not know the engine.
        openmm.OpenMMException: The calculation fails.
    """
    with _ONE_AT_A_TIME:
        return label(configuration, *_opened(packed))


@lru_cache(maxsize=1)
def _opened(packed: PackedSystem) -> tuple[openmm.Context, LabelSource]:
    system = packed.unpack()
    source = LabelSource(system, packed.difference)
    # Of all platforms the one of a single thread and no device; nothing but the engines computes here.
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform), source


def _calculators(engines: list[tuple[str, dict[str, object]]]) -> Iterator[str]:
    for name, settings in engines:
        if name == "ase":
            yield str(settings.get("calculator")).strip().lower()


@contextmanager
def errors_of(place: int) -> Iterator[None]:
    """Errors say which configuration they are of."""
    what = f"configuration {place} of the pool"
    try:
        yield
    except (LearningError, openmm.OpenMMException) as error:
        raise type(error)(f"{what}: {error}") from error
    except ProcessLostError as error:
        raise LearningError(f"{what}: {error}; labels that are done are kept, and learning again goes on") from error
    except Exception as error:
        error.add_note(f"in {what}")
        raise
