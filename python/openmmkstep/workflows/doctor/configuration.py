"""The checks of ``kstep doctor run.yaml``: what a run would do, without running it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from openmm import app, unit

from kstep_models.configuration import ConfigError, load_config
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.surrogates.suitability import read_surrogate_contract
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.mixed_system import build_mixed_system, region_of
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, SystemBuilder
from openmmkstep.workflows.setup.platforms import find_platform
from openmmkstep.workflows.setup.selection import is_solvent

from .check import Check

_CHANGE = "change the configuration as the message says"


def check_configuration(path: Path) -> Iterator[Check]:
    """What a configuration of ``kstep run`` means, in the order in which a run would find out; nothing is written.

    The first check that fails is the last, because the others depend on it.

    Args:
        path: of the YAML file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            config = load_config(path, RunConfig)
            yield Check("configuration", "ok", str(path))
            yield from _parts(config)
        except (ConfigError, ValueError, OSError, ImportError) as error:
            yield Check("configuration", "failed", str(error), _CHANGE)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            yield Check("warning", "warning", str(warning.message), "see the message")


def _parts(config: RunConfig) -> Iterator[Check]:
    yield from _files(config)
    molecules = SystemBuilder(config.system).build()
    yield Check("system", "ok", _system(molecules))
    yield Check("box", "ok", _box(molecules, config))
    region = region_of(molecules, config.qm)
    yield Check("QM region", "ok", _region(molecules, region))
    yield Check("embedding", "ok", _embedding(molecules, region, config))
    # Compiling takes half a minute, and is no part of looking.
    surrogate = None if config.surrogate is None else config.surrogate.model_copy(update={"compiled": False})
    build_mixed_system(molecules, config.qm, surrogate, split_nonbonded=config.integrator.nonbonded_period > 1)
    yield Check("levels", "ok", _levels(config))
    find_platform(config.platform, config.threads)
    yield Check("dynamics", "ok", _dynamics(config))
    yield _output(config)


def _files(config: RunConfig) -> Iterator[Check]:
    system, surrogate = config.system, config.surrogate
    named: list[tuple[str, Path | None]] = [
        ("structure", system.structure),
        ("prmtop", system.prmtop),
        ("coordinates", system.coordinates),
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
    return f", trained for {level.get('method', 'an unknown method')}"


def _system(molecules: MolecularSystem) -> str:
    residues = Counter(residue.name for residue in molecules.topology.residues())
    common = ", ".join(f"{count} {name}" for name, count in residues.most_common(6))
    more = f" and {len(residues) - 6} other kinds" if len(residues) > 6 else ""
    virtual = sum(molecules.system.isVirtualSite(i) for i in range(molecules.system.getNumParticles()))
    sites = f" ({virtual} virtual sites)" if virtual else ""
    particles = molecules.system.getNumParticles()
    return f"{particles} particles{sites}, {molecules.system.getNumConstraints()} constraints: {common}{more}"


def _box(molecules: MolecularSystem, config: RunConfig) -> str:
    if not molecules.system.usesPeriodicBoundaryConditions():
        return "none"
    vectors = molecules.system.getDefaultPeriodicBoxVectors()
    box = np.array([list(vector.value_in_unit(unit.nanometer)) for vector in vectors])
    widths = " x ".join(f"{length:.3f}" for length in np.linalg.norm(box, axis=1))
    return f"{widths} nm, nonbonded cut-off {config.system.nonbonded_cutoff:g} nm"


def _region(molecules: MolecularSystem, region: QMRegion) -> str:
    symbols = Counter(app.Element.getByAtomicNumber(int(number)).symbol for number in region.numbers)
    formula = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(symbols.items()))
    electrons = int(region.numbers.sum()) - region.charge
    inside = set(region.particles)
    solvent = sum(
        is_solvent(residue) and next(residue.atoms()).index in inside for residue in molecules.topology.residues()
    )
    waters = f", {solvent} water molecules or ions" if solvent else ""
    return (
        f"{len(region.particles)} atoms ({formula}){waters}, charge {region.charge:+d}, multiplicity "
        f"{region.multiplicity}, {electrons} electrons"
    )


def _embedding(molecules: MolecularSystem, region: QMRegion, config: RunConfig) -> str:
    others = molecules.system.getNumParticles() - len(region.particles)
    if not others:
        return "none: all particles are in the QM region"
    if config.qm.embedding == "mechanical":
        return f"mechanical, in {others} MM particles"
    reach = "all charges" if config.qm.cutoff is None else f"charges within {config.qm.cutoff:g} nm"
    return f"electrostatic, {reach} of {others} MM particles"


def _levels(config: RunConfig) -> str:
    section, surrogate = config.integrator, config.surrogate

    def every(period: int) -> str:
        return f"every {1000 * period * section.inner_step:g} fs"

    parts = [f"{config.qm.method} {every(section.k)} (k = {section.k})"]
    if surrogate is not None:
        parts.append(f"{surrogate.archive.name} {every(surrogate.period)}")
        if surrogate.base_level is not None:
            parts.append(f"base level {Path(surrogate.base_level).name} {every(1)}")
    parts.append(f"nonbonded MM forces {every(section.nonbonded_period)}")
    return ", ".join(parts)


def _dynamics(config: RunConfig) -> str:
    section = config.integrator
    steps = max(1, round(config.time / section.outer_step))
    thermostat = f"Langevin at {section.temperature:g} K" if section.ensemble == "langevin" else "constant energy"
    return f"{config.time:g} ps, {thermostat}, platform {config.platform}: {steps + 1:,} QM calls at least"


def _output(config: RunConfig) -> Check:
    folder = config.output.folder
    state = RunFolder(folder).compare(config)
    if state is None:
        return Check("output", "ok", f"{folder}, new")
    if state:
        detail = f"{folder} holds a run with other settings ({', '.join(state)})"
        return Check("output", "failed", detail, "choose another output folder, or pass --fresh to throw that run away")
    return Check("output", "ok", f"{folder} holds this run, which is taken up")
