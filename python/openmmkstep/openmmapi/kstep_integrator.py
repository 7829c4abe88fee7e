"""`KStepIntegrator`, the integrator of k-step QM/MM dynamics, as OpenMM scripts use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from openmmkstep import _openmmkstep

_TIME = unit.picosecond
_FORCE = unit.kilojoule_per_mole / unit.nanometer


def _value(quantity: Any, inUnit: unit.Unit) -> float:
    """The number behind a quantity; plain numbers are taken to be in OpenMM's units already."""
    return float(quantity.value_in_unit(inUnit) if unit.is_quantity(quantity) else quantity)


@dataclass(frozen=True)
class KStepStatistics:
    """What a `KStepIntegrator` counted and measured. Energies in kJ/mol, forces in kJ/mol/nm, times in seconds.

    Attributes
    ----------
    outerSteps, innerSteps : int
        Steps taken; inner steps include those that were undone.
    qmCalls, commonCalls : int
        Evaluations of the QM group and of the common groups, fallbacks and undone steps included.
    surrogateCalls : list of int
        Evaluations of each level, lowest first.
    fallbacks, consecutiveFallbacks : int
        Outer steps redone with plain QM steps: all, and those in a row up to now.
    lastFallbackReason : str
    correctionRMS, meanCorrectionRMS : float
        Root mean square, per coordinate, of F_Q - F_S over the monitored particles: last outer step, all outer steps.
    maxCorrection : float
        Largest abs(F_Q - F_S) on one particle in the last outer step.
    energyError, cumulativeEnergyError : float
        Change of T + U_C + U_Q less the heat taken from the thermostat: last outer step, and summed.
    totalEnergy, potentialEnergy : float
        T + U_C + U_Q after the last outer step, and U_C + U_Q.
    heat : float
        Energy taken from the thermostat so far.
    qmTime, commonTime, integratorTime : float
        Wall time; ``integratorTime`` is everything that is not a force evaluation.
    surrogateTime : list of float
        Wall time of each level, lowest first.
    """

    outerSteps: int
    innerSteps: int
    qmCalls: int
    surrogateCalls: list[int]
    commonCalls: int
    fallbacks: int
    consecutiveFallbacks: int
    lastFallbackReason: str
    correctionRMS: float
    meanCorrectionRMS: float
    maxCorrection: float
    energyError: float
    cumulativeEnergyError: float
    totalEnergy: float
    potentialEnergy: float
    heat: float
    qmTime: float
    surrogateTime: list[float]
    commonTime: float
    integratorTime: float


