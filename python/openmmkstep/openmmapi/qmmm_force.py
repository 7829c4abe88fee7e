"""`QMMMForce`, the energy of a QM region alone or in the field of its environment, as OpenMM scripts use it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from openmmkstep import _openmmkstep

from .embedding_charges import EmbeddingCharges


@dataclass(frozen=True)
class LinkAtom:
    """An atom that saturates a bond cut between region and environment, at x_Q + ratio (x_M - x_Q).

    Attributes
    ----------
    qmParticle, mmParticle : int
        The particles Q and M of the cut bond.
    ratio : float
        Between 0 and 1: the length of the bond to the link atom over the length of the cut bond.
    atomicNumber : int
        Hydrogen by default.
    """

    qmParticle: int
    mmParticle: int
    ratio: float
    atomicNumber: int = 1


@dataclass(frozen=True)
class QMResult:
    """The last calculation of a `QMMMForce`.

    Sites are the atoms of the region, in the order in which they were given, followed by its link atoms. Positions are
    in the frame of the region in one piece. All arrays are float64 but indices and atomic numbers.

    Attributes
    ----------
    energy : float
        kJ/mol, with the interaction with the environment, without that of the environment with itself.
    numbers : array [n]
        Atomic numbers of the sites.
    positions : array [n,3]
        nm.
    forces : array [n,3]
        On the sites at fixed effective charges, kJ/mol/nm.
    charges : array [n]
        Mulliken charges of the sites, e.
    dipole : array [3]
        Of the QM region relative to the origin of the coordinates, e nm.
    potential : array [n]
        Of the effective charges at the sites by Coulomb's law, kJ/mol/e.
    potentialGradient : array [n,3]
        Its gradient, kJ/mol/e/nm.
    environmentParticles : array [m]
        Particles of the environment that were seen.
    environmentCharges : array [m]
        Their effective charges, e.
    environmentPositions : array [m,3]
        Where they were seen, nm.
    environmentForces : array [m,3]
        On them, at fixed effective charges, kJ/mol/nm.
    iterations : int
        Of the self-consistent calculation; -1 if the engine does not tell.
    attempts : int
        1, or 2 if the calculation failed from the last density and was repeated from scratch.
    """

    energy: float
    numbers: NDArray[np.int32]
    positions: NDArray[np.float64]
    forces: NDArray[np.float64]
    charges: NDArray[np.float64]
    dipole: NDArray[np.float64]
    potential: NDArray[np.float64]
    potentialGradient: NDArray[np.float64]
    environmentParticles: NDArray[np.int32]
    environmentCharges: NDArray[np.float64]
    environmentPositions: NDArray[np.float64]
    environmentForces: NDArray[np.float64]
    iterations: int
    attempts: int


class QMMMForce(openmm.Force):
    """The energy of a QM region, alone or in the field of point charges of its environment.

    The force acts on the QM atoms and on the charges and is the exact derivative of the energy, through link atoms and
    the switching of charges too. A calculation is repeated only if the region, the charges or the box have moved, so
    that reporters that ask for energies cost nothing.

    Everything is checked when a Context is created: indices, elements, charge and multiplicity against the number of
    electrons, cut-off against box, and that the engine is there.

    Parameters
    ----------
    particles : sequence of int
        Indices of the QM atoms.
    atomicNumbers : sequence of int
        Their atomic numbers.
    engine : str
        ``"gfn2-xtb"``, ``"gfn1-xtb"``, ``"analytic"`` (for tests), or a registered engine: see `getEngines`.
    charge : int
        Total charge of the region.
    multiplicity : int
        Spin multiplicity of the region: the number of unpaired electrons plus 1.
    settings : mapping, optional
        Settings of the engine, of types that JSON has. For xTB: ``accuracy`` (0.01), ``max_iterations`` (250),
        ``electronic_temperature`` (300, K), ``threads`` (1), ``library`` (the folder of libxtb, or libxtb itself).
    embeddingCharges : EmbeddingCharges, optional
        What the region sees of its environment. Default: nothing (mechanical embedding).
    linkAtoms : iterable of LinkAtom, optional
        Atoms that saturate cut bonds.

    Raises
    ------
    ValueError
        If there are not as many atomic numbers as particles, or the settings cannot be written as JSON.
    """

    def __init__(
        self,
        particles: Sequence[int],
        atomicNumbers: Sequence[int],
        engine: str = "gfn2-xtb",
        charge: int = 0,
        multiplicity: int = 1,
        settings: Mapping[str, Any] | None = None,
        embeddingCharges: EmbeddingCharges | None = None,
        linkAtoms: Iterable[LinkAtom] = (),
    ) -> None:
        try:
            text = json.dumps(dict(settings or {}), allow_nan=False)
        except TypeError as error:
            raise ValueError(f"the settings of engine {engine!r} cannot be written as JSON: {error}") from error
        xml = _openmmkstep.QMMMForce_create(
            [int(particle) for particle in particles],
            [int(number) for number in atomicNumbers],
            int(charge),
            int(multiplicity),
            [(link.qmParticle, link.mmParticle, link.ratio, link.atomicNumber) for link in linkAtoms],
            engine,
            text,
            EmbeddingCharges() if embeddingCharges is None else embeddingCharges,
        )
        self.this = openmm.XmlSerializer._deserializeForce(xml).this

    @staticmethod
    def getEngines() -> list[str]:
        """Names of the engines that are there."""
        return _openmmkstep.QMMMForce_getEngineNames()

    @staticmethod
    def isinstance(force: openmm.Force) -> bool:
        """Whether a force is a QMMMForce, whatever class OpenMM gave it on reading it from a file or a System."""
        return _openmmkstep.QMMMForce_isInstance(force)

    @classmethod
    def cast(cls, force: openmm.Force) -> QMMMForce:
        """Turn a force that OpenMM returned as a plain ``Force`` (from a System or a file) into a QMMMForce.

        Raises
        ------
        TypeError
            If it is another kind of force.
        """
        if not cls.isinstance(force):
            raise TypeError(f"{type(force).__name__} {force.getName()!r} is not a QMMMForce")
        force.__class__ = cls
        return force

    def getParticles(self) -> NDArray[np.int32]:
        """Indices of the QM atoms [n]."""
        return _openmmkstep.QMMMForce_getParticles(self)

    def getAtomicNumbers(self) -> NDArray[np.int32]:
        """Atomic numbers of the QM atoms [n]."""
        return _openmmkstep.QMMMForce_getAtomicNumbers(self)

    def getLinkAtoms(self) -> list[LinkAtom]:
        """The link atoms."""
        return [LinkAtom(*link) for link in _openmmkstep.QMMMForce_getLinkAtoms(self)]

    def getCharge(self) -> int:
        """Total charge of the region, e."""
        return _openmmkstep.QMMMForce_getCharge(self)

    def getMultiplicity(self) -> int:
        """Spin multiplicity of the region."""
        return _openmmkstep.QMMMForce_getMultiplicity(self)

    def getEngine(self) -> str:
        """Name of the engine."""
        return _openmmkstep.QMMMForce_getEngine(self)

    def getEngineSettings(self) -> dict[str, Any]:
        """Settings of the engine that differ from its defaults."""
        return json.loads(_openmmkstep.QMMMForce_getEngineSettings(self))

    def getEmbeddingCharges(self) -> EmbeddingCharges:
        """The embedding charges (a copy)."""
        return EmbeddingCharges._from_native(_openmmkstep.QMMMForce_getEmbeddingCharges(self))

    def getLastResult(self, context: openmm.Context) -> QMResult:
        """The last calculation in a Context.

        Raises
        ------
        openmm.OpenMMException
            If there was none, or it failed, or the Context does not hold this force.
        """
        return QMResult(**_openmmkstep.QMMMForce_getLastResult(self, context))

    def getNumCalls(self, context: openmm.Context) -> int:
        """How many calculations the engine has made in a Context."""
        return _openmmkstep.QMMMForce_getNumCalls(self, context)

    def getTime(self, context: openmm.Context) -> unit.Quantity:
        """The wall time that they took."""
        return _openmmkstep.QMMMForce_getTime(self, context) * unit.second

    def reset(self, context: openmm.Context) -> None:
        """Forget the last result and the density from which the next calculation would start.

        What follows does not depend on the past then, to the last bit. Call it where a trajectory must go on
        identically from a checkpoint: when the checkpoint is written and when it is read.
        """
        _openmmkstep.QMMMForce_reset(self, context)
