"""The checks of ``kstep doctor run.yaml``: what a run would do, without running it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from openmm import unit

from kstep_models.configuration import ConfigError, load_config
from kstep_models.elements import formula
from openmmkstep.qmmm.levels.settings import LevelSettings
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.surrogates.suitability import read_surrogate_contract
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.plan import LearningPlan, RunPlan, SystemPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.mixed_system import MixedSystem, region_of, surrogate_parts
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from openmmkstep.workflows.setup.selection import is_solvent

from .check import Check


def check_configuration(path: Path) -> Iterator[Check]:
    """What a configuration of ``kstep run`` means, in the order in which a run would find out; nothing is written.

    The first check that fails is the last, because the others depend on it.

    Args:
        path: Path of the YAML file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            plan = RunPlan.of(load_config(path, RunConfig))
            yield Check("configuration", "ok", str(path))
            yield from _parts(plan)
        except (ValueError, OSError, ImportError) as error:
            yield Check("configuration", "failed", str(error), "change the configuration as the message says")
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            yield Check("warning", "warning", str(warning.message), "see the message")


def _parts(plan: RunPlan) -> Iterator[Check]:
    system = plan.system
    yield from _files(system)
    molecules = system.build()
    yield Check("system", "ok", _system(molecules))
    yield Check("box", "ok", _box(molecules, system))
    region = region_of(molecules, system.qm)
    yield Check("QM region", "ok", _region(molecules, region))
    if system.surrogate is not None:
        # Compiling takes half a minute, and is no part of looking.
        system = replace(system, surrogate=system.surrogate.model_copy(update={"compiled": False}))
    mixed = system.mix(molecules)
    yield Check("embedding", "ok", _embedding(molecules, mixed, system))
    if plan.learning is None:
        yield Check("levels", "ok", _levels(system, plan.dynamics.levels))
    else:
        # Made and thrown away: it says what is wrong with the levels that learning begins with.
        plan.learning.mix(molecules, None)
        yield Check("learning", "ok", _learning(plan.learning, system.qm.method))
    system.find_platform()
    yield Check("dynamics", "ok", _dynamics(plan))
    yield _output(plan)


def _files(plan: SystemPlan) -> Iterator[Check]:
    molecules, surrogate = plan.molecules, plan.surrogate
    named: list[tuple[str, Path | None]] = [
        ("structure", molecules.structure),
        ("prmtop", molecules.prmtop),
        ("psf", molecules.psf),
        *(("parameters", file) for file in molecules.parameters),
        ("top", molecules.top),
        ("coordinates", molecules.coordinates),
        ("surrogate", None if surrogate is None else surrogate.archive),
    ]
    if surrogate is not None and isinstance(surrogate.base_level, Path):
        named.append(("base level", surrogate.base_level))
    for name, file in named:
        if file is not None:
            if not file.is_file():
                raise ConfigError(f"{name}: {file} does not exist")
            yield Check(name, "ok", f"{file}, {file.stat().st_size:,} bytes{_made_for(name, file)}")


def _made_for(name: str, file: Path) -> str:
    if name != "surrogate":
        return ""
    level = read_surrogate_contract(file).level_of_theory
    below = f" less {level['minus'].get('method')}" if isinstance(level.get("minus"), dict) else ""
    return f", trained for {level.get('method', 'an unknown method')}{below}"


def _system(molecules: MolecularSystem) -> str:
    residues = Counter(residue.name for residue in molecules.topology.residues())
    common = ", ".join(f"{count} {name}" for name, count in residues.most_common(6))
    more = f" and {len(residues) - 6} other kinds" if len(residues) > 6 else ""
    virtual = sum(molecules.system.isVirtualSite(i) for i in range(molecules.system.getNumParticles()))
    sites = f" ({virtual} virtual sites)" if virtual else ""
    particles = molecules.system.getNumParticles()
    return f"{particles} particles{sites}, {molecules.system.getNumConstraints()} constraints: {common}{more}"


def _box(molecules: MolecularSystem, plan: SystemPlan) -> str:
    if not molecules.system.usesPeriodicBoundaryConditions():
        return "none"
    vectors = molecules.system.getDefaultPeriodicBoxVectors()
    box = np.array([list(vector.value_in_unit(unit.nanometer)) for vector in vectors])
    widths = " x ".join(f"{length:.3f}" for length in np.linalg.norm(box, axis=1))
    return f"{widths} nm, nonbonded cut-off {plan.molecules.nonbonded_cutoff:g} nm"


