"""Topologies as JSON, with every bond: PDB and mmCIF files keep only the bonds of residues that they know."""

from __future__ import annotations

import json
from typing import Any

import openmm
from openmm import app, unit


def topology_to_json(topology: app.Topology) -> str:
    """Atoms, residues, chains, bonds and box."""
    vectors = topology.getPeriodicBoxVectors()
    content = {
        "chains": [chain.id for chain in topology.chains()],
        "residues": [[residue.name, residue.id, residue.chain.index] for residue in topology.residues()],
        "atoms": [
            [atom.name, atom.element.symbol if atom.element is not None else None, atom.residue.index, atom.id]
            for atom in topology.atoms()
        ],
        "bonds": [[bond[0].index, bond[1].index] for bond in topology.bonds()],
        "box": None if vectors is None else [list(v) for v in vectors.value_in_unit(unit.nanometer)],
    }
    return json.dumps(content)


def topology_from_json(text: str | bytes) -> app.Topology:
    """What topology_to_json() was given.

    Raises:
        ValueError: the text is something else.
    """
    try:
        return _topology(json.loads(text))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a topology ({error})") from error


def _topology(content: dict[str, Any]) -> app.Topology:
    topology = app.Topology()
    chains = [topology.addChain(name) for name in content["chains"]]
    residues = [topology.addResidue(name, chains[chain], number) for name, number, chain in content["residues"]]
    atoms = [
        topology.addAtom(name, app.Element.getBySymbol(symbol) if symbol else None, residues[residue], number)
        for name, symbol, residue, number in content["atoms"]
    ]
    for i, j in content["bonds"]:
        topology.addBond(atoms[i], atoms[j])
    if content["box"] is not None:
        vectors = [openmm.Vec3(*vector) for vector in content["box"]]
        topology.setPeriodicBoxVectors(vectors * unit.nanometer)
    return topology
