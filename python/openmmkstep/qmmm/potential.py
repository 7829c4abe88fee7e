"""QM/MM systems in the manner of openmm-ml: one call turns an MM system into one with a QM region."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable
from typing import Any, Literal

import openmm
from openmm import app, unit

from openmmkstep.surrogates.bonded_fit.model import BondedFit, BondedFitError
from openmmkstep.surrogates.suitability import refuse_unsuitable_surrogate

from . import force_groups
from .division import divide_system, refuse_missing_bond_terms
from .embedding import EmbeddingError, EmbeddingSettings, collect_embedding_charges, embedding_settings
from .molecule_graph import MoleculeGraph
from .region import QMRegion

Embedding = Literal["electrostatic", "mechanical"]
FORCE_FIELD = "force-field"
"""As a base level: the region's own force-field terms."""


class QMMMPotential:
    """A QM method, ready to be put to use in any system.

    Args:
        name: ``"gfn2-xtb"``, ``"gfn1-xtb"``, or ``"analytic"`` (harmonic bonds with charges; for tests).
        accuracy: of the SCF, as xtb defines it; smaller is tighter. 0.01 conserves energy with the warm start between
            steps; the default of the xtb program (1) does not.
        threads: of the QM program. More than one pays only on an idle machine and for many atoms.
        engineOptions: what else the engine takes, by keyword.

    Raises:
        ValueError: an unknown name, or options that the engine refuses.
    """

    def __init__(self, name: str, accuracy: float = 0.01, threads: int = 1, **engineOptions: Any) -> None:
        from openmmkstep.engines.specification import checked_engine

        self.engine = checked_engine(name, accuracy, threads, engineOptions)

    def createMixedSystem(
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int],
        charge: int = 0,
        multiplicity: int = 1,
        embedding: Embedding = "electrostatic",
        cutoff: float | unit.Quantity | None = None,
        switchDistance: float | unit.Quantity | None = None,
        surrogate: str | os.PathLike[str] | None = None,
        surrogateThreads: int = 1,
        compileSurrogate: bool = False,
        baseLevel: str | os.PathLike[str] | None = None,
        splitNonbonded: bool = False,
        keepForces: Collection[str] = (),
    ) -> openmm.System:
        """A copy of an MM system in which some atoms are described by the QM method.

        The force field's own terms between QM atoms are removed (bonded terms, constraints, Lennard-Jones, Coulomb).
        Lennard-Jones between QM and MM atoms stays. Forces are put into groups that KStepIntegrator takes by default:
        0 common, 1 surrogate, 2 QM, 3 the region's own force-field terms, 4 slow common.

        ``embedding="electrostatic"``: the charges of all other particles enter the QM calculation and are polarised
        against; the QM atoms' charges are removed from the force field. Under PME, Ewald or reaction field this holds
        for the surroundings only: the QM region sees them by minimum image within the cut-off.

        ``embedding="mechanical"``: the QM calculation is one in vacuum; the force field's charges of the QM atoms stay
        and act on the surroundings, and, with PME and Ewald, on their own periodic images (a constant small effect
        that vanishes with the box size).

        Args:
            topology: of the system; its bonds tell molecules and refuse regions that would cut one.
            system: the whole system as the force field describes it; it is not changed.
            atoms: indices of the QM atoms; whole molecules.
            charge: of the QM region, e.
            multiplicity: of the QM region.
            embedding: see above.
            cutoff: distance (nm) beyond which MM molecules are not seen by the QM region; None for all, and only then
                without periodic boundary conditions.
            switchDistance: where they begin to be switched off, nm; 80 % of the cut-off if None.
            surrogate: archive of a potential trained for this region, for the surrogate group; None for none.
            surrogateThreads: threads for the network.
            compileSurrogate: compile the archive for this machine on first use (half a minute; kept in the user's
                cache), which halves the cost of the network. Interpreted, with a warning, where that fails.
            baseLevel: a cheap potential below the surrogate, for group 3, that lets the network be called less often:
                the file of a bonded potential fitted to QM forces (``kstep fit-bonded``), or ``"force-field"`` for the
                region's own force-field terms; None for none.
            splitNonbonded: put nonbonded forces of the surroundings into group 4 rather than 0.
            keepForces: names of forces (Force.getName()) that must stay as they are, such as restraints and biases.

        Returns:
            A new system with the same particles in the same order.

        Raises:
            ValueError: (and its kinds RegionError, EmbeddingError, UnsupportedForceFieldError) for anything that makes
                no sense; the message names it. Nothing expensive has happened by then.
        """
        from .forces import create_qm_force, create_surrogate_force

        graph = MoleculeGraph(topology, system)
        region = QMRegion.create(topology, system, atoms, charge, multiplicity, graph)
        self.engine.check(region)
        charges, settings = _environment(system, region, graph, embedding, _nm(cutoff), _nm(switchDistance))
        if surrogate is not None:
            numbers = region.numbers.tolist()
            refuse_unsuitable_surrogate(surrogate, numbers, charge, multiplicity, self.engine.name, bool(charges))
        force_field_below = baseLevel == FORCE_FIELD
        model = None if baseLevel is None or force_field_below else _bonded_fit(baseLevel, region)
        division = divide_system(
            system,
            region.particles,
            zero_charges=embedding == "electrostatic",
            split_nonbonded=splitNonbonded,
            with_region_forces=force_field_below,
            keep_forces=keepForces,
            nearest_images=len(set(graph.molecules[list(region.particles)])) > 1,
        )
        if force_field_below:
            refuse_missing_bond_terms(division, graph)
        mixed = division.system
        for force in division.region_forces if model is None else model.create_forces(region.particles):
            force.setForceGroup(force_groups.BASE_LEVEL)
            mixed.addForce(force)
        if surrogate is not None:
            force = create_surrogate_force(surrogate, region, charges, settings, surrogateThreads, compileSurrogate)
            force.setForceGroup(force_groups.SURROGATE)
            mixed.addForce(force)
        force = create_qm_force(self.engine, region, charges, settings)
        force.setForceGroup(force_groups.QM)
        mixed.addForce(force)
        return mixed


