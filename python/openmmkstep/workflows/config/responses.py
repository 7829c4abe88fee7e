"""Configuration of ``kstep generate-responses``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from kstep_models.configuration import Section

from .spectrum import LevelSection


def _file_by_ending(value: str | Path) -> str | Path:
    return Path(value) if Path(value).suffix else value


MoleculeSource = Annotated[str | Path, AfterValidator(_file_by_ending)]
"""A name that ASE knows or, with an ending, a file."""


class ResponsesConfig(Section):
    """Which linear responses are computed, for a response network to learn from.

    Attributes:
        molecules: closed-shell neutral molecules: names that ASE knows (ase.build.molecule, for example H2O, CH3OH), or
            geometry files of any format that ASE reads, whose geometries are taken in turn.
        geometries: number of geometries of each molecule.
        displacement: standard deviation of the random displacement of every coordinate, angstrom.
        level: level of theory; rks with an LDA or GGA functional or a hybrid of them.
        auxiliary_basis: fitting basis that PySCF knows, in which the response is expressed.
        elements: atomic numbers that the auxiliary basis covers; those of the molecules if empty.
        seed: of the displacements.
    """

    molecules: tuple[MoleculeSource, ...] = Field(min_length=1)
    geometries: int = Field(default=20, ge=1)
    displacement: float = Field(default=0.05, ge=0.0)
    level: LevelSection = LevelSection(functional="pbe0", grid_level=2)
    auxiliary_basis: str = "def2-svp-ri"
    elements: tuple[int, ...] = ()
    seed: int = Field(default=1, ge=0)
