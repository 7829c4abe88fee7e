"""The runs of a check of ensembles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import openmm

from openmmkstep.analysis.ensemble.two_temperatures import good_second_temperature
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.levels.settings import LevelSettings
from openmmkstep.qmmm.system_copy import copy_without
from openmmkstep.workflows.config.validate import ValidateConfig

from ...systems import ValidationSystems
from .recorder import InnerPositions, watch


class Kind(StrEnum):
    """What moves the atoms."""

    PLAIN = "plain"
    KSTEP = "kstep"
    SURROGATE = "surrogate"


@dataclass(frozen=True)
class EnsembleRun:
    """One trajectory.

    Attributes:
        name: of its file.
        label: for people.
        kind: what moves the atoms.
        levels: time step and periods.
        temperature: K.
        time: sampled, ps.
        seed: of its noise.
        is_second: whether it is there for the test of two temperatures only.
    """

    name: str
    label: str
    kind: Kind
    levels: LevelSettings
    temperature: float
    time: float
    seed: int
    is_second: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that a recording of this run has, however long it is."""
        return {"kind": str(self.kind), **asdict(self.levels), "temperature": self.temperature, "seed": self.seed}


def ensemble_runs(config: ValidateConfig, freedom: int) -> list[EnsembleRun]:
    """All runs, the costly ones last, so that what is wrong with the others shows early.

    Args:
        config: what is validated.
        freedom: degrees of freedom of the whole system, for the choice of the second temperature.
    """
    section, target = config.ensemble, config.temperature
    second = section.second_temperature or round(good_second_temperature(target, freedom))
    runs = []
    for k in section.ks:
        levels = config.levels(k, section.nonbonded_period)
        arguments = (Kind.KSTEP, levels)
        runs.append(EnsembleRun(f"k{k}", f"k = {k}", *arguments, target, section.time, config.seed + 10 * k))
        if section.two_temperatures:
            label, seed = f"k = {k}, {second:g} K", config.seed + 10 * k + 1
            runs.append(EnsembleRun(f"k{k}_second", label, *arguments, second, section.time, seed, is_second=True))
    if section.surrogate_alone:
        levels = LevelSettings(1, config.inner_step)
        runs.append(
            EnsembleRun("surrogate", "surrogate alone", Kind.SURROGATE, levels, target, section.time, config.seed + 5)
        )
    levels = LevelSettings(1, section.plain_step)
    for number in (1, 2):
        label = f"plain QM, run {number}"
        seed = config.seed + number
        runs.append(EnsembleRun(f"plain{number}", label, Kind.PLAIN, levels, target, section.plain_time, seed))
    return runs


@dataclass(frozen=True)
class Watched:
    """A system whose region is watched at every inner step, and its integrator."""

    system: openmm.System
    integrator: KStepIntegrator
    seen: InnerPositions


def watched(run: EnsembleRun, systems: ValidationSystems) -> Watched:
    """What a run needs."""
    config = systems.config
    friction, region = config.ensemble.friction, list(systems.levels.region.particles)
    if run.kind is Kind.PLAIN:
        system = systems.plain()
    elif run.kind is Kind.KSTEP:
        split = run.levels.nonbonded_period > 1
        system = systems.mixed(config.surrogate.has_base_level, split_nonbonded=split).system
    else:
        system = systems.surrogate_alone()
    # It would take degrees of freedom from the atoms in proportion to their mass.
    system = copy_without(system, lambda force: isinstance(force, openmm.CMMotionRemover))
    seen = watch(system, region)
    if run.kind is not Kind.SURROGATE:
        return Watched(system, integrator_for(system, run.levels, run.temperature, friction), seen)
    groups = {force.getForceGroup() for force in system.getForces()} - {force_groups.QM}
    integrator = KStepIntegrator(
        run.temperature,
        friction,
        run.levels.inner_step,
        1,
        commonGroups=dict.fromkeys(sorted(groups), 1),
        monitoredParticles=region,
    )
    return Watched(system, integrator, seen)