def _region(molecules: MolecularSystem, region: QMRegion) -> str:
    electrons = int(region.site_numbers.sum()) - region.charge
    inside = set(region.particles)
    solvent = sum(
        is_solvent(residue) and next(residue.atoms()).index in inside for residue in molecules.topology.residues()
    )
    waters = f", {solvent} water molecules or ions" if solvent else ""
    links = f", {len(region.links)} link atoms" if region.links else ""
    return (
        f"{len(region.particles)} atoms ({formula(region.numbers)}){links}{waters}, charge {region.charge:+d}, "
        f"multiplicity {region.multiplicity}, {electrons} electrons"
    )


def _embedding(molecules: MolecularSystem, mixed: MixedSystem, plan: SystemPlan) -> str:
    others = molecules.system.getNumParticles() - len(mixed.region.members)
    if not others:
        return "none: all particles are in the QM region"
    if plan.qm.embedding == "mechanical":
        return f"mechanical, in {others} MM particles"
    if plan.qm.cutoff is None:
        return f"electrostatic, all charges of {others} MM particles"
    return f"electrostatic, charges within {plan.qm.cutoff:g} nm of {others} MM particles, {_BEYOND[mixed.far_field]}"


_BEYOND = {
    "force-field": "beyond by force-field charges of the region",
    "qm": "beyond by the Ewald sum",
    "none": "nothing beyond",
}


def _levels(plan: SystemPlan, levels: LevelSettings) -> str:
    def every(period: int) -> str:
        return f"every {1000 * period * levels.inner_step:g} fs"

    parts = [f"{plan.qm.method} {every(levels.k)} (k = {levels.k})"]
    if plan.surrogate is not None:
        summed = " + ".join(part.name for part in surrogate_parts(plan.surrogate))
        parts.append(f"{summed} {every(levels.surrogate_period)}")
        if plan.surrogate.base_level is not None:
            parts.append(f"base level {Path(plan.surrogate.base_level).name} {every(1)}")
    parts.append(f"nonbonded MM forces {every(levels.nonbonded_period)}")
    if levels.splits_reciprocal and levels.reciprocal_period is not None:
        parts.append(f"reciprocal space {every(levels.reciprocal_period)}")
    return ", ".join(parts)


def _learning(plan: LearningPlan, method: str) -> str:
    settings = plan.settings
    below = " + ".join(part.name for part in plan.parts()) or str(plan.start.base_level)
    ks = ", ".join(str(k) for k in settings.ks)
    first = "" if settings.first_k is None else f", from k = {settings.first_k} on at once"
    length = plan.block * plan.config.integrator.inner_step
    blocks = f"; blocks of {length:g} ps, {settings.relearn_calls:,} QM calls to learn again" if plan.block else ""
    return (
        f"{method} above {below}, at most {settings.max_calls:,} QM calls; the largest k of {ks} with an acceptance of "
        f"{settings.acceptance:g} is held{first}{blocks}"
    )


def _dynamics(plan: RunPlan) -> str:
    target = plan.dynamics.target
    thermostat = "constant energy" if target is None else f"Langevin at {target:g} K"
    what = f"{plan.time(plan.steps):g} ps, {thermostat}, platform {plan.system.platform}"
    if plan.learning is None:
        return f"{what}: {plan.steps + 1:,} QM calls at least"
    least, most = (plan.with_learned(k, Path("learned.pt")).steps + 1 for k in (plan.learning.settings.ks[-1], 1))
    return f"{what}: {least:,} to {most:,} QM calls, by the k that is found"


def _output(plan: RunPlan) -> Check:
    folder = plan.output.folder
    differences = RunFolder(folder).compare(plan.settings)
    if differences is None:
        return Check("output", "ok", f"{folder}, new")
    if differences:
        detail = f"{folder} holds a run with other settings ({', '.join(differences)})"
        return Check("output", "failed", detail, "choose another output folder, or pass --fresh to throw that run away")
    return Check("output", "ok", f"{folder} holds this run, which is taken up")
