"""Decides for every force, term by term, what the force field made inside a region and what is a restraint or bias.

What the force field made inside the region is described by the QM level and is taken out; everything else stays. A term
is the force field's if its force is of a kind and name that force fields make, and it runs along bonds of the topology.
Where that leaves a doubt the user is asked, in an error that names the force: nothing is removed, and nothing of the
force field is left, on a guess.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import openmm

from ..molecule_graph import MoleculeGraph
from .bonded_terms import BondedForce, is_bonded
from .origins import Origin, has_charmm_impropers, is_charmm, origin
from .roles import Role, coordinate, role

ForceReference: TypeAlias = str | int | openmm.Force
"""How users name a force of a System: by its name, its index, or as the object that they added."""

_ALONG_BONDS = frozenset(Role) - {Role.SPANNED_ANGLE, Role.COMPACT}
# Of which a force field has one term each.
_SINGLE = frozenset({Role.BOND, Role.SPANNED_ANGLE, Role.ANGLE})
_REMEDY = (
    "Name each of them in keepForces, which keeps all of the force, or in removeForces, which takes its terms inside "
    "the region out: by its index, as the Force object, or by its name where no other force has it. A restraint or "
    "bias that has a force and a name of its own (setName()) is never in doubt"
)


class UnsupportedForceFieldError(ValueError):
    """The system has something that cannot be divided into region and surroundings without changing its meaning."""


class AmbiguousForceError(UnsupportedForceFieldError):
    """It cannot be told whether the force field made some terms inside the region, or the user."""


@dataclass
class RecognisedForce:
    """A force of the system with what the force field made inside the region.

    Attributes:
        force: The force, as it is in the system.
        origin: Who may have made it.
        bonded: Its terms, if it is a bonded force of which terms are in question.
        places: The terms inside the region that are the force field's, by their place in the list of terms.
        has_pairs: Whether it is a nonbonded force whose pairs inside the region are the force field's.
        spares_pairs: Whether it is a nonbonded force that does not act on pairs inside the region.
    """

    force: openmm.Force
    origin: Origin
    bonded: BondedForce | None = None
    places: list[int] = field(default_factory=list)
    has_pairs: bool = False
    spares_pairs: bool = False


def recognise_forces(
    system: openmm.System,
    members: Collection[int],
    graph: MoleculeGraph,
    keep: Iterable[ForceReference] = (),
    remove: Iterable[ForceReference] = (),
) -> list[RecognisedForce]:
    """What the force field made inside a region.

    Args:
        system: The system as it was made, with the restraints and biases that were added to it.
        members: Particle indices of the region, virtual sites included.
        graph: The molecular graph of the system.
        keep: Forces that stay as they are, whatever they are.
        remove: Forces whose terms inside the region are the force field's, wherever they run.

    Returns:
        One entry for each force of the system, in order.

    Raises:
        AmbiguousForceError: Terms inside the region that may be the force field's or the user's.
        UnsupportedForceFieldError: A reference that fits no force or several; a force of the force field that acts
            inside the region and cannot be taken apart.
    """
    return _Recognition(system, members, graph, keep, remove).result()


class _Recognition:
    def __init__(
        self,
        system: openmm.System,
        members: Collection[int],
        graph: MoleculeGraph,
        keep: Iterable[ForceReference],
        remove: Iterable[ForceReference],
    ) -> None:
        self._graph = graph
        self._members = frozenset(members)
        self._charmm = is_charmm(system)
        self._constrained = {
            frozenset(system.getConstraintParameters(index)[:2]) for index in range(system.getNumConstraints())
        }
        self._forces = [RecognisedForce(force, origin(force)) for force in system.getForces()]
        self._kept = self._resolve(keep, "keepForces", shared_names_match=True)
        self._removed = self._resolve(remove, "removeForces", shared_names_match=False)
        both = self._kept & self._removed
        if both:
            raise UnsupportedForceFieldError(f"{self._name(min(both))} is in keepForces and in removeForces")
        self._doubts: dict[int, tuple[int, str]] = {}

    def result(self) -> list[RecognisedForce]:
        for index, entry in enumerate(self._forces):
            if index not in self._kept:
                self._consider(index, entry)
        self._doubt_forces_alike()
        self._doubt_repeated_coordinates()
        self._doubt_bonds_in_foreign_names()
        if self._doubts:
            raise AmbiguousForceError(self._question())
        return self._forces

    # References

    def _resolve(self, references: Iterable[ForceReference], where: str, shared_names_match: bool) -> set[int]:
        if isinstance(references, (str, int, openmm.Force)):
            raise UnsupportedForceFieldError(f"{where} must be a list of names, indices or Force objects")
        return {index for reference in references for index in self._matches(reference, where, shared_names_match)}

    def _matches(self, reference: ForceReference, where: str, shared_names_match: bool) -> list[int]:
        forces = [entry.force for entry in self._forces]
        if isinstance(reference, openmm.Force):
            found = [index for index, force in enumerate(forces) if force.this == reference.this]
        elif isinstance(reference, str):
            found = [index for index, force in enumerate(forces) if force.getName() == reference]
        else:
            found = [index for index in range(len(forces)) if index == reference and not isinstance(reference, bool)]
        if not found and isinstance(reference, openmm.Force):
            raise UnsupportedForceFieldError(
                f"{where} names a {type(reference).__name__} ({reference.getName()!r}) that is no force of this "
                "system: pass the object that was added to it, or its index"
            )
        if not found:
            listed = ", ".join(f"{index}: {force.getName()}" for index, force in enumerate(forces))
            raise UnsupportedForceFieldError(f"{where} names {reference!r}, but the forces are {listed}")
        if len(found) > 1 and shared_names_match:
            # The force field's force may be among them. What is the user's stays anyway, or is asked for.
            return [index for index in found if self._forces[index].origin in (Origin.INSEPARABLE, Origin.USER)]
        if len(found) > 1:
            raise UnsupportedForceFieldError(
                f"{where} names {reference!r}, which the forces {', '.join(map(str, found))} share: give the index"
            )
        return found

    # Forces one by one

    def _consider(self, index: int, entry: RecognisedForce) -> None:
        kind = type(entry.force).__name__
        if kind == "CustomNonbondedForce" and not self._acts_inside(entry.force):
            entry.spares_pairs = True
        elif kind in ("NonbondedForce", "CustomNonbondedForce"):
            entry.has_pairs = True
            if entry.origin is Origin.SHARED and index not in self._removed:
                self._doubt(index, "it acts on pairs inside the region")
        elif entry.origin is Origin.INSEPARABLE:
            raise UnsupportedForceFieldError(
                f"{self._name(index)} may act inside the QM region, and its terms there cannot be told apart: name it "
                "in keepForces if all of it must stay, or remove it from the system"
            )
        elif is_bonded(entry.force):
            self._consider_terms(index, entry)
        elif index in self._removed:
            raise UnsupportedForceFieldError(
                f"{self._name(index)} has no terms inside the region that could be removed"
            )

    def _consider_terms(self, index: int, entry: RecognisedForce) -> None:
        if entry.origin is Origin.USER and index not in self._removed and not self._is_plain(entry):
            return
        entry.bonded = BondedForce(entry.force)
        inside = entry.bonded.inside(self._members)
        if entry.origin is Origin.FORCE_FIELD or index in self._removed:
            entry.places = inside
        elif entry.origin is Origin.SHARED:
            for place in inside:
                self._consider_term(index, entry, entry.bonded, place)

    def _consider_term(self, index: int, entry: RecognisedForce, bonded: BondedForce, place: int) -> None:
        particles = bonded.terms[place]
        kind = role(particles, self._graph)
        if not self._is_plain(entry):
            if kind is Role.IMPROPER and self._charmm and has_charmm_impropers(entry.force):
                entry.places.append(place)
            elif kind in _ALONG_BONDS:
                self._doubt(index, f"{self._described(particles)} is a {kind.value} of the topology")
        elif kind in _ALONG_BONDS:
            entry.places.append(place)
        elif kind is Role.SPANNED_ANGLE:
            if self._charmm or self._treats_alike(bonded, particles):
                entry.places.append(place)
            else:
                self._doubt(index, f"{self._described(particles)} is a {kind.value} (Urey-Bradley, or a restraint)")
        elif kind is Role.COMPACT:
            self._doubt(index, f"{self._described(particles)} is a {kind.value}")

    def _acts_inside(self, force: openmm.CustomNonbondedForce) -> bool:
        groups = [force.getInteractionGroupParameters(index) for index in range(force.getNumInteractionGroups())]
        if not groups:
            return True
        return any(self._members.intersection(first) and self._members.intersection(second) for first, second in groups)

    def _treats_alike(self, bonded: BondedForce, particles: tuple[int, ...]) -> bool:
        """Whether a force of bonds has a pair across an angle in other residues as well, as a force field does."""
        if not any(role(terms, self._graph) is Role.BOND for terms in bonded.terms):
            return False
        wanted = sorted(self._graph.type_name(particle) for particle in particles)
        outside = (other for other in bonded.terms if not self._members.intersection(other))
        return any(sorted(self._graph.type_name(particle) for particle in other) == wanted for other in outside)

    @staticmethod
    def _is_plain(entry: RecognisedForce) -> bool:
        """Whether the kind of a force has a fixed expression, with which force fields describe bonds and angles."""
        return is_bonded(entry.force) and not type(entry.force).__name__.startswith("Custom")

    # Forces beside each other

    def _doubt_forces_alike(self) -> None:
        """Two forces of one kind and name that may both be the force field's: one of them may be the user's."""
        alike = defaultdict(list)
        for index, entry in enumerate(self._forces):
            if entry.origin is Origin.SHARED and is_bonded(entry.force) and not self._is_settled(index):
                alike[type(entry.force).__name__].append(index)
        for indices in alike.values():
            for index in indices:
                others = [other for other in indices if other != index]
                if self._forces[index].places and others:
                    self._doubt_beside(index, others)

    def _doubt_beside(self, index: int, others: list[int]) -> None:
        kinds = {place: role(self._terms(index)[place], self._graph) for place in self._forces[index].places}
        # Force fields describe every bond and angle once, so that a second term on one gives itself away, unless a
        # constraint holds it in place of the first.
        telling = {
            kind
            for place, kind in kinds.items()
            if kind not in (Role.BOND, Role.ANGLE) or self._is_held(self._terms(index)[place])
        }
        for other in others:
            # They make their force even if it stays empty; users add theirs later.
            unused = not self._terms(other) and other < index and set(kinds.values()) != {Role.SPANNED_ANGLE}
            if unused or telling & self._roles(other):
                self._doubt(index, f"force {other} has the same name and may be the force field's as well")

    def _is_held(self, particles: tuple[int, ...]) -> bool:
        """Whether a constraint holds a bond or an angle."""
        return frozenset((particles[0], particles[-1])) in self._constrained

    def _doubt_repeated_coordinates(self) -> None:
        """Two terms for one bond, angle or torsion: one of them may be the user's."""
        described = defaultdict(list)
        for index, entry in enumerate(self._forces):
            if not self._is_settled(index):
                for place in entry.places:
                    particles = self._terms(index)[place]
                    kind = role(particles, self._graph)
                    if kind is not None:
                        described[coordinate(particles, kind)].append((index, particles, kind))
        for terms in described.values():
            times = Counter(index for index, _, _ in terms)
            for index, particles, kind in terms:
                if len(times) > 1:
                    other = next(number for number in times if number != index)
                    self._doubt(index, f"force {other} has a term on {self._described(particles)} as well")
                elif times[index] > 1 and kind in _SINGLE and not self._in_small_ring(particles, kind):
                    self._doubt(index, f"it has {times[index]} terms on {self._described(particles)}")

    def _doubt_bonds_in_foreign_names(self) -> None:
        """A name that no generator of OpenMM gives is the user's, unless the bonds have no other description."""
        described = {frozenset(self._terms(index)[place]) for index, e in enumerate(self._forces) for place in e.places}
        described |= self._constrained
        for index, entry in enumerate(self._forces):
            if entry.origin is Origin.USER and entry.bonded is not None and not self._is_settled(index):
                for place in entry.bonded.inside(self._members):
                    particles = entry.bonded.terms[place]
                    along = role(particles, self._graph) in _ALONG_BONDS - {Role.IMPROPER}
                    if along and frozenset(particles) not in described:
                        self._doubt(index, f"no other force describes {self._described(particles)}")

    def _in_small_ring(self, particles: tuple[int, ...], kind: Role) -> bool:
        """Whether a pair is both a bond and across an angle, or across two angles, as in rings of three and four."""
        between = set(self._graph.neighbours(particles[0])) & set(self._graph.neighbours(particles[-1]))
        return len(between) > {Role.BOND: 0, Role.SPANNED_ANGLE: 1}.get(kind, len(between))

    def _is_settled(self, index: int) -> bool:
        return index in self._kept or index in self._removed

    def _terms(self, index: int) -> list[tuple[int, ...]]:
        bonded = self._forces[index].bonded
        return bonded.terms if bonded is not None else []

    def _roles(self, index: int) -> set[Role | None]:
        return {role(particles, self._graph) for particles in self._terms(index)} - {None, Role.COMPACT}

    # The question

    def _doubt(self, index: int, reason: str) -> None:
        count, first = self._doubts.get(index, (0, reason))
        self._doubts[index] = (count + 1, first)

    def _question(self) -> str:
        lines = []
        for index, (count, reason) in sorted(self._doubts.items()):
            more = f", and {count - 1} more" if count > 1 else ""
            lines.append(f"{self._name(index)}: {reason}{more}")
        return (
            "it cannot be told whether the force field made what these forces do inside the QM region, or whether it "
            f"is a restraint or bias that must stay: {'; '.join(lines)}. {_REMEDY}"
        )

    def _name(self, index: int) -> str:
        force = self._forces[index].force
        return f"force {index} ({type(force).__name__} {force.getName()!r})"

    def _described(self, particles: tuple[int, ...]) -> str:
        return " - ".join(self._graph.name(particle) for particle in particles)
