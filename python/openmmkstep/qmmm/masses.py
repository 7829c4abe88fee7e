"""Heavier hydrogen atoms, so that stretches are slower and outer steps may be longer."""

from __future__ import annotations

from collections.abc import Collection

import openmm
from openmm import unit

from openmmkstep.units import value_in

from .molecule_graph import MoleculeGraph
from .region import RegionError

_HEAVIEST = 4.0


def repartition_mass(
    system: openmm.System, particles: Collection[int], graph: MoleculeGraph, hydrogen_mass: float
) -> None:
    """Give the hydrogen atoms of a region another mass, which the atoms lose that they are bonded to.

    Averages over the canonical distribution of positions do not depend on masses; times and spectra do. Hopkins et al.,
    J. Chem. Theory Comput. 11, 1864 (2015).

    Args:
        system: The system; it is changed.
        particles: The region.
        graph: The molecular graph of the system.
        hydrogen_mass: Of every hydrogen atom of the region, amu.

    Raises:
        RegionError: A mass that makes no sense, or more than there is to take.
    """
    if not 1.0 <= hydrogen_mass <= _HEAVIEST:
        raise RegionError(f"hydrogenMass must lie between 1 and {_HEAVIEST:g} amu, got {hydrogen_mass!r}")
    for particle in particles:
        heavy = [other for other in graph.neighbours(particle) if not graph.is_hydrogen(other)]
        if not graph.is_hydrogen(particle) or not heavy:
            continue
        taken = hydrogen_mass - value_in(system.getParticleMass(particle), unit.dalton)
        left = value_in(system.getParticleMass(heavy[0]), unit.dalton) - taken
        if left < hydrogen_mass:
            raise RegionError(
                f"{graph.name(heavy[0])} would keep a mass of {left:.1f} amu beside hydrogen atoms of "
                f"{hydrogen_mass:g}: use a smaller hydrogenMass"
            )
        system.setParticleMass(particle, hydrogen_mass)
        system.setParticleMass(heavy[0], left)
