"""What a level is made of: archives, QM methods, fitted and force-field potentials, any OpenMM forces, and their sums.

Every level lies in one force group, so that forces put there together are summed by OpenMM itself.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import openmm
from openmm import app

from openmmkstep.engines.protocol import EngineError
from openmmkstep.engines.registry import EngineSpecification, specification
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.surrogates.bonded_fit.model import BondedFit, BondedFitError
from openmmkstep.surrogates.suitability import read_surrogate_contract, refuse_unsuitable_surrogate

from .embedding.charges import EmbeddingSettings, SeenCharges
from .forces import create_qm_force, create_surrogate_force
from .levels.settings import LevelError
from .region import QMRegion

FORCE_FIELD = "force-field"
"""As a part of a level: the region's own force-field terms, in vacuum."""

_NO_POTENTIALS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.RPMDMonteCarloBarostat,
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
)
"""Forces that change the box or velocities, and do nothing to the energy."""

LevelArgument = Any
"""What a user may give for a level; see `level_of`."""


@dataclass(frozen=True)
class LevelCase:
    """The region that parts of levels are made for.

    Attributes:
        region: The region.
        charges: The charges that it is embedded in.
        settings: How they fade.
        region_forces: Makes the force field's own terms inside the region.
        topology: Topology of the system.
        far_field: The FarFieldForce whose field acts on the QM method itself, if it does.
        threads: Threads of archives.
        compiled: Whether archives are compiled for this machine.
    """

    region: QMRegion
    charges: SeenCharges
    settings: EmbeddingSettings
    region_forces: Callable[[], list[openmm.Force]]
    topology: app.Topology
    far_field: openmm.Force | None = None
    threads: int = 1
    compiled: bool = False


class LevelPart(ABC):
    """A part of a level.

    Attributes:
        describes_the_region: Whether it is a description of the region by itself, as methods are and differences
            between two methods are not; None where that is not known.
        sees_charges: Whether it can describe a region in the field of MM charges.
    """

    describes_the_region: ClassVar[bool | None] = True
    sees_charges: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it."""

    @abstractmethod
    def create(self, case: LevelCase) -> list[openmm.Force]:
        """Its forces."""

    @property
    def method(self) -> str | None:
        """Name of the QM method that it is; None if it is none."""
        return None

    @property
    def minus(self) -> str | None:
        """Name of the method that it is a difference from; None if it is no difference."""
        return None

    @property
    def above(self) -> str | None:
        """Name of the method that it makes of the one which it is a difference from; None if it is no difference."""
        return None

    @abstractmethod
    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """Refuse what it cannot describe.

        Args:
            region: The region.
            embedded: Whether the region is in the field of MM charges.
            method: Name of the QM method above; None if there is none.

        Raises:
            ValueError: Of the kind that belongs to the part.
        """


@dataclass(frozen=True)
class EnginePart(LevelPart):
    """A QM method, in the same MM charges as the QM level."""

    engine: EngineSpecification

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def method(self) -> str | None:
        """The engine's name."""
        return self.engine.name

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """See LevelPart. Raises EngineError."""
        self.engine.check(region.site_numbers, region.charge, region.multiplicity)

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """A QMMMForce."""
        return [create_qm_force(self.engine, case.region, case.charges, case.settings, case.far_field)]


@dataclass(frozen=True)
class ArchivePart(LevelPart):
    """An exported potential."""

    path: str | os.PathLike[str]

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.path).name

    @property
    def minus(self) -> str | None:
        """The method that the archive's labels are a difference from."""
        return _difference(read_surrogate_contract(self.path).level_of_theory)[1]

    @property
    def above(self) -> str | None:
        """The method that the archive's labels lead to, if they are differences."""
        return _difference(read_surrogate_contract(self.path).level_of_theory)[0]

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """See LevelPart. Raises SurrogateError."""
        numbers = region.site_numbers.tolist()
        refuse_unsuitable_surrogate(self.path, numbers, region.charge, region.multiplicity, method, embedded)

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """A TorchScriptForce."""
        force = create_surrogate_force(self.path, case.region, case.charges, case.settings, case.threads, case.compiled)
        return [force]


@dataclass(frozen=True)
class BondedFitPart(LevelPart):
    """A fitted bonded potential, as OpenMM's own forces."""

    path: str | os.PathLike[str]
    sees_charges: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.path).name

    @property
    def minus(self) -> str | None:
        """The method that the fitted labels are a difference from."""
        return _difference(BondedFit.read(self.path).about.get("level_of_theory"))[1]

    @property
    def above(self) -> str | None:
        """The method that the fitted labels lead to, if they are differences."""
        return _difference(BondedFit.read(self.path).about.get("level_of_theory"))[0]

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """See LevelPart. Raises BondedFitError."""
        fit = BondedFit.read(self.path)
        if fit.numbers != tuple(int(number) for number in region.site_numbers):
            raise BondedFitError(
                f"{self.path} was fitted for atomic numbers {list(fit.numbers)}, the QM region has "
                f"{region.site_numbers.tolist()}: give the atoms in the same order, or fit one for this region"
            )

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """Bonds, angles, dihedrals and pairs."""
        return BondedFit.read(self.path).create_forces(case.region.particles, case.region.links)


class ForceFieldPart(LevelPart):
    """The region's own force-field terms, in vacuum."""

    name = FORCE_FIELD
    sees_charges: ClassVar[bool] = False

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """Any region that has a force field."""

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """The force field's terms."""
        return case.region_forces()


@dataclass(frozen=True)
class ForcePart(LevelPart):
    """A force of the user's, of which a copy is taken."""

    force: openmm.Force
    describes_the_region: ClassVar[bool | None] = None
    sees_charges: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The force's name."""
        return str(self.force.getName())

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """Nothing that could be told of any force."""

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """A copy of the force."""
        return [openmm.XmlSerializer.clone(self.force)]