class KStepIntegrator(openmm.Integrator):
    """Molecular dynamics on a QM or QM/MM potential for one QM call every k steps.

    The potential is split into OpenMM force groups: common terms C (the MM force field), levels of surrogates S, ever
    better and costlier descriptions of the QM region, and the QM level Q. The Hamiltonian is T + U_C + U_Q. One
    ``step(1)`` is one outer step of k inner steps and costs one QM call: the surrogate carries the inner steps, and the
    QM force corrects them by the impulse k d (F_Q - F_S), half before and half after (reversible r-RESPA: Tuckerman,
    Berne and Martyna, J. Chem. Phys. 97, 1990 (1992)). At constant energy the map is symplectic and time reversible.
    With a friction the inner step is BAOAB (Leimkuhler and Matthews, Proc. R. Soc. A 472, 20160138 (2016)).

    A outer step that ends in a non-finite state, with a correction above `setMaxCorrection` or an energy error above
    `setMaxEnergyError`, is undone and repeated with plain QM steps.

    Parameters
    ----------
    *args
        ``(innerStepSize, k)`` for constant energy, or ``(temperature, friction, innerStepSize, k)`` for Langevin
        dynamics. Quantities with units, or numbers in ps, K and 1/ps. ``k`` is the number of inner steps per QM call.
    commonGroups : mapping of int to int, optional
        Force groups of C with their periods in inner steps, each dividing k. Default: ``{0: 1}``.
    surrogateLevels : mapping of int to int, optional
        Force groups of the surrogates, lowest level first, with their periods: 1 for the first, each a multiple of
        the one before, dividing k. Default: ``{1: 1}`` if the System has forces in group 1.
    qmGroup : int
        Force group of Q.
    monitoredParticles : iterable of int, optional
        Particles over which the correction is measured, normally the QM region. Default: all that have a mass.

    Raises
    ------
    openmm.OpenMMException
        For impossible numbers at once; for groups that overlap, are empty or do not cover all forces, when the Context
        is created; from ``step()`` when too many outer steps in a row had to be redone.

    Notes
    -----
    - ``getStepSize()`` is the outer step, k inner steps. `Simulation` and reporters count outer steps. Barostats and
      CMMotionRemover act once per outer step.
    - Energies of the groups in ``getIntegrationForceGroups()`` (which `Simulation`'s reporters and minimiser use) are
      those of the Hamiltonian. ``context.getState(energy=True)`` without groups adds the surrogates on top.
    - A checkpoint holds the stored forces and the state of the noise, so that a run continues exactly on the same
      machine.

    Examples
    --------
    >>> integrator = KStepIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 8)
    >>> simulation = app.Simulation(topology, system, integrator)
    >>> simulation.step(1000)  # 4 ps for 1001 QM calls
    """

    def __init__(
        self,
        *args: Any,
        commonGroups: Mapping[int, int] | None = None,
        surrogateLevels: Mapping[int, int] | None = None,
        qmGroup: int = 2,
        monitoredParticles: Iterable[int] = (),
    ) -> None:
        if len(args) == 2:
            args = (0.0, 0.0, *args)
        if len(args) != 4:
            raise TypeError(
                "KStepIntegrator takes (innerStepSize, k) or (temperature, friction, innerStepSize, k), "
                f"not {len(args)} positional arguments"
            )
        temperature, friction, innerStepSize, k = args
        xml = _openmmkstep.KStepIntegrator_create(
            _value(temperature, unit.kelvin), _value(friction, _TIME**-1), _value(innerStepSize, _TIME), int(k)
        )
        self.this = openmm.XmlSerializer._deserializeIntegrator(xml).this
        self.setQMGroup(qmGroup)
        for group, period in (commonGroups or {}).items():
            self.addCommonGroup(group, period)
        for group, period in (surrogateLevels or {}).items():
            self.addSurrogateLevel(group, period)
        self.setMonitoredParticles(monitoredParticles)

    @classmethod
    def cast(cls, integrator: openmm.Integrator) -> KStepIntegrator:
        """Give an integrator that came out of an XML file or a Context this class again.

        Raises
        ------
        TypeError
            If it is not a KStepIntegrator.
        """
        if not _openmmkstep.KStepIntegrator_isInstance(integrator):
            raise TypeError(f"expected a KStepIntegrator, not {type(integrator).__name__}")
        integrator.__class__ = cls
        return integrator

    def __copy__(self) -> KStepIntegrator:
        return self.cast(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any]) -> KStepIntegrator:
        return self.cast(super().__copy__())

    def addCommonGroup(self, group: int, period: int = 1) -> int:
        """Add a force group that all levels share; it acts every ``period`` inner steps. Returns its index."""
        return _openmmkstep.KStepIntegrator_addCommonGroup(self, group, period)

    def addSurrogateLevel(self, group: int, period: int = 1) -> int:
        """Add the next better level; it is evaluated every ``period`` inner steps. Returns its index."""
        return _openmmkstep.KStepIntegrator_addSurrogateLevel(self, group, period)

    def getCommonGroups(self) -> dict[int, int]:
        """The common force groups that were added, with their periods in inner steps."""
        return dict(_openmmkstep.KStepIntegrator_getCommonGroups(self))

    def getSurrogateLevels(self) -> dict[int, int]:
        """The levels that were added, lowest first: force group and period in inner steps."""
        return dict(_openmmkstep.KStepIntegrator_getSurrogateLevels(self))

    def getQMGroup(self) -> int:
        """The force group of the QM level."""
        return _openmmkstep.KStepIntegrator_getQMGroup(self)

    def setQMGroup(self, group: int) -> None:
        """Set the force group of the QM level."""
        _openmmkstep.KStepIntegrator_setQMGroup(self, group)

    def getK(self) -> int:
        """The number of inner steps per outer step, that is, per QM call."""
        return _openmmkstep.KStepIntegrator_getK(self)

    def setK(self, k: int) -> None:
        """Set the number of inner steps per outer step; the inner step stays as it is."""
        _openmmkstep.KStepIntegrator_setK(self, k)

    def getInnerStepSize(self) -> unit.Quantity:
        """The length of an inner step."""
        return _openmmkstep.KStepIntegrator_getInnerStepSize(self) * _TIME

    def setInnerStepSize(self, size: Any) -> None:
        """Set the length of an inner step (a time, or a number in ps)."""
        _openmmkstep.KStepIntegrator_setInnerStepSize(self, _value(size, _TIME))

    def getTemperature(self) -> unit.Quantity:
        """The temperature of the heat bath."""
        return _openmmkstep.KStepIntegrator_getTemperature(self) * unit.kelvin

    def setTemperature(self, temperature: Any) -> None:
        """Set the temperature of the heat bath (a temperature, or a number in K)."""
        _openmmkstep.KStepIntegrator_setTemperature(self, _value(temperature, unit.kelvin))

    def getFriction(self) -> unit.Quantity:
        """The friction coefficient; 0 means constant energy."""
        return _openmmkstep.KStepIntegrator_getFriction(self) / _TIME

    def setFriction(self, friction: Any) -> None:
        """Set the friction coefficient (an inverse time, or a number in 1/ps)."""
        _openmmkstep.KStepIntegrator_setFriction(self, _value(friction, _TIME**-1))

    def getRandomNumberSeed(self) -> int:
        """The seed of the thermostat's noise; 0 stands for a new one for every Context."""
        return _openmmkstep.KStepIntegrator_getRandomNumberSeed(self)

    def setRandomNumberSeed(self, seed: int) -> None:
        """Set the seed of the thermostat's noise; it takes effect when a Context is created."""
        _openmmkstep.KStepIntegrator_setRandomNumberSeed(self, seed)

    def getMonitoredParticles(self) -> list[int]:
        """The particles over which the correction is measured; empty for all that have a mass."""
        return _openmmkstep.KStepIntegrator_getMonitoredParticles(self)

    def setMonitoredParticles(self, particles: Iterable[int]) -> None:
        """Set the particles over which the correction is measured, before a Context is created."""
        _openmmkstep.KStepIntegrator_setMonitoredParticles(self, [int(particle) for particle in particles])

    def getMaxCorrection(self) -> unit.Quantity:
        """The bound of abs(F_Q - F_S) on a monitored particle above which a outer step is redone."""
        return _openmmkstep.KStepIntegrator_getMaxCorrection(self) * _FORCE

    def setMaxCorrection(self, bound: Any) -> None:
        """Set the bound of abs(F_Q - F_S) above which a outer step is redone (a force, or a number in kJ/mol/nm)."""
        _openmmkstep.KStepIntegrator_setMaxCorrection(self, _value(bound, _FORCE))

    def getMaxEnergyError(self) -> unit.Quantity:
        """The bound of the energy error of a outer step above which it is redone."""
        return _openmmkstep.KStepIntegrator_getMaxEnergyError(self) * unit.kilojoule_per_mole

    def setMaxEnergyError(self, bound: Any) -> None:
        """Set the bound of the energy error of a outer step (an energy, or a number in kJ/mol)."""
        _openmmkstep.KStepIntegrator_setMaxEnergyError(self, _value(bound, unit.kilojoule_per_mole))

    def getMaxConsecutiveFallbacks(self) -> int:
        """How many outer steps in a row may be redone before ``step()`` gives up."""
        return _openmmkstep.KStepIntegrator_getMaxConsecutiveFallbacks(self)

    def setMaxConsecutiveFallbacks(self, number: int) -> None:
        """Set how many outer steps in a row may be redone before ``step()`` gives up."""
        _openmmkstep.KStepIntegrator_setMaxConsecutiveFallbacks(self, number)

    def getStatistics(self) -> KStepStatistics:
        """What was counted and measured since the Context was created; a checkpoint carries it on.

        Raises
        ------
        openmm.OpenMMException
            If the integrator is not bound to a Context.
        """
        return KStepStatistics(**_openmmkstep.KStepIntegrator_getStatistics(self))
