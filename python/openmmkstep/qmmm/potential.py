"""QM/MM systems in the manner of openmm-ml: one call turns an MM system into one with a QM region."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import openmm
from openmm import app, unit

from openmmkstep.engines.registry import EngineSpecification, specification
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.units import value_in

from .boundary.link_atoms import LinkAtomDistance
from .embedding.boundary_charges import DEFAULT_CHARGE_SCHEME, ChargeScheme
from .embedding.far_field import FarField
from .force_field.recognition import ForceReference
from .level_parts import FORCE_FIELD, EnginePart, LevelArgument, LevelPart, level_of
from .levels.settings import LevelError
from .mixing import Embedding, MixingOptions, mix
from .molecule_graph import MoleculeGraph
from .region import QMRegion


class QMMMPotential:
    """A QM method, ready to be put to use in any system; or any other force in its place.

    Args:
        method: Name of the method: ``"gfn2-xtb"``, ``"gfn1-xtb"``, ``"gfn-ff"``, ``"test-analytic"`` (harmonic bonds
            with charges; for tests), or an engine in Python that a script or an installed package has registered
            (`openmmkstep.engines.registry`). Upper and lower case are the same. In its place anything can be the top
            level that the levels below correct: an MLPotential of openmm-ml, ``"force-field"`` for the region's own
            force-field terms (k-step MM), any openmm.Force, or a list of them, which are summed. What does not see MM
            charges needs ``embedding="mechanical"`` where there are any.
        settings: Settings of the method by keyword, such as ``accuracy``, ``max_iterations``,
            ``electronic_temperature`` and ``threads`` of xTB; each engine documents its own
            (`openmmkstep.engines.xtb`).

    Attributes:
        engine: The QM method, checked; None if the top level is something else.
        level: The parts of the top level.

    Raises:
        EngineError: An unknown name, or settings that the engine does not have or refuses.
        LevelError: Something that cannot be a level; settings for something that has none.
    """

    def __init__(self, method: LevelArgument, **settings: Any) -> None:
        self.engine: EngineSpecification | None = None
        if isinstance(method, str) and method != FORCE_FIELD:
            self.engine = specification(method, settings, others=QMMMForce.getEngines())
            self.level: tuple[LevelPart, ...] = (EnginePart(self.engine),)
        elif settings:
            raise LevelError(f"{', '.join(settings)}: only QM methods that are given by their names have settings")
        else:
            self.level = level_of(method)

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
        farField: FarField | None = None,
        linkAtomDistances: Iterable[LinkAtomDistance] = (),
        chargeScheme: ChargeScheme = DEFAULT_CHARGE_SCHEME,
        surrogate: LevelArgument = None,
        surrogateThreads: int = 1,
        compileSurrogate: bool = False,
        baseLevel: LevelArgument = None,
        splitNonbonded: bool = False,
        splitReciprocal: bool = False,
        hydrogenMass: float | unit.Quantity | None = None,
        keepForces: Collection[ForceReference] = (),
        removeForces: Collection[ForceReference] = (),
    ) -> openmm.System:
        """A copy of an MM system in which some atoms are described by the QM method.

        What the force field made between QM atoms is removed: bonded terms along bonds of the topology, constraints
        along bonds, Lennard-Jones, Coulomb. Lennard-Jones between QM and MM atoms stays, and so does every restraint
        and bias. Terms of which it cannot be told who made them are asked for, in an error that names their force;
        ``keepForces`` and ``removeForces`` are the answers. A restraint or bias that has a force and a name of its own
        (``force.setName("umbrella")``) is never in doubt.

        ``embedding="electrostatic"``: the charges of all other particles enter the QM calculation and are polarised
        against, by minimum image within the cut-off in a periodic box. Beyond the cut-off QM atoms, and virtual sites
        that they define, keep their charges of the force field (``farField``): under PME or Ewald the region feels far
        charges, periodic images and the neutralising background through them, and is felt by them, so that pressure
        and charged regions are right. A `FarFieldForce` takes out of the force field what the QM level describes.
        Where that cannot be (reaction field, charges that depend on global parameters), the region's charges are
        removed from the force field, and the region ends at the cut-off. Charges are constants of a mixed system:
        make it again when the force field's change.

        With ``farField="qm"`` all that acts on the QM method itself: Ewald embedding, for every method that takes point
        charges. The potential of the Ewald sum, less what the embedding sees, reaches it as charges on a surface around
        the region; only the images of the region keep the charges of the force field. That is accurate where charges
        are seen in full up to 0.6 nm, the radius of the surface, and more. Levels below the QM method do not feel it,
        so that its corrections are larger.

        ``embedding="mechanical"``: the QM calculation is one in vacuum; the force field's charges of the QM atoms stay
        and act on the surroundings, and, with PME and Ewald, on their own periodic images (a constant small effect
        that vanishes with the box size).

        A bond between a QM and an MM atom is cut: the QM method and all levels below it see a hydrogen atom instead, on
        the bond at a fixed fraction of its length, whose force goes to both atoms. The force field keeps its bonded
        terms that have an MM atom in them, and Lennard-Jones. The charge of the MM atom would be too near:
        ``chargeScheme`` says where it goes, such that the sum of all charges stays as it is.

        Make the integrator with `openmmkstep.createIntegrator`, which knows where all forces are.

        Args:
            topology: The topology of the system; its bonds tell molecules, and where a region cuts one.
            system: The whole system as the force field describes it, with restraints and biases; it is not changed.

            atoms: The region: indices of the QM atoms. Molecules are best cut at single bonds between carbon atoms,
                such as CA-CB of a side chain.
            charge: The region: its total charge, e. A warning says when the force field gives it another one.
            multiplicity: The region: its spin multiplicity, 1 for a closed shell.

            embedding: The coupling: see above.
            cutoff: The coupling: distance (nm) beyond which MM charges are not seen by the QM region; None for all, and
                only then without periodic boundary conditions.
            switchDistance: The coupling: distance (nm) where they begin to be switched off; None for 80 % of the
                cut-off.
            farField: The coupling: ``"force-field"`` lets the region's force-field charges act beyond the cut-off, or
                refuses where that cannot be; ``"qm"`` lets what lies there polarise the QM region instead; ``"none"``
                lets nothing; None is the first where it can be.

            linkAtomDistances: Cut bonds: as in openmm-ml, (particle, particle, nm) with the length of the bond to the
                link atom instead of the standard one, at which the bond that is cut is at rest.
            chargeScheme: Cut bonds: what becomes of the charge at the MM end, ``"none"``, ``"delete"``, ``"shift"``,
                ``"rc"`` or ``"rcd"``; see `openmmkstep.qmmm.embedding.boundary_charges`.

            surrogate: The levels: what describes the region between QM calls: the archive of a potential trained for
                this region, the name of another QM method (``"gfn2-xtb"``, or a QMMMPotential with settings), which
                sees the same MM charges, ``"force-field"`` for the region's own force-field terms, any openmm.Force
                (a copy is taken); or a list of them, which are summed in one force group, such as a method and a
                potential trained on the difference from it, ``["gfn2-xtb", "difference.pt"]``; None for none.
            surrogateThreads: The levels: threads of archives.
            compileSurrogate: The levels: compile archives for this machine on first use (half a minute; kept in the
                user's cache), which halves the cost of a network. Interpreted, with a warning, where that fails.
            baseLevel: The levels: a cheap potential below the surrogate that lets it be called less often, such as the
                file of a bonded potential fitted to QM forces (``kstep fit-bonded``), or anything that ``surrogate``
                takes; None for none.

            splitNonbonded: The MM forces: put nonbonded forces of the surroundings into a force group of their own, so
                that they can be evaluated less often.
            splitReciprocal: The MM forces: put the reciprocal space of PME or Ewald sums into another force group, so
                that it can be evaluated less often than the rest of them.
            hydrogenMass: The masses: that of the region's hydrogen atoms (amu), taken from the atoms that they are
                bonded to, which makes stretches slower and outer steps longer; positions are sampled as before, but
                times and spectra are not those of the molecule. None for the masses that there are.
            keepForces: The MM forces: those that stay as they are, by name, index or as Force objects. A name that
                several forces share does not keep what is recognised as the force field's.
            removeForces: The MM forces: those whose terms inside the region are the force field's and are taken out.

        Returns:
            A new system with the same particles in the same order.

        Raises:
            ValueError: Anything that makes no sense; the message names it. Its kinds are RegionError, LinkAtomError,
                EngineError, EmbeddingError, LevelError, SurrogateError, BondedFitError, UnsupportedForceFieldError and
                AmbiguousForceError. Nothing expensive has happened by then.
        """
        graph = MoleculeGraph(topology, system)
        region = QMRegion.create(topology, system, atoms, charge, multiplicity, graph, linkAtomDistances)
        options = MixingOptions(
            embedding=embedding,
            cutoff=_length(cutoff),
            switch_distance=_length(switchDistance),
            far_field=farField,
            charge_scheme=chargeScheme,
            surrogate=surrogate,
            surrogate_threads=surrogateThreads,
            compile_surrogate=compileSurrogate,
            base_level=baseLevel,
            split_nonbonded=splitNonbonded,
            split_reciprocal=splitReciprocal,
            hydrogen_mass=None if hydrogenMass is None else value_in(hydrogenMass, unit.dalton),
            keep_forces=keepForces,
            remove_forces=removeForces,
        )
        return mix(self.level, topology, system, region, graph, options)


def _length(value: float | unit.Quantity | None) -> float | None:
    return None if value is None else value_in(value, unit.nanometer)
