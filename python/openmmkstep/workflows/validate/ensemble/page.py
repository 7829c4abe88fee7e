"""The HTML page of a check of ensembles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from kstep_models.files import write_atomically
from openmmkstep.analysis.ensemble.verdict import Verdict
from openmmkstep.workflows.report.html import render_page

from .check import EnsembleResults
from .rows import HEAD
from .sampling.runs import Kind

_PLOTS = {
    "temperatures": (
        "Equipartition",
        "Temperatures of the atoms of the QM region, from velocities in the middle of drifts, where they have the "
        "distribution of the temperature; at the ends of steps fast modes are too cold, whatever the forces.",
    ),
    "modes": (
        "Normal modes",
        "Temperature of each normal mode of the minimum next to the starting point, in a frame that turns with the "
        "molecule; the band is the target ± 5 %.",
    ),
    "kinetic": (
        "Distribution of kinetic energies",
        "Beside the gamma distribution of the canonical ensemble; p is that of the largest difference, for as many "
        "values as are independent.",
    ),
    "two_temperatures": (
        "Two temperatures",
        "The ratio of the distributions of potential energy at two temperatures is a straight line whose slope is the "
        "difference of 1/kT, for any Hamiltonian that is sampled canonically (Shirts 2013).",
    ),
    "coordinates": (
        "Bonds and angles",
        "Beside the two plain runs together; open symbols are one plain run beside the other, the noise floor.",
    ),
    "torsions": ("Torsions", "Free energies along the torsions of the region, without rotors of three hydrogen atoms."),
    "spectrum": (
        "Velocity spectrum",
        "From inner steps; the green bands are 5 cm⁻¹ below 2000 cm⁻¹ and 10 above.",
    ),
    "radial": ("Solvent", "Radial distribution functions of water oxygen around the atoms of each element."),
}


def write_page(results: EnsembleResults, folder: Path, plots: dict[str, str]) -> Path:
    """Write ensemble.html beside its plots; returns its path."""
    config, section = results.config, results.config.ensemble
    verdicts = []
    for item in results.runs.values():
        rows = [row for row in results.rows if row.run == item.run.label]
        if rows:
            verdicts.append((item.run.label, [HEAD[1:], *(row.cells()[1:] for row in rows)]))
    page = folder / "ensemble.html"
    write_atomically(
        page,
        render_page(
            title="Ensembles of k-step QM/MM dynamics",
            subtitle=(
                f"{config.qm.method}, {len(results.molecule.numbers)} QM atoms, {config.temperature:g} K, friction "
                f"{section.friction:g} /ps, inner step {1000 * config.inner_step:g} fs; "
                f"two plain runs of {section.plain_time:g} ps are the reference and the noise floor"
            ),
            tiles=_tiles(results),
            warnings=_warnings(results),
            verdicts=verdicts,
            plots=[(*_PLOTS[name], folder / file) for name, file in plots.items()],
            tables=[("runs", [(item.run.label, _cost(results, name)) for name, item in results.runs.items()])],
        ),
    )
    return page


def _tiles(results: EnsembleResults) -> list[tuple[str, str]]:
    tiles = []
    for item in results.runs.values():
        if item.run.kind is Kind.KSTEP and not item.run.is_second:
            counts = Counter(row.verdict for row in results.rows if row.run == item.run.label)
            for verdict in Verdict:
                tiles.append((str(counts[verdict]), f"{item.run.label}: {verdict}"))
    return tiles


def _warnings(results: EnsembleResults) -> list[str]:
    warnings = []
    for item in results.runs.values():
        error = item.recording.facts.get("error")
        if error:
            warnings.append(f"{item.run.label} broke down after {item.time:g} ps: {error}")
    return warnings


def _cost(results: EnsembleResults, name: str) -> str:
    item = results.runs[name]
    facts = item.recording.facts
    return (
        f"{item.time:g} ps at {item.run.temperature:g} K, {facts.get('qm_calls', 0):,} QM calls, "
        f"{facts.get('fallbacks', 0)} outer steps redone, {facts.get('wall_time_s', 0.0):.0f} s"
    )
