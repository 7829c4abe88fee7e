"""The HTML page of a report; plots are embedded, so that the page can be passed on as one file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from kstep_models.files import write_atomically

from .energies import shown_parts
from .learning import learning_table

_TITLES = {
    "energy": "Energy and temperature",
    "correction": "Correction and guard",
    "ramachandran": "Conformations",
    "energies": "What the energy is made of",
    "equilibration": "Equilibration",
    "cost": "Cost",
    "learning": "Learning",
}
_EXPLANATIONS = {
    "energy": (
        "The conserved quantity is the total energy T + U(common) + U(QM) less the heat taken from the thermostat and "
        "less what happens between steps (removal of the centre of mass's motion, barostats): the energy errors of all "
        "outer steps, summed. Exact integration keeps it constant; its drift "
        "is what the time steps of QM and MM forces and the surrogate cost in accuracy; with a thermostat it is heat "
        "that the thermostat has to carry away. The errors walk at random, and the error of the drift says how well "
        "this run tells it from 0."
    ),
    "correction": (
        "The difference between QM and surrogate forces at the end of each outer step. The integrator applies it: "
        "it is no error of the forces. The smaller and the smoother it is, the larger k can be. An outer step beyond "
        "the bounds is undone and repeated with plain QM steps, or rejected where Metropolis decides."
    ),
    "ramachandran": "Backbone dihedrals of the QM region over the production run.",
    "energies": (
        "Parts of the potential energy at the QM level; Δ is the deviation from the mean. The charges of the QM "
        "region are the QM method's atomic charges; all parts are in the table below and in energies.csv."
    ),
    "equilibration": "Stages with the force field, before any QM call; dashed lines are where one ends.",
    "cost": (
        "Measured at the end of this run on alternating short segments of plain QM dynamics and k-step dynamics: same "
        "system, thermostat, platform and threads."
    ),
    "learning": (
        "Before production, and between its blocks where more was learned. Trials are short runs under the thermostat; "
        "the acceptance is the mean probability with which a Metropolis test on the correction would accept an outer "
        "step. Every QM call of it all is counted. A block of production never changes its surrogate or its k; its "
        "errors are those of its outer steps."
    ),
}
_NOT_MEASURED = "–"
# Sections whose numbers are measured; elsewhere nothing means that there is no such thing.
_MEASURED = ("qm_calls", "guard", "metropolis")
_LOW_ACCEPTANCE = 0.5
_PARTS = {"region": "QM region", "rest": "rest"}


def write_html(path: Path, summary: dict[str, Any], plots: dict[str, str]) -> None:
    """Write the page.

    Args:
        path: Path of the page; plots lie beside it.
        summary: Numbers of the run.
        plots: name -> file name.
    """
    page = render_page(
        title="k-step QM/MM run",
        subtitle=_subtitle(summary),
        tiles=_tiles(summary),
        warnings=_warnings(summary),
        plots=[(_TITLES[name], _EXPLANATIONS[name], path.parent / file) for name, file in plots.items()],
        tables=_tables(summary),
    )
    write_atomically(path, page)


def render_page(
    title: str,
    subtitle: str,
    tiles: Sequence[tuple[str, str]] = (),
    warnings: Sequence[str] = (),
    verdicts: Sequence[tuple[str, Sequence[Sequence[str]]]] = (),
    plots: Sequence[tuple[str, str, Path]] = (),
    tables: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (),
) -> str:
    """The HTML text of a page in the style of all reports.

    Args:
        title: of the page.
        subtitle: a line below it.
        tiles: large numbers, each with what it is.
        warnings: shown first.
        verdicts: tables above the plots: their titles and rows, the first of which is the head.
        plots: titles, explanations and PNG files, which are embedded.
        tables: Titles, and rows of a name and a value.
    """
    templates = jinja2.PackageLoader("openmmkstep.workflows.report")
    environment = jinja2.Environment(loader=templates, autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    return environment.get_template("report.html").render(
        title=title,
        subtitle=subtitle,
        tiles=tiles,
        warnings=warnings,
        verdicts=verdicts,
        plots=[{"title": name, "text": text, "data": _embedded(file)} for name, text, file in plots],
        tables=tables,
    )


_BEYOND = {
    "force-field": ", force-field charges beyond its cut-off",
    "qm": ", Ewald sum beyond its cut-off",
    "none": "",
}


def _subtitle(summary: dict[str, Any]) -> str:
    system, dynamics = summary["system"], summary["dynamics"]
    beyond = _BEYOND[system["far_field"]]
    return (
        f"{system['method']}, {system['qm_atoms']} QM atoms, {system['mm_particles']} MM particles, "
        f"{system['embedding']} embedding{beyond}; {dynamics['time_ps']:g} ps at k = {dynamics['k']} "
        f"({dynamics['outer_step_fs']:g} fs between QM calls, inner step {dynamics['inner_step_fs']:g} fs)"
    )


def _tiles(summary: dict[str, Any]) -> list[tuple[str, str]]:
    calls, guard, speed = summary["qm_calls"], summary["guard"], summary["speed"]
    tiles = [
        (f"{calls['made_by_integrator']:,}", "QM calls made by the integrator"),
        (_count(calls["made_by_others"]), "QM calls made by others"),
        (f"{calls['saved']:,}", "QM calls saved"),
    ]
    if speed is not None:
        tiles.append((f"{speed['speed_up']:.2f}×", f"faster than plain QM at {1000 * speed['plain_step']:g} fs"))
    correction = guard["mean_correction_rms_mev_a"]
    tiles.append((_NOT_MEASURED if correction is None else f"{correction:.1f}", "mean correction RMS (meV/Å)"))
    tiles.append((f"{guard['fallbacks']}", "outer steps redone"))
    tiles += _acceptance_tiles(summary["metropolis"])
    for name, label in _PARTS.items():
        part = (summary["temperature"] or {}).get(name)
        if part is not None:
            tiles.append((f"{part['mean_k']:.1f} ± {part['error_k']:.1f} K", f"temperature, {label}"))
    if summary["box"] is not None:
        box = summary["box"]
        density = f"{box['density_g_cm3']:.3f} ± {box['density_error_g_cm3']:.3f}"
        tiles.append((density, f"density (g/cm³) at {box['pressure_bar']:g} bar"))
    if summary["energy"] is not None:
        energy = summary["energy"]
        error = energy["conserved_drift_error_kj_mol_ps"]
        drift = f"{energy['conserved_drift_kj_mol_ps']:+.2f}" + ("" if error is None else f" ± {error:.2f}")
        tiles.append((drift, f"drift (kJ/mol/ps); {1000 * energy['conserved_drift_mev_atom_ps']:+.1f} µeV/atom/ps"))
    return tiles


def _acceptance_tiles(metropolis: dict[str, Any] | None) -> list[tuple[str, str]]:
    if metropolis is None:
        return []
    probability = metropolis["mean_acceptance_probability"]
    shown = _NOT_MEASURED if probability is None else f"{100 * probability:.1f} %"
    if metropolis["mode"] == "monitor":
        return [(shown, "of outer steps Metropolis would accept (correction)")]
    acceptance = metropolis["acceptance"]
    rate = _NOT_MEASURED if acceptance is None else f"{100 * acceptance:.1f} %"
    return [(rate, f"of outer steps accepted ({metropolis['mode']}); {shown} expected")]


def _count(number: int | None) -> str:
    return _NOT_MEASURED if number is None else f"{number:,}"


def _warnings(summary: dict[str, Any]) -> list[str]:
    warnings = []
    guard = summary["guard"]
    if guard["fallbacks"] > 0.01 * max(1, guard["outer_steps"]):
        warnings.append(
            f"{guard['fallbacks']} of {guard['outer_steps']} outer steps had to be redone with plain QM steps. The "
            f"surrogate does not know this part of space well, or k is too large. Last reason: "
            f"{guard['last_fallback_reason']}"
        )
    metropolis = summary["metropolis"] or {}
    if metropolis.get("acceptance") is not None and metropolis["acceptance"] < _LOW_ACCEPTANCE:
        warnings.append(
            f"Metropolis accepted only {100 * metropolis['acceptance']:.0f} % of the outer steps: averages are right, "
            "but little moves. A smaller k, a better surrogate or, for large systems in mode full, mode correction "
            "help."
        )
    refused = metropolis.get("guard_rejections", 0)
    if refused > 0.01 * max(1, guard["outer_steps"]):
        warnings.append(
            f"{refused} of {guard['outer_steps']} outer steps were rejected because they failed or exceeded a bound. "
            f"Last reason: {guard['last_fallback_reason']}"
        )
    temperature = summary["temperature"]
    if temperature is None or temperature["target_k"] is None:
        return warnings
    target = temperature["target_k"]
    for name, label in _PARTS.items():
        part = temperature[name]
        if part is not None and abs(part["mean_k"] - target) > max(0.02 * target, 3 * part["error_k"]):
            off = abs(part["mean_k"] - target)
            warnings.append(
                f"The mean temperature of the {label} is {off:.1f} K off its target: equilibrate longer, or reduce k "
                "or inner_step."
            )
    return warnings


def _tables(summary: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    tables = []
    for name in (
        "system",
        "dynamics",
        "qm_calls",
        "guard",
        "metropolis",
        "energy",
        "temperature",
        "box",
        "surrogate",
        "versions",
    ):
        content = summary[name]
        if content:
            shown = [(key, _shown(value)) for key, value in content.items() if value not in (None, "")]
            missing = [key for key, value in content.items() if value is None] if name in _MEASURED else []
            tables.append((name, shown + [(key, "not measured") for key in missing]))
    if summary["learning"] is not None:
        tables.append(("learning", learning_table(summary["learning"])))
    if summary["energy_parts"] is not None:
        tables.append(("energy_parts", shown_parts(summary["energy_parts"])))
    if summary["speed"] is not None:
        tables.append(("machine", [(key, _shown(value)) for key, value in summary["speed"]["machine"].items()]))
    return tables


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
