"""Sections that several commands share: the molecular system, the QM region, the surrogate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kstep_models.configuration import FileOrName, Section
from openmmkstep.engines.registry import canonical_name
from openmmkstep.qmmm.levels.settings import LevelSettings

from .quantities import FileSize, Length


class SolventSection(Section):
    """Water (and ions) to put around the structure.

    Attributes:
        model: water model for placing molecules; the force field decides what they become.
        box_size: width of the cubic box, nm.
        ionic_strength: mol/L.
    """

    model: Literal["tip3p", "spce", "tip4pew", "tip5p"] = "tip3p"
    box_size: Length
    ionic_strength: float = Field(default=0.0, ge=0.0, le=5.0)


class SystemSection(Section):
    """The molecules and their force field.

    Attributes:
        structure: PDB or mmCIF file; or none, with ``prmtop``, ``psf`` or ``top``, and ``coordinates``.
        force_field: files for openmm.app.ForceField, beside the configuration or of OpenMM.
        prmtop: Amber topology, instead of structure and force field.
        psf: CHARMM topology, instead of structure and force field; with ``parameters``.
        parameters: CHARMM parameter files (rtf, par or prm, str) for ``psf``.
        top: GROMACS topology, instead of structure and force field; bonds that ``constraints`` holds have no terms.
        include_folder: Where files that ``top`` includes are; that of an installed GROMACS if none.
        coordinates: Positions for ``prmtop``, ``psf`` or ``top``: inpcrd, rst7, crd, cor, gro, pdb or cif.
        box: Widths of a rectangular box, nm, where the files have none.
        solvent: water to add; none if the structure is complete.
        nonbonded_method: of the force field.
        nonbonded_cutoff: of the force field, nm.
        switch_distance: where Lennard-Jones begins to be switched off, nm; none if it just ends at the cut-off, where
            the energy then jumps.
        rigid_water: constrain MM water.
        constraints: of MM bonds; those inside the QM region are removed.
        hydrogen_mass: amu, for hydrogen mass repartitioning; changes the dynamics of the QM region too.
    """

    structure: Path | None = None
    force_field: tuple[FileOrName, ...] = ("amber14-all.xml", "amber14/tip3p.xml")
    prmtop: Path | None = None
    psf: Path | None = None
    parameters: tuple[Path, ...] = ()
    top: Path | None = None
    include_folder: Path | None = None
    coordinates: Path | None = None
    box: tuple[Length, Length, Length] | None = None
    solvent: SolventSection | None = None
    nonbonded_method: Literal["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME"] | None = None
    nonbonded_cutoff: Length = 0.9
    switch_distance: Length | None = None
    rigid_water: bool = True
    constraints: Literal["none", "HBonds", "AllBonds"] = "none"
    hydrogen_mass: float | None = Field(default=None, gt=1.0, le=4.0)

    @model_validator(mode="after")
    def _one_source(self) -> SystemSection:
        complete = [name for name in ("prmtop", "psf", "top") if getattr(self, name) is not None]
        if len(complete) + (self.structure is not None) != 1:
            raise ValueError(
                "give either 'structure' (with 'force_field') or one of 'prmtop', 'psf' and 'top' (with 'coordinates')"
            )
        if bool(complete) != (self.coordinates is not None):
            raise ValueError("'coordinates' and one of 'prmtop', 'psf' and 'top' belong together")
        if (self.psf is not None) != bool(self.parameters):
            raise ValueError("'psf' and 'parameters' belong together")
        if self.include_folder is not None and self.top is None:
            raise ValueError("'include_folder' is for 'top'")
        if self.solvent is not None and (complete or self.box is not None):
            what = "has a box of its own: leave out 'box'" if self.box is not None else "needs 'structure'"
            raise ValueError(f"'solvent' {what}; the topologies of Amber, CHARMM and GROMACS are complete as they are")
        if complete and "force_field" in self.model_fields_set:
            raise ValueError(f"'force_field' is for 'structure': the file of {complete[0]!r} has its own")
        return self

    @model_validator(mode="after")
    def _switched_before_the_end(self) -> SystemSection:
        if self.switch_distance is not None and self.switch_distance >= self.nonbonded_cutoff:
            raise ValueError(
                f"'switch_distance' ({self.switch_distance:g} nm) must be below 'nonbonded_cutoff' "
                f"({self.nonbonded_cutoff:g} nm)"
            )
        return self


class QMSection(Section):
    """The QM region and its method.

    Attributes:
        method: Name of the QM method; upper and lower case are the same.
        atoms: Indices ("0-21,30"), "all", "solute" (everything but water and ions), a selection such as "sidechain and
            resid 11 20" or "resname LIG or same residue as (water and within 4 A of resname LIG)", whose distances are
            those of the starting structure; or a list of indices and selections, which are united.
        charge: Total charge of the region, e.
        multiplicity: Spin multiplicity of the region.
        embedding: "electrostatic" or "mechanical".
        cutoff: Distance beyond which the region does not see charges, nm; none for all.
        switch_distance: Distance where the charges begin to be switched off, nm.
        far_field: "force-field": the region's force-field charges act beyond the cut-off; "qm": what lies there, and
            all periodic images, polarise the QM region; "none": nothing does; the first by default where it can be.
        link_atom_distances: Lengths of bonds to link atoms instead of the standard ones, as [particle, particle,
            length], for bonds that the region cuts.
        charge_scheme: What becomes of the charge at the MM end of such bonds: "none", "delete", "shift", "rc", "rcd".
        hydrogen_mass: Mass of the region's hydrogen atoms, amu, taken from the atoms they are bonded to: slower
            stretches, longer outer steps, and times that are not those of the molecule; none for the masses there are.
        settings: Settings of the method by its own names, such as accuracy, max_iterations and threads of xTB.
        keep_forces: Names or indices of force-field forces that stay as they are inside the region too.
        remove_forces: Names or indices of forces whose terms inside the region are the force field's, where that
            cannot be told.
    """

    method: str = "gfn2-xtb"
    atoms: str | tuple[int | str, ...] = "solute"
    charge: int = 0
    multiplicity: int = Field(default=1, ge=1)
    embedding: Literal["electrostatic", "mechanical"] = "electrostatic"
    cutoff: Length | None = None
    switch_distance: Length | None = None
    far_field: Literal["force-field", "qm", "none"] | None = None
    link_atom_distances: tuple[tuple[int, int, Length], ...] = ()
    charge_scheme: Literal["none", "delete", "shift", "rc", "rcd"] = "shift"
    hydrogen_mass: float | None = Field(default=None, ge=1.0, le=4.0)
    settings: dict[str, Any] = Field(default_factory=dict)
    keep_forces: tuple[str | int, ...] = ()
    remove_forces: tuple[str | int, ...] = ()

    @field_validator("method")
    @classmethod
    def _the_same_run_in_capitals(cls, method: str) -> str:
        return canonical_name(method)


class CacheSection(Section):
    """QM results kept on disk, for engines in Python: a repeated or restarted job asks for no geometry twice.

    Attributes:
        folder: Where they are; several jobs may share it.
        size: Of all files together; the oldest are removed.
    """

    folder: Path
    size: FileSize = 1e9


class SurrogateSection(Section):
    """The surrogate and the level below it; periods are in inner steps.

    Attributes:
        method: A QM method in the same MM charges as surrogate, such as gfn2-xtb below a density functional; none for
            an archive alone.
        settings: Settings of that method by its own names.
        archive: Exported potential; beside a method, one that was trained on the difference from it.
        period: Inner steps between evaluations of the surrogate.
        base_level: Potential below the surrogate: the file of a bonded fit (``kstep fit-bonded``) or of an archive, the
            name of a QM method, or "force-field" for the region's own force-field terms; none if the surrogate acts at
            every inner step.
        threads: For archives.
        compiled: Compile archives for this machine on first use; interpreted where that fails.
    """

    method: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    archive: Path | None = None
    period: int = Field(default=1, ge=1)
    base_level: FileOrName | None = None
    threads: int = Field(default=1, ge=1)
    compiled: bool = False

    @field_validator("method")
    @classmethod
    def _the_same_run_in_capitals(cls, method: str | None) -> str | None:
        return None if method is None else canonical_name(method)

    @model_validator(mode="after")
    def _something_at_all(self) -> SurrogateSection:
        if self.method is None and self.archive is None and self.base_level is None:
            raise ValueError(
                "give 'archive', the file of an exported potential, or 'method', a QM method, or both; or 'base_level' "
                "to have nothing better below QM"
            )
        if self.settings and self.method is None:
            raise ValueError("'settings' are those of 'method', which is not given")
        return self

    @model_validator(mode="after")
    def _something_every_step(self) -> SurrogateSection:
        if self.period != 1 and self.method is None and self.archive is None:
            raise ValueError(f"period {self.period} is that of an archive or a method, and there is none")
        if self.period != 1 and not self.has_base_level:
            raise ValueError(
                f"period {self.period} needs a base level below the surrogate, because something must act at every "
                "inner step: give 'base_level', a file of kstep fit-bonded or force-field"
            )
        return self

    @property
    def has_base_level(self) -> bool:
        """Whether there is a level below the surrogate."""
        return self.base_level is not None


def level_settings(
    k: int,
    inner_step: float,
    surrogate: SurrogateSection | None,
    nonbonded_period: int = 1,
    reciprocal_period: int | None = None,
) -> LevelSettings:
    """The time step and periods that a configuration means, checked against each other.

    Args:
        k: Inner steps per QM call.
        inner_step: Length of an inner step, ps.
        surrogate: The surrogate and its period.
        nonbonded_period: Inner steps between evaluations of nonbonded MM forces.
        reciprocal_period: Inner steps between evaluations of the reciprocal space of Ewald sums; None for the same.

    Raises:
        ValueError: Periods that do not divide k; more than one inner step without a surrogate.
    """
    if surrogate is None and k > 1:
        raise ValueError(f"k = {k} needs a surrogate between the QM calls: add the section 'surrogate', or set k to 1")
    return LevelSettings(
        k, inner_step, 1 if surrogate is None else surrogate.period, nonbonded_period, reciprocal_period
    )
