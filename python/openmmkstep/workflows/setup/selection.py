"""Which atoms a configuration means: a small language with the words of VMD and MDTraj.

Their own parsers are no dependency here: MDTraj's knows no distances, and MDAnalysis brings its own topology.

    all, solute, water, ions, protein, backbone, sidechain
    resname GLU ASP        resid 11 20 30-35      chain A
    name CA CB             element C N            index 0-21,30
    within 4 A of (...)    within 0.4 nm of ...   same residue as (...)
    not ..., ... and ..., ... or ..., (...)

``not``, ``within`` and ``same residue as`` bind to what follows at once, ``and`` binds stronger than ``or``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from openmm import app, unit

Mask = NDArray[np.bool_]

# Water and monatomic ions under the names of Amber, CHARMM, GROMACS and the Protein Data Bank.
_WATER = frozenset({"HOH", "WAT", "H2O", "TIP3", "TP3", "TIP4", "TP4", "TIP5", "TP5", "OPC", "SPC", "SPCE", "SOL"})
_IONS = frozenset(
    {
        "LI",
        "NA",
        "K",
        "RB",
        "CS",
        "F",
        "CL",
        "BR",
        "I",
        "IOD",
        "MG",
        "CA",
        "SR",
        "BA",
        "MN",
        "FE",
        "FE2",
        "CO",
        "NI",
        "CU",
    }
    | {"CU1", "ZN", "CD", "HG", "AG", "PB"}
    | {"Li+", "Na+", "K+", "Rb+", "Cs+", "F-", "Cl-", "Br-", "I-", "NA+", "CL-", "MG2", "CA2", "ZN2"}
    | {"LIT", "SOD", "POT", "RUB", "CES", "CLA", "CAL", "BAR", "CD2"}
)
# With the hydrogen atoms of N and CA, so that what is left is what a cut between CA and CB separates.
_BACKBONE = frozenset(
    {"N", "CA", "C", "O", "OXT", "OT1", "OT2", "H", "HN", "H1", "H2", "H3", "HT1", "HT2", "HT3", "HXT"}
    | {"HA", "HA1", "HA2", "HA3"}
)
_AMINO_ACID = frozenset({"N", "CA", "C"})
# Distances on the edge count, however the last digit of a position was rounded.
_ROUNDING = 1e-7
_NM_PER = {"nm": 1.0, "a": 0.1, "angstrom": 0.1}
_RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?")
_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")
_WITH_VALUES = ("resname", "resid", "chain", "name", "element", "index")
_ALONE = ("all", "solute", "water", "ions", "protein", "backbone", "sidechain")
_OPERATORS = ("and", "or", "not", "within", "same", "of", "as", "residue")
_RESERVED = frozenset({*_WITH_VALUES, *_ALONE, *_OPERATORS, "(", ")"})


class SelectionError(ValueError):
    """A selection that no atoms fit, or that cannot be understood."""


def select_atoms(
    topology: app.Topology,
    selection: str | Iterable[int | str],
    positions: NDArray[np.float64] | None = None,
) -> list[int]:
    """Atom indices, ascending.

    Args:
        topology: Where to look; its box, if it has one, is that of the distances.
        selection: A selection in the language of this module, indices such as "0-21,30", or a list of indices and
            selections, which are united.
        positions: [N,3] nm, for distances, which count to the nearest periodic image.

    Raises:
        SelectionError: Nothing found, by the whole or by one of a list; words that are not understood; distances
            without positions, or above half the width of the box.
    """
    if isinstance(selection, str):
        return _Parser(topology, selection, positions).parse()
    parts = list(selection)
    indices = [part for part in parts if not isinstance(part, str)]
    if len(indices) == len(parts):
        # Repeated ones stay repeated: those who use them refuse what is most likely a slip.
        return sorted(indices)
    atoms: set[int] = set()
    for part in parts:
        atoms.update(select_atoms(topology, part, positions) if isinstance(part, str) else [part])
    return sorted(atoms)


def is_solvent(residue: app.topology.Residue) -> bool:
    """Whether a residue is water or a monatomic ion."""
    return residue.name in _WATER or _is_ion(residue)


def _is_ion(residue: app.topology.Residue) -> bool:
    return residue.name in _IONS and sum(1 for _ in residue.atoms()) == 1


class _Parser:
    """Recursive descent; every rule gives a mask of the atoms [N]."""

    def __init__(self, topology: app.Topology, text: str, positions: NDArray[np.float64] | None) -> None:
        self._topology = topology
        self._atoms = list(topology.atoms())
        self._positions = positions
        self._text = text.strip()
        self._tokens = _TOKEN.findall(self._text)
        self._next = 0

    def parse(self) -> list[int]:
        if not self._tokens:
            raise SelectionError("the selection is empty: write 'solute', 'resname LIG' or indices such as '0-21,30'")
        if _RANGE.fullmatch(self._tokens[0]):
            # Indices that do not exist are named by those who use them, together with those of lists.
            indices = self._ranges("index")
            if self._next < len(self._tokens):
                raise self._not_understood()
            return sorted(indices)
        mask = self._either()
        if self._next < len(self._tokens):
            raise self._not_understood()
        if not mask.any():
            raise SelectionError(f"the selection {self._text!r} selects nothing{self._why_solute()}")
        return [int(index) for index in np.flatnonzero(mask)]

    def _why_solute(self) -> str:
        return ": all residues are water or ions" if self._text == "solute" else ""

    def _either(self) -> Mask:
        mask = self._both()
        while self._take("or"):
            mask = mask | self._both()
        return mask

    def _both(self) -> Mask:
        mask = self._single()
        while self._take("and"):
            mask = mask & self._single()
        return mask

    def _single(self) -> Mask:
        if self._take("not"):
            return ~self._single()
        if self._take("within"):
            distance = self._distance()
            self._demand("of")
            return self._within(distance, self._single())
        if self._take("same"):
            self._demand("residue")
            self._demand("as")
            return self._whole_residues(self._single())
        if self._take("("):
            mask = self._either()
            self._demand(")")
            return mask
        for word in _ALONE:
            if self._take(word):
                return self._group(word)
        for word in _WITH_VALUES:
            if self._take(word):
                return self._numbered(word) if word in ("resid", "index") else self._named(word)
        raise self._not_understood()

    def _group(self, word: str) -> Mask:
        if word == "all":
            return np.ones(len(self._atoms), dtype=np.bool_)
        mask = np.zeros(len(self._atoms), dtype=np.bool_)
        for residue in self._topology.residues():
            members = list(residue.atoms())
            amino_acid = {atom.name for atom in members} >= _AMINO_ACID
            for atom in members:
                mask[atom.index] = {
                    "solute": not is_solvent(residue),
                    "water": residue.name in _WATER,
                    "ions": _is_ion(residue),
                    "protein": amino_acid,
                    "backbone": amino_acid and atom.name in _BACKBONE,
                    "sidechain": amino_acid and atom.name not in _BACKBONE,
                }[word]
        return mask

    def _named(self, word: str) -> Mask:
        of: dict[str, Callable[[app.topology.Atom], str]] = {
            "resname": lambda atom: atom.residue.name,
            "chain": lambda atom: atom.residue.chain.id,
            "name": lambda atom: atom.name,
            "element": lambda atom: "" if atom.element is None else atom.element.symbol,
        }
        wanted = self._values(word)
        found = [of[word](atom) for atom in self._atoms]
        self._refuse_unknown(word, wanted, set(found))
        return np.isin(np.array(found, dtype=object).astype(str), wanted)

    def _numbered(self, word: str) -> Mask:
        wanted = self._ranges(word)
        if word == "index":
            outside = sorted(index for index in wanted if not 0 <= index < len(self._atoms))
            if outside:
                raise SelectionError(
                    f"{self._text!r}: there is no atom {outside[0]}; indices run from 0 to {len(self._atoms) - 1}"
                )
            return np.isin(np.arange(len(self._atoms)), list(wanted))
        mask = np.array([atom.residue.id in {str(number) for number in wanted} for atom in self._atoms], dtype=np.bool_)
        if not mask.any():
            ids = list(dict.fromkeys(residue.id for residue in self._topology.residues()))
            raise SelectionError(
                f"{self._text!r}: no residue has the number {', '.join(map(str, sorted(wanted)[:5]))}; "
                f"the file's numbers run from {ids[0]} to {ids[-1]}"
            )
        return mask

    def _refuse_unknown(self, word: str, wanted: Iterable[str], known: set[str]) -> None:
        for value in wanted:
            if value not in known:
                folded = {name.lower(): name for name in known}
                near = [folded[name] for name in difflib.get_close_matches(value.lower(), folded, n=3, cutoff=0.5)]
                there = near or sorted(known)[:8]
                raise SelectionError(
                    f"{self._text!r}: {word} {value} selects nothing; {'the nearest are' if near else 'there are'} "
                    f"{', '.join(there)}"
                )

    def _whole_residues(self, mask: Mask) -> Mask:
        residues = np.array([atom.residue.index for atom in self._atoms])
        return np.isin(residues, residues[mask])

    def _within(self, distance: float, centre: Mask) -> Mask:
        if self._positions is None:
            raise SelectionError(f"{self._text!r}: 'within' needs the positions of the atoms")
        if not centre.any():
            raise SelectionError(f"{self._text!r}: what stands behind 'within ... of' selects nothing")
        vectors = self._topology.getPeriodicBoxVectors()
        box = None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer), dtype=np.float64)
        if box is not None and 2 * distance > box.diagonal().min():
            raise SelectionError(
                f"{self._text!r}: {distance:g} nm is more than half the width of the box ({box.diagonal().min():g} nm)"
            )
        mask = np.zeros(len(self._atoms), dtype=np.bool_)
        for point in self._positions[centre]:
            offsets = self._positions - point
            if box is not None:
                # Reduced box vectors: the nearest image is found one vector after the other, up to half the width.
                for axis in (2, 1, 0):
                    offsets = offsets - np.round(offsets[:, axis] / box[axis, axis])[:, None] * box[axis]
            mask |= (offsets**2).sum(axis=1) <= (distance + _ROUNDING) ** 2
        return mask

    def _distance(self) -> float:
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+)([A-Za-z]*)", self._word())
        if match is None:
            raise self._not_understood()
        self._next += 1
        name = match.group(2)
        if not name:
            name = self._word()
            self._next += 1
        if name.lower() not in _NM_PER:
            raise SelectionError(f"{self._text!r}: a distance needs its unit, such as '4 A' or '0.4 nm'")
        distance = float(match.group(1)) * _NM_PER[name.lower()]
        if not (math.isfinite(distance) and distance > 0):
            raise SelectionError(f"{self._text!r}: a distance must be above 0")
        return distance

    def _values(self, word: str) -> list[str]:
        values = []
        while self._next < len(self._tokens) and self._word() not in _RESERVED:
            if self._word() != ",":
                values.append(self._word())
            self._next += 1
        if not values:
            raise SelectionError(f"{self._text!r}: {word!r} needs at least one value behind it")
        return values

    def _ranges(self, word: str) -> set[int]:
        numbers: set[int] = set()
        for value in self._values(word):
            match = _RANGE.fullmatch(value)
            if match is None:
                raise SelectionError(
                    f"cannot understand the selection {self._text!r}: {word} takes numbers and ranges such as "
                    f"'0-21,30', not {value!r}"
                )
            first = int(match.group(1))
            last = first if match.group(2) is None else int(match.group(2))
            if last < first:
                raise SelectionError(f"the range {value!r} in {self._text!r} runs backwards")
            numbers.update(range(first, last + 1))
        return numbers

    def _word(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, word: str) -> bool:
        if self._word() == word:
            self._next += 1
            return True
        return False

    def _demand(self, word: str) -> None:
        if not self._take(word):
            raise SelectionError(
                f"cannot understand the selection {self._text!r}: {word!r} is missing before "
                f"{self._word() or 'its end'!r}"
            )

    def _not_understood(self) -> SelectionError:
        word = self._word()
        near = difflib.get_close_matches(word.lower(), sorted(_RESERVED), n=1)
        hint = f" (is {near[0]!r} meant?)" if near else ""
        return SelectionError(
            f"cannot understand the selection {self._text!r} at {word or 'its end'!r}{hint}: write 'all', 'solute', "
            "indices such as '0-21,30', or 'resname LIG or sidechain and resid 11 20'"
        )
