"""Systems and starting points that the checks share."""

from __future__ import annotations

from collections.abc import Callable

import openmm

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.system_copy import copy_without
from openmmkstep.workflows.config.validate import ValidateConfig
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import MixedSystem, build_mixed_system
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.platforms import find_platform

_STRONG_FRICTION = 5.0  # 1/ps, for equilibration


class ValidationSystems:
    """Makes what the checks run.

    Args:
        config: What is validated.
        log: called with what is being done.
        molecules: the force-field system, where it was built before.
    """

    def __init__(
        self, config: ValidateConfig, log: Callable[[str], None], molecules: MolecularSystem | None = None
    ) -> None:
        self.config = config
        self.log = log
        self.molecules = SystemBuilder(config.system).build() if molecules is None else molecules
        self.levels = self.mixed(config.surrogate.has_base_level)

    def mixed(self, base_level: bool, split_nonbonded: bool = False) -> MixedSystem:
        """A QM/MM system with the surrogate, with or without the base level below it."""
        section = self.config.surrogate
        if not base_level:
            section = section.model_copy(update={"base_level": None, "period": 1})
        return build_mixed_system(self.molecules, self.config.qm, section, split_nonbonded=split_nonbonded)

    def plain(self, split_nonbonded: bool = False) -> openmm.System:
        """The QM/MM system without surrogates."""
        return build_mixed_system(self.molecules, self.config.qm, split_nonbonded=split_nonbonded).system

    def surrogate_alone(self) -> openmm.System:
        """The system with the surrogate in place of the QM level."""
        system = copy_without(
            self.mixed(base_level=False).system, lambda force: force.getForceGroup() == force_groups.QM
        )
        for force in system.getForces():
            if force.getForceGroup() == force_groups.SURROGATE:
                force.setForceGroup(force_groups.QM)
        return system

    def context(self, system: openmm.System, integrator: KStepIntegrator, seed: int | None = None) -> openmm.Context:
        """A Context on the platform of the configuration, with its seed unless another is given."""
        integrator.setRandomNumberSeed(self.config.seed if seed is None else seed)
        platform, properties = find_platform(self.config.platform)
        return openmm.Context(system, integrator, platform, properties)

    def start(self, k: int) -> PhaseSpacePoint:
        """A point of the canonical ensemble at the QM level, nearly enough to start from.

        Args:
            k: inner steps per QM call on the way there.
        """
        config = self.config
        self.log("equilibrating")
        relaxed = equilibrate(
            self.molecules, config.temperature, config.force_field_equilibration, config.seed, config.platform
        )
        levels = config.levels(k)
        integrator = integrator_for(self.levels.system, levels, config.temperature, _STRONG_FRICTION)
        context = self.context(self.levels.system, integrator)
        relaxed.between(self.molecules.system, self.levels.system).apply_to(context)
        integrator.step(round(config.equilibration / levels.outer_step))
        return PhaseSpacePoint.of(context)
