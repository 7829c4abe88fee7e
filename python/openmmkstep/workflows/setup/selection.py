"""Which atoms a configuration means."""

from __future__ import annotations

import re

from openmm import app

# Water and monatomic ions under the names that OpenMM's force fields use.
_WATER = frozenset({"HOH", "WAT", "H2O", "TIP3", "TP3", "SOL"})
_IONS = frozenset(
    {"NA", "CL", "K", "LI", "RB", "CS", "F", "BR", "I", "MG", "CA", "ZN", "Na+", "Cl-", "SOD", "CLA", "POT"}
)


class SelectionError(ValueError):
    """A selection that no atoms fit, or that cannot be understood."""


def select_atoms(topology: app.Topology, selection: str | tuple[int, ...]) -> list[int]:
    """Atom indices, ascending.

    Args:
        topology: where to look.
        selection: "all", "solute" (everything but water and ions), indices such as "0-21,30", or the indices.

    Raises:
        SelectionError: nothing found, or a selection of another form.
    """
    if not isinstance(selection, str):
        return sorted(selection)
    text = selection.strip()
    if text == "all":
        return list(range(topology.getNumAtoms()))
    if text == "solute":
        found = [atom.index for atom in topology.atoms() if not is_solvent(atom.residue)]
        if not found:
            raise SelectionError("'solute' selects nothing: all residues are water or ions")
        return found
    return _ranges(text)


def is_solvent(residue: app.topology.Residue) -> bool:
    """Whether a residue is water or a monatomic ion."""
    return residue.name in _WATER or (residue.name in _IONS and sum(1 for _ in residue.atoms()) == 1)


def _ranges(text: str) -> list[int]:
    indices: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None:
            raise SelectionError(
                f"cannot understand the selection {text!r}: write 'all', 'solute', or indices such as '0-21,30'"
            )
        first = int(match.group(1))
        last = int(match.group(2)) if match.group(2) else first
        if last < first:
            raise SelectionError(f"the range {part.strip()!r} in {text!r} runs backwards")
        indices.update(range(first, last + 1))
    return sorted(indices)