def _environment(
    system: openmm.System,
    region: QMRegion,
    graph: MoleculeGraph,
    embedding: str,
    cutoff: float | None,
    switchDistance: float | None,
) -> tuple[list[tuple[int, float, int]], EmbeddingSettings]:
    # Periodic without charges: the QM level then puts a region of several molecules in one piece.
    none = EmbeddingSettings(None, None, system.usesPeriodicBoundaryConditions())
    if embedding == "mechanical":
        if cutoff is not None or switchDistance is not None:
            raise EmbeddingError(
                "cutoff and switchDistance belong to electrostatic embedding; with embedding='mechanical' the force "
                "field's own cut-off rules"
            )
        return [], none
    if embedding != "electrostatic":
        raise EmbeddingError(f"embedding must be 'electrostatic' or 'mechanical', got {embedding!r}")
    if len(region.particles) == system.getNumParticles():
        if cutoff is not None:
            warnings.warn("the QM region is the whole system: the embedding cut-off has no effect", stacklevel=3)
        return [], none
    nonbonded = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(nonbonded) != 1:
        raise EmbeddingError(
            f"electrostatic embedding takes its charges from the NonbondedForce, and the system has {len(nonbonded)} "
            "of them: use embedding='mechanical', or merge them into one"
        )
    settings = embedding_settings(system, cutoff, switchDistance, nonbonded[0].usesPeriodicBoundaryConditions())
    return collect_embedding_charges(nonbonded[0], region.particles, graph), settings


def _bonded_fit(path: str | os.PathLike[str], region: QMRegion) -> BondedFit:
    model = BondedFit.read(path)
    if model.numbers != tuple(int(number) for number in region.numbers):
        raise BondedFitError(
            f"{path} was fitted for atomic numbers {list(model.numbers)}, the QM region has {region.numbers.tolist()}: "
            "give the atoms in the same order, or fit one for this region"
        )
    return model


def _nm(value: float | unit.Quantity | None) -> float | None:
    if isinstance(value, unit.Quantity):
        return float(value.value_in_unit(unit.nanometer))
    return None if value is None else float(value)
