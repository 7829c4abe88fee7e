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
from openmmkstep.engines.registry import canonical_name

from .embedding_charges import EmbeddingCharges
from .region import LinkAtom, RegionForce, nativeRegion


@dataclass(frozen=True)
class QMResult:
    """The last calculation of a `QMMMForce`.

    Sites are the atoms of the region, in the order in which they were given, followed by its link atoms. Positions are
    in the frame of the region in one piece. All arrays are float64 but indices and atomic numbers.

    Attributes:
        energy: kJ/mol, with the interaction with the environment, without that of the environment with itself. The
            energy of a force with a far field differs from it by what is taken out of the force field.
        numbers: Atomic numbers of the sites [n].
        positions: Positions of the sites [n,3], nm.
        forces: Forces on the sites at fixed charges of the environment [n,3], kJ/mol/nm.
        charges: Atomic charges of the sites as the engine defines them [n], e (Mulliken charges for xTB); NaN if it
            does not tell them.
        dipole: Dipole moment of the QM region relative to the origin of the coordinates [3], e nm; NaN likewise.
        potential: Potential of the effective charges at the sites by Coulomb's law [n], kJ/mol/e.
        potentialGradient: Its gradient [n,3], kJ/mol/e/nm.
        environmentParticles: Particles of the environment that were seen [m]; -1 for the charges that stand for the far
            field, which come last.
        environmentCharges: Their effective charges [m], e.
        environmentPositions: Where they were seen [m,3], nm.
        environmentForces: Forces on them at fixed effective charges [m,3], kJ/mol/nm.
        iterations: Number of iterations of the self-consistent calculation; -1 if the engine does not tell.
        attempts: 1, or 2 if the calculation failed from the last density and was repeated from scratch.
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


@dataclass(frozen=True)
class QMQuestion:
    """What the engine of a `QMMMForce` was last asked to calculate, in the frame of `QMResult`.

    Attributes:
        numbers: Atomic numbers of the sites [n].
        positions: Positions of the sites [n,3], nm.
        environmentCharges: Effective charges of the environment that was seen [m], e.
        environmentPositions: Where they were seen [m,3], nm.
        failure: Why the calculation failed; empty if it did not.
    """

    numbers: NDArray[np.int32]
    positions: NDArray[np.float64]
    environmentCharges: NDArray[np.float64]
    environmentPositions: NDArray[np.float64]
    failure: str


class QMMMForce(RegionForce, openmm.Force):
    """The energy of a QM region, alone or in the field of point charges of its environment.

    The force acts on the QM atoms and on the charges and is the exact derivative of the energy, through link atoms and
    the switching of charges too. A calculation is repeated only if the region, the charges or the box have moved, so
    that reporters that ask for energies cost nothing.

    Everything is checked when a Context is created: indices, elements, charge and multiplicity against the number of
    electrons, cut-off against box, and that the engine is there. A region that reaches around the periodic box, so that
    it cannot be told which images belong together, is refused when it happens.

    A calculation that fails raises; but while OpenMM's minimiser tries geometries, one at which it does not converge
    has an infinite energy, from which the line search steps back.

    Args:
        particles: Indices of the QM atoms.
        atomicNumbers: Their atomic numbers.
        engine: ``"gfn2-xtb"``, ``"gfn1-xtb"``, ``"gfn-ff"``, or an engine in Python; see `getEngines` and
            `openmmkstep.engines`. Upper and lower case are the same.
        charge: Total charge of the region, e.
        multiplicity: Spin multiplicity of the region: the number of unpaired electrons plus 1.
        settings: Settings of the engine, of types that JSON has. For xTB: ``accuracy`` (0.01), ``max_iterations``
            (250), ``electronic_temperature`` (300, K), ``threads`` (1).
        embeddingCharges: What the region sees of its environment; None for nothing (mechanical embedding).
        farField: The `FarFieldForce` beside this force, if the far field is to act on the QM method itself rather than
            on the region's force-field charges: charges beyond the cut-off, all periodic images and the neutralising
            background, by Ewald summation. The method gets it as point charges on a surface around the region, and what
            the force field has of it is taken out. Images of the region keep the force field's charges. None leaves it
            as the force field has it.
        linkAtoms: Atoms that saturate cut bonds.
        bonds: Pairs of particles within the region that are bonded, so that barostats and wrapping move its molecules
            one by one. None lets the region count as one molecule.

    Raises:
        ValueError: There are not as many atomic numbers as particles, the engine has no name, or the settings cannot be
            written as JSON.
    """

    _is_instance = staticmethod(_openmmkstep.QMMMForce_isInstance)

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
        bonds: Iterable[tuple[int, int]] | None = None,
        farField: openmm.Force | None = None,
    ) -> None:
        engine = canonical_name(engine, self.getEngines())
        try:
            text = json.dumps(dict(settings or {}), allow_nan=False)
        except TypeError as error:
            raise ValueError(f"the settings of engine {engine!r} cannot be written as JSON: {error}") from error
        region = nativeRegion(particles, atomicNumbers, charge, multiplicity, linkAtoms, bonds)
        charges = EmbeddingCharges() if embeddingCharges is None else embeddingCharges
        if farField is None:
            xml = _openmmkstep.QMMMForce_create(region, engine, text, charges)
        else:
            xml = _openmmkstep.QMMMForce_createWithFarField(region, engine, text, charges, farField)
        self.this = openmm.XmlSerializer._deserializeForce(xml).this

    @staticmethod
    def getEngines() -> list[str]:
        """Names of the engines that are there, native and in Python."""
        return _openmmkstep.QMMMForce_getEngineNames()

    def getCharge(self) -> int:
        """Total charge of the region, e."""
        return self._region().getCharge()

    def getMultiplicity(self) -> int:
        """Spin multiplicity of the region."""
        return self._region().getMultiplicity()

    def _region(self) -> _openmmkstep.QMRegion:
        return _openmmkstep.QMMMForce_getRegion(self)

    def getEngine(self) -> str:
        """Name of the engine."""
        return _openmmkstep.QMMMForce_getEngine(self)

    def getEngineSettings(self) -> dict[str, Any]:
        """Settings of the engine that differ from its defaults."""
        return json.loads(_openmmkstep.QMMMForce_getEngineSettings(self))

    def getEmbeddingCharges(self) -> EmbeddingCharges:
        """The embedding charges (a copy)."""
        return EmbeddingCharges._from_native(_openmmkstep.QMMMForce_getEmbeddingCharges(self))

    def hasFarField(self) -> bool:
        """Whether the far field acts on the QM method itself."""
        return _openmmkstep.QMMMForce_hasFarField(self)

    def getLastResult(self, context: openmm.Context) -> QMResult:
        """The last calculation in a Context.

        Raises:
            openmm.OpenMMException: There was none, or it failed, or the Context does not hold this force.
        """
        return QMResult(**_openmmkstep.QMMMForce_getLastResult(self, context))

    def getLastQuestion(self, context: openmm.Context) -> QMQuestion:
        """What was last asked in a Context, whether it could be calculated or not.

        Raises:
            openmm.OpenMMException: Nothing was, or the Context does not hold this force.
        """
        return QMQuestion(**_openmmkstep.QMMMForce_getLastQuestion(self, context))

    def getNumCalls(self, context: openmm.Context) -> int:
        """How many calculations were made in a Context, whoever asked for them; failed ones count."""
        return _openmmkstep.QMMMForce_getNumCalls(self, context)

    def getTime(self, context: openmm.Context) -> unit.Quantity:
        """The wall time that they took."""
        return _openmmkstep.QMMMForce_getTime(self, context) * unit.second

    def reset(self, context: openmm.Context) -> None:
        """Forget the last result and the density from which the next calculation would start.

        What follows does not depend on the past then, to the last bit. `KStepIntegrator` does this by itself whenever a
        checkpoint is written or read.
        """
        _openmmkstep.QMMMForce_reset(self, context)
