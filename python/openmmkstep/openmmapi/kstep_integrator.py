"""`KStepIntegrator`, the integrator of k-step QM/MM dynamics, as OpenMM scripts use it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from openmmkstep import _openmmkstep
from openmmkstep.units import value_in

from .wrapped import Wrapped

_TIME = unit.picosecond
_FORCE = unit.kilojoule_per_mole / unit.nanometer


@dataclass(frozen=True)
class KStepStatistics:
    """What a `KStepIntegrator` counted and measured. Energies in kJ/mol, forces in kJ/mol/nm, times in seconds.

    Attributes:
        outerSteps: Outer steps taken.
        innerSteps: Inner steps taken, those that were undone included.
        qmCalls: Evaluations of the QM group that the integrator asked for, fallbacks and undone steps included.
        otherQMCalls: QM calculations that others asked for (barostats, minimisers, reporters); None if the QM level is
            a force that does not count them.
        surrogateCalls: Evaluations of each surrogate level, lowest first.
        commonCalls: Evaluations of the common groups.
        fallbacks: Outer steps redone with plain QM steps.
        consecutiveFallbacks: Those in a row up to now.
        lastFallbackReason: Why the last of them was redone.
        measuredCorrections: Outer steps at whose end the correction was measured.
        correctionRMS: Root mean square, per coordinate, of F_Q - F_S over the monitored particles at the end of the
            last outer step; None if it was not measured (no surrogate, or one that failed).
        meanCorrectionRMS: The same over all outer steps at which it was measured; None if it never was.
        maxCorrection: Largest abs(F_Q - F_S) on one particle at the end of the last outer step; None if not measured.
        energyError: Change of T + U_C + U_Q less the heat taken from the thermostat in the last outer step.
        cumulativeEnergyError: The same, summed over all outer steps.
        totalEnergy: T + U_C + U_Q after the last outer step.
        potentialEnergy: U_C + U_Q after the last outer step.
        heat: Energy taken from the thermostat so far.
        regionKineticEnergy: Kinetic energy of the monitored particles in the middle of the last outer step's drifts,
            after the noise, where velocities have the distribution of the temperature. (At the ends of steps they are
            too cold.)
        restKineticEnergy: The same of all other particles.
        acceptedSteps: Outer steps that Metropolis accepted (see `KStepIntegrator.setMetropolis`).
        rejectedSteps: Outer steps that it rejected. They end where they started: the correction there is counted once
            more, the energies are those there, nothing is added to the heat and to the energy errors, and the kinetic
            energies of region and rest stay those of the last step that was kept.
        guardRejections: Those of them that were refused because they failed or exceeded a bound. In a row they count as
            fallbacks do, and the reason is the last fallback's.
        flips: Rejections after which all velocities turned round.
        acceptance: Accepted steps of all on which Metropolis decided; None before the first.
        metropolisError: Error of energy by which Metropolis decides, in the last outer step; None if not measured.
        meanAcceptanceProbability: Mean of min(1, exp(-error/kT)), 0 for steps that the guard refused; in mode "monitor"
            too. It is known better than the acceptance, whose decisions are random.
        qmTime: Wall time of the QM group.
        surrogateTime: Wall time of each surrogate level, lowest first.
        commonTime: Wall time of the common groups.
        integratorTime: Wall time of everything that is not a force evaluation.
    """

    outerSteps: int
    innerSteps: int
    qmCalls: int
    otherQMCalls: int | None
    surrogateCalls: list[int]
    commonCalls: int
    fallbacks: int
    consecutiveFallbacks: int
    lastFallbackReason: str
    measuredCorrections: int
    correctionRMS: float | None
    meanCorrectionRMS: float | None
    maxCorrection: float | None
    energyError: float
    cumulativeEnergyError: float
    totalEnergy: float
    potentialEnergy: float
    heat: float
    regionKineticEnergy: float
    restKineticEnergy: float
    acceptedSteps: int
    rejectedSteps: int
    guardRejections: int
    flips: int
    acceptance: float | None
    metropolisError: float | None
    meanAcceptanceProbability: float | None
    qmTime: float
    surrogateTime: list[float]
    commonTime: float
    integratorTime: float


class KStepIntegrator(Wrapped, openmm.Integrator):
    """Molecular dynamics on a QM or QM/MM potential for one QM call every k steps.

    The potential is split into OpenMM force groups: common terms C (the MM force field), surrogates S that describe the
    QM region ever better and at ever higher cost, and the QM level Q. The Hamiltonian is T + U_C + U_Q. One
    ``step(1)`` is one outer step of k inner steps and costs one QM call: the surrogate carries the inner steps, and the
    QM force corrects them by the impulse k d (F_Q - F_S), half before and half after (reversible r-RESPA: Tuckerman,
    Berne and Martyna, J. Chem. Phys. 97, 1990 (1992)). At constant energy the map is symplectic and time reversible.
    With a friction the inner step is BAOAB (Leimkuhler and Matthews, Proc. R. Soc. A 472, 20160138 (2016)); friction
    and noise act in the middle of the period of the slowest common forces, once for all of its inner steps.

    An outer step that ends in a non-finite state, with a correction above `setMaxCorrection` or an energy error above
    `setMaxEnergyError`, or in which a force failed, is undone and repeated with plain QM steps.

    `setMetropolis` makes the sampled distribution exact whatever the surrogate is, for no further QM call. Rejected
    steps count as steps, and rejections make the kinetics others than those of the dynamics.

    Periods are inner steps between impulses. (OpenMM's own multiple time step integrators name substeps per step, the
    reciprocal.) `openmmkstep.createIntegrator` names all groups and periods of a system from
    `QMMMPotential.createMixedSystem`.

    ``getStepSize()`` is the outer step, k inner steps. `Simulation` and reporters count outer steps. Barostats and
    CMMotionRemover act once per outer step. Energies of the groups in ``getIntegrationForceGroups()`` (which
    `Simulation`'s reporters and minimiser use) are those of the Hamiltonian; ``context.getState(energy=True)`` without
    groups adds the surrogates on top. Stored forces are used again only if positions, box and parameters are what they
    were computed for, whoever may have changed them. A checkpoint holds the stored forces, the state of the noise and
    the densities that the QM level starts from, so that a run continues exactly on the same machine; engines that
    cannot tell theirs forget them whenever one is written or read. Its forces are used only if the System, as it was
    when the Context was created, and the groups are the same, and otherwise computed anew. Ctrl-C ends ``step()`` with
    KeyboardInterrupt before the next outer step.

    Args:
        *args: ``(innerStepSize, k)`` for constant energy, or ``(temperature, friction, innerStepSize, k)`` for Langevin
            dynamics. Quantities with units, or numbers in ps, K and 1/ps. ``k`` is the number of inner steps per QM
            call.
        commonGroups: Force groups of C with their periods in inner steps, each dividing k. Default: ``{0: 1}``.
        surrogateLevels: Force groups of the surrogates, lowest level first, with their periods: 1 for the first, each a
            multiple of the one before, dividing k. Default: ``{1: 1}`` if the System has forces in group 1.
        qmGroup: Force group of Q.
        monitoredParticles: Particles over which the correction is measured and whose temperature is told apart,
            normally the QM region. Default: all that have a mass.

    Raises:
        TypeError: For numbers that should be whole and are not, True and False among them.
        openmm.OpenMMException: For impossible numbers at once; for groups that overlap, are empty or do not cover all
            forces, when the Context is created; for groups that are changed after that; from ``step()`` when too many
            outer steps in a row had to be redone or refused, and when Metropolis is on at a temperature of 0.

    Example:
        >>> integrator = KStepIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 8)
        >>> simulation = app.Simulation(topology, system, integrator)
        >>> simulation.step(1000)  # 4 ps for 1001 QM calls
    """

    _is_instance = staticmethod(_openmmkstep.KStepIntegrator_isInstance)

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
            value_in(temperature, unit.kelvin),
            value_in(friction, _TIME**-1),
            value_in(innerStepSize, _TIME),
            _whole("k", k),
        )
        self.this = openmm.XmlSerializer._deserializeIntegrator(xml).this
        self.setQMGroup(qmGroup)
        for group, period in (commonGroups or {}).items():
            self.addCommonGroup(group, period)
        for group, period in (surrogateLevels or {}).items():
            self.addSurrogateLevel(group, period)
        self.setMonitoredParticles(monitoredParticles)

    def step(self, steps: int) -> None:
        """Take outer steps.

        Raises:
            openmm.OpenMMException: A force fails where there is nothing to fall back to, or too many outer steps in a
                row had to be redone; the state is that before the last outer step.
            KeyboardInterrupt: Ctrl-C; the state is that after the last complete outer step.
        """
        super().step(_whole("the number of steps", steps))
        # Python itself would raise it at its next opportunity.
        _openmmkstep.Interruption_raise()

    def addCommonGroup(self, group: int, period: int = 1) -> int:
        """Add a force group that all levels share; it acts every ``period`` inner steps. Returns its index."""
        return _openmmkstep.KStepIntegrator_addCommonGroup(
            self, _whole("a force group", group), _whole("the period of a force group", period)
        )

    def addSurrogateLevel(self, group: int, period: int = 1) -> int:
        """Add the next better surrogate level; it is evaluated every ``period`` inner steps. Returns its index."""
        return _openmmkstep.KStepIntegrator_addSurrogateLevel(
            self, _whole("a force group", group), _whole("the period of a force group", period)
        )

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
        _openmmkstep.KStepIntegrator_setQMGroup(self, _whole("a force group", group))

    def getK(self) -> int:
        """The number of inner steps per outer step, that is, per QM call."""
        return _openmmkstep.KStepIntegrator_getK(self)

    def setK(self, k: int) -> None:
        """Set the number of inner steps per outer step; the inner step stays as it is."""
        _openmmkstep.KStepIntegrator_setK(self, _whole("k", k))

    def getInnerStepSize(self) -> unit.Quantity:
        """The length of an inner step."""
        return _openmmkstep.KStepIntegrator_getInnerStepSize(self) * _TIME

    def setInnerStepSize(self, size: Any) -> None:
        """Set the length of an inner step (a time, or a number in ps)."""
        _openmmkstep.KStepIntegrator_setInnerStepSize(self, value_in(size, _TIME))

    def getTemperature(self) -> unit.Quantity:
        """The temperature of the heat bath."""
        return _openmmkstep.KStepIntegrator_getTemperature(self) * unit.kelvin

    def setTemperature(self, temperature: Any) -> None:
        """Set the temperature of the heat bath (a temperature, or a number in K)."""
        _openmmkstep.KStepIntegrator_setTemperature(self, value_in(temperature, unit.kelvin))

    def getFriction(self) -> unit.Quantity:
        """The friction coefficient; 0 means constant energy."""
        return _openmmkstep.KStepIntegrator_getFriction(self) / _TIME

    def setFriction(self, friction: Any) -> None:
        """Set the friction coefficient (an inverse time, or a number in 1/ps)."""
        _openmmkstep.KStepIntegrator_setFriction(self, value_in(friction, _TIME**-1))

    def getMetropolis(self) -> str:
        """How outer steps are accepted: "off", "monitor", "correction" or "full"."""
        return _openmmkstep.KStepIntegrator_getMetropolis(self)

    def setMetropolis(self, mode: str) -> None:
        """Set how outer steps are accepted; it may change at any time.

        A step is accepted with the probability min(1, exp(-error/kT)). Else positions go back to the start of the step
        and velocities turn round (generalised hybrid Monte Carlo: Horowitz, Phys. Lett. B 268, 247 (1991)). Only the
        energies that are known anyway are needed, and no further QM call. A rejected step counts as a step, and the
        state at its start is sampled once more: time is then a count of steps, and the kinetics are not those of the
        dynamics. Steps that the guard would redo are rejected, because redoing them otherwise would break detailed
        balance; states with a correction above `setMaxCorrection` are so left out of the ensemble.

        Modes:
            "off": Every step is accepted; the guard alone looks after them.
            "monitor": The same steps, to the last bit, and the error of "correction" is measured; see
                `KStepStatistics.meanAcceptanceProbability`.
            "correction": The error is what the correction adds to the energy: the changes of the kinetic energy in its
                two half kicks and that of U_Q - U_S, S being the best surrogate. U_Q - U_S is then exact, on top of
                what the inner steps sample with S, which has the small error of plain dynamics with this inner step and
                these periods. Acceptance does not fall with the size of the solvent. With k = 1 there is no correction
                and all is accepted.
            "full": The error is that of T + U_C + U_Q less the heat (Sivak, Chodera and Crooks, Phys. Rev. X 3, 011007
                (2013)). The canonical distribution of T + U_C + U_Q is then exact, whatever the step; but the error
                grows with the number of particles and acceptance falls: for small systems.

        All but "off" need a temperature above 0.

        Raises:
            openmm.OpenMMException: Another mode.
        """
        _openmmkstep.KStepIntegrator_setMetropolis(self, mode)

    def getThermostatInterval(self) -> int:
        """Friction and noise act in every n-th outer step."""
        return _openmmkstep.KStepIntegrator_getThermostatInterval(self)

    def setThermostatInterval(self, interval: int) -> None:
        """Let friction and noise act in every n-th outer step only (from the first on), then for the time of all n."""
        _openmmkstep.KStepIntegrator_setThermostatInterval(self, _whole("the thermostat's interval", interval))

    def getReducedFlips(self) -> bool:
        """Whether rejected steps without noise turn velocities round only as often as balance needs."""
        return _openmmkstep.KStepIntegrator_getReducedFlips(self)

    def setReducedFlips(self, reduced: bool) -> None:
        """Set whether rejected steps turn velocities round only as often as balance needs (the default), or always.

        It makes a difference in steps without noise (see `setThermostatInterval`) that follow on another. With the
        probability of rejection r(z) at a state z, and Rz that state with velocities reversed, velocities turn round
        with probability max(0, r(z) - r(Rz)) (Sohl-Dickstein, arXiv:1205.1939; Wagoner and Pande, J. Chem. Phys. 137,
        214105 (2012)). r(Rz) follows from the last step. If positions, box, parameters or settings have changed since,
        or velocities by more than one part in 10^4, it is not known, and velocities turn round.
        """
        _openmmkstep.KStepIntegrator_setReducedFlips(self, bool(reduced))

    def getRandomNumberSeed(self) -> int:
        """The seed of the thermostat's noise; 0 stands for a new one for every Context."""
        return _openmmkstep.KStepIntegrator_getRandomNumberSeed(self)

    def setRandomNumberSeed(self, seed: int) -> None:
        """Set the seed of the thermostat's noise and of Metropolis' decisions, which takes effect in the next Context.

        0 takes a new one for every Context; all others, negative ones too, fix the numbers, as in OpenMM.
        """
        _openmmkstep.KStepIntegrator_setRandomNumberSeed(self, _whole("the seed", seed))

    def getMonitoredParticles(self) -> list[int]:
        """The particles over which the correction is measured; empty for all that have a mass."""
        return _openmmkstep.KStepIntegrator_getMonitoredParticles(self)

    def setMonitoredParticles(self, particles: Iterable[int]) -> None:
        """Set the particles over which the correction is measured, before a Context is created."""
        _openmmkstep.KStepIntegrator_setMonitoredParticles(self, [_whole("a particle", index) for index in particles])

    def getMaxCorrection(self) -> unit.Quantity:
        """The bound of abs(F_Q - F_S) on a monitored particle above which an outer step is redone."""
        return _openmmkstep.KStepIntegrator_getMaxCorrection(self) * _FORCE

    def setMaxCorrection(self, bound: Any) -> None:
        """Set the bound of abs(F_Q - F_S) above which an outer step is redone (a force, or a number in kJ/mol/nm)."""
        _openmmkstep.KStepIntegrator_setMaxCorrection(self, value_in(bound, _FORCE))

    def getMaxEnergyError(self) -> unit.Quantity:
        """The bound of the energy error of an outer step above which it is redone."""
        return _openmmkstep.KStepIntegrator_getMaxEnergyError(self) * unit.kilojoule_per_mole

    def setMaxEnergyError(self, bound: Any) -> None:
        """Set the bound of the energy error of an outer step (an energy, or a number in kJ/mol).

        It is that of Systems of up to 10,000 particles. The noise of MM forces grows with the square root of their
        number, and beyond them so does the bound.
        """
        _openmmkstep.KStepIntegrator_setMaxEnergyError(self, value_in(bound, unit.kilojoule_per_mole))

    def getMaxConsecutiveFallbacks(self) -> int:
        """How many outer steps in a row may be redone before ``step()`` gives up."""
        return _openmmkstep.KStepIntegrator_getMaxConsecutiveFallbacks(self)

    def setMaxConsecutiveFallbacks(self, number: int) -> None:
        """Set how many outer steps in a row may be redone before ``step()`` gives up."""
        _openmmkstep.KStepIntegrator_setMaxConsecutiveFallbacks(self, _whole("the number of fallbacks", number))

    def getStatistics(self) -> KStepStatistics:
        """What was counted and measured since the Context was created; a checkpoint carries it on.

        Raises:
            openmm.OpenMMException: The integrator is not bound to a Context.
        """
        return KStepStatistics(**_openmmkstep.KStepIntegrator_getStatistics(self))


def _whole(name: str, value: Any) -> int:
    """A whole number that C++ can hold; bools are none, however they behave."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"KStepIntegrator: {name} must be a whole number, not {value!r}") from error
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"KStepIntegrator: {name} must be a number of 32 bits, not {number}")
    return number