@dataclass(frozen=True)
class MLPotentialPart(LevelPart):
    """A potential of openmm-ml, as it describes a region in vacuum."""

    potential: Any
    sees_charges: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Its class, which is all that openmm-ml tells."""
        return type(self.potential).__name__

    def check(self, region: QMRegion, embedded: bool, method: str | None) -> None:
        """See LevelPart. Raises LevelError."""
        if region.links:
            raise LevelError(
                f"the region cuts a bond, and {self.name} of openmm-ml puts its link atoms elsewhere than the other "
                "levels: take a region that cuts none, or another method"
            )

    def create(self, case: LevelCase) -> list[openmm.Force]:
        """What openmm-ml adds to a System that has no forces."""
        alone = openmm.System()
        for _ in case.topology.atoms():
            alone.addParticle(1.0)
        atoms = [int(particle) for particle in case.region.particles]
        mixed = self.potential.createMixedSystem(case.topology, alone, atoms, removeConstraints=False)
        return [openmm.XmlSerializer.clone(force) for force in mixed.getForces()]


def _difference(theory: Any) -> tuple[str | None, str | None]:
    """Of which methods a level of theory is the difference, above and below; None where it is none."""
    below = theory.get("minus") if isinstance(theory, dict) else None
    if not isinstance(below, dict) or "method" not in below:
        return None, None
    return (str(theory["method"]) if "method" in theory else None), str(below["method"])


def level_of(value: LevelArgument, archives_by_default: bool = True) -> tuple[LevelPart, ...]:
    """The parts of a level from what a user may give for it.

    Args:
        value: A part or a sequence of parts, which are summed; None for no level. A part is the file of an archive or
            of a bonded fit, the name of a QM method, "force-field", an openmm.Force, a QMMMPotential, an MLPotential of
            openmm-ml, or a LevelPart.
        archives_by_default: Whether a file that cannot be read is taken for an archive; else for a bonded fit.

    Raises:
        LevelError: Something else; parts that do not make one description of the region.
        EngineError: A method that is there, but not with these settings.
        BondedFitError, SurrogateError: A file that is not what it should be.
    """
    if value is None:
        return ()
    single = isinstance(value, (str, os.PathLike, openmm.Force, LevelPart)) or not isinstance(value, Sequence)
    values = [value] if single else list(value)
    parts = tuple(part for item in values for part in _parts(item, archives_by_default))
    if not parts:
        raise LevelError("a level needs at least one part: give an archive, a QM method or a force, or None")
    _check_sum(parts)
    return parts


def _parts(value: Any, archives_by_default: bool) -> Sequence[LevelPart]:
    level = getattr(value, "level", None)
    if isinstance(level, tuple) and all(isinstance(part, LevelPart) for part in level):
        return level
    return (_part(value, archives_by_default),)


def _part(value: Any, archives_by_default: bool) -> LevelPart:
    if isinstance(value, LevelPart):
        return value
    if isinstance(value, openmm.Force):
        if isinstance(value, _NO_POTENTIALS):
            raise LevelError(
                f"{type(value).__name__} has no potential energy and cannot be a level or a part of one: add it to the "
                "mixed system, mixed.addForce(...), where the integrator lets it act once per outer step"
            )
        return ForcePart(value)
    if hasattr(value, "createMixedSystem"):
        return MLPotentialPart(value)
    if not isinstance(value, (str, os.PathLike)):
        raise LevelError(
            f"{value!r} cannot be a level: give the file of an archive or of a bonded fit, the name of a QM method, "
            f"{FORCE_FIELD!r}, an openmm.Force, a QMMMPotential or an MLPotential, or a list of them"
        )
    if value == FORCE_FIELD:
        return ForceFieldPart()
    file = Path(value)
    if not file.is_file() and isinstance(value, str) and not file.suffix and file.name == value:
        try:
            return EnginePart(specification(value, {}, others=QMMMForce.getEngines()))
        except EngineError as error:
            raise LevelError(f"{value!r} is neither a file nor a QM method: {error}") from error
    return ArchivePart(value) if _is_archive(file, archives_by_default) else BondedFitPart(value)


def _is_archive(file: Path, default: bool) -> bool:
    if not file.is_file():
        return {".pt": True, ".json": False}.get(file.suffix, default)
    with file.open("rb") as stream:
        start = stream.read(2)
    return {b"PK": True, b'{"': False}.get(start, default)


def _check_sum(parts: Sequence[LevelPart]) -> None:
    """Make sure that a sum is one description of the region, and differences are added to what they belong to."""
    below = [(part, part.minus) for part in parts]
    alone = [part for part, method in below if method is None and part.describes_the_region]
    unknown = [part for part in parts if part.describes_the_region is None]
    if len(alone) > 1:
        raise LevelError(
            f"{alone[0].name} and {alone[1].name} both describe the whole region, their sum would count it twice: sum "
            "a method and potentials trained on the difference from it"
        )
    methods = {part.method for part in alone if part.method is not None}
    corrected: dict[str, LevelPart] = {}
    for part, method in below:
        if method is not None and corrected.setdefault(method, part) is not part:
            raise LevelError(
                f"{corrected[method].name} and {part.name} are both differences from {method}, their sum would count "
                "what both know twice: give one of them"
            )
    # One difference may lead to the method from which the next is one.
    links = [(method, part.above) for part, method in below if method is not None and part.above is not None]
    for _ in links:
        methods |= {above for method, above in links if method in methods}
    for part, method in below:
        if method is None or unknown or method in methods:
            continue
        raise LevelError(
            f"{part.name} is a difference from {method} and must be added to it: give [{method!r}, {part.name!r}]"
        )
