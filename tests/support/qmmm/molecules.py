"""Molecules that the tests share, and where their structures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ALA2_PDB = EXAMPLES / "alanine_dipeptide" / "alanine_dipeptide.pdb"


@dataclass
class Molecule:
    """A topology with positions [N,3] in nm and a way to make its system."""

    topology: app.Topology
    positions: Any
    create_system: Callable[..., openmm.System]


def make_topology(residues: Sequence[tuple[str, Sequence[str], Sequence[tuple[int, int]]]]) -> app.Topology:
    """A topology of residues, each its own chain: name, elements ("" for none), bonds as places in the residue."""
    topology = app.Topology()
    for name, symbols, bonds in residues:
        residue = topology.addResidue(name, topology.addChain())
        atoms = [
            topology.addAtom(f"{symbol or 'M'}{place}", app.Element.getBySymbol(symbol) if symbol else None, residue)
            for place, symbol in enumerate(symbols)
        ]
        for i, j in bonds:
            topology.addBond(atoms[i], atoms[j])
    return topology


def water_box(width: float = 2.0, force_field: str = "amber14/tip3p.xml", model: str = "tip3p") -> Molecule:
    """A cubic box of water, equilibrated, nm wide."""
    generator = app.ForceField(force_field)
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(generator, model=model, boxSize=openmm.Vec3(width, width, width) * unit.nanometer)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.8 * unit.nanometer}
    return Molecule(
        modeller.topology,
        positions,
        lambda **changes: generator.createSystem(modeller.topology, **{**options, **changes}),
    )
