"""The HTML page of a report; plots are embedded, so that the page can be passed on as one file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

from kstep_models.files import write_atomically

_TITLES = {
    "energy": "Energy and temperature",
    "correction": "Correction and guard",
    "ramachandran": "Conformations",
    "cost": "Cost",
}
_EXPLANATIONS = {
    "energy": (
        "The conserved quantity is the total energy T + U(common) + U(QM) less the heat taken from the thermostat. "
        "Exact integration keeps it constant; its drift "
        "is what the time steps of QM and MM forces and the surrogate cost in accuracy; with a thermostat it is heat "
        "that the thermostat has to carry away."
    ),
    "correction": (
        "The difference between QM and surrogate forces at the end of each outer step. The integrator applies it: "
        "it is no error of the forces. The smaller and the smoother it is, the larger k can be. A outer step beyond "
        "the bounds is undone and repeated with plain QM steps."
    ),
    "ramachandran": "Backbone dihedrals of the QM region over the production run.",
    "cost": (
        "Measured at the end of this run on alternating short segments of plain QM dynamics and k-step dynamics: same "
        "system, thermostat, platform and threads."
    ),
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 960px; margin: 2em auto; padding: 0 1em; }
 h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { margin-top: 2em; border-bottom: 1px solid #d8dee4; }
 .tiles { display: flex; flex-wrap: wrap; gap: .8em; margin: 1.2em 0; }
 .tile { flex: 1 1 130px; border: 1px solid #d8dee4; border-radius: 8px; padding: .7em 1em; }
 .tile b { display: block; font-size: 1.5em; } .tile span { color: #57606a; font-size: .85em; }
 .warn { background: #fff8c5; border: 1px solid #d4a72c; border-radius: 8px; padding: .6em 1em; }
 img { max-width: 100%; } table { border-collapse: collapse; } td { padding: .15em 1.2em .15em 0; vertical-align: top; }
 td:first-child { color: #57606a; } p.note { color: #57606a; }
</style></head><body>
<h1>{{ title }}</h1><p>{{ subtitle }}</p>
<div class="tiles">{% for value, label in tiles %}<div class="tile"><b>{{ value }}</b><span>{{ label }}</span></div>
{% endfor %}</div>
{% for warning in warnings %}<p class="warn">{{ warning }}</p>{% endfor %}
{% for plot in plots %}<h2>{{ plot.title }}</h2><p class="note">{{ plot.text }}</p>
<img alt="{{ plot.title }}" src="data:image/png;base64,{{ plot.data }}">{% endfor %}
{% for name, rows in tables %}<h2>{{ name }}</h2><table>
{% for key, value in rows %}<tr><td>{{ key }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endfor %}
</body></html>
"""


def write_html(path: Path, summary: dict[str, Any], plots: dict[str, str]) -> None:
    """Write the page.

    Args:
        path: of the page; plots lie beside it.
        summary: of the run.
        plots: name -> file name.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    page = environment.from_string(_PAGE).render(
        title="k-step QM/MM run",
        subtitle=_subtitle(summary),
        tiles=_tiles(summary),
        warnings=_warnings(summary),
        plots=[
            {"title": _TITLES[name], "text": _EXPLANATIONS[name], "data": _embedded(path.parent / file)}
            for name, file in plots.items()
        ],
        tables=_tables(summary),
    )
    write_atomically(path, page)


def _subtitle(summary: dict[str, Any]) -> str:
    system, dynamics = summary["system"], summary["dynamics"]
    return (
        f"{system['method']}, {system['qm_atoms']} QM atoms, {system['mm_particles']} MM particles, "
        f"{system['embedding']} embedding; {dynamics['time_ps']:g} ps at k = {dynamics['k']} "
        f"({dynamics['outer_step_fs']:g} fs between QM calls, inner step {dynamics['inner_step_fs']:g} fs)"
    )


def _tiles(summary: dict[str, Any]) -> list[tuple[str, str]]:
    calls, guard, speed = summary["qmCalls"], summary["guard"], summary["speed"]
    tiles = [(f"{calls['made']:,}", "QM calls made"), (f"{calls['saved']:,}", "QM calls saved")]
    if speed is not None:
        tiles.append((f"{speed['speed_up']:.2f}×", f"faster than plain QM at {1000 * speed['plain_step']:g} fs"))
    tiles.append((f"{guard['meanCorrectionRMS_meV_A']:.1f}", "mean correction RMS (meV/Å)"))
    tiles.append((f"{guard['fallbacks']}", "outer steps redone"))
    if summary["temperature"] is not None:
        temperature = summary["temperature"]
        tiles.append((f"{temperature['mean_K']:.1f} ± {temperature['error_K']:.1f} K", "temperature"))
    if summary["energy"] is not None:
        drift = summary["energy"]["conservedDrift_meV_atom_ps"]
        tiles.append((f"{drift:+.2f}", "drift (meV/atom/ps)"))
    return tiles


def _warnings(summary: dict[str, Any]) -> list[str]:
    warnings = []
    guard = summary["guard"]
    if guard["fallbacks"] > 0.01 * max(1, guard["outerSteps"]):
        warnings.append(
            f"{guard['fallbacks']} of {guard['outerSteps']} outer steps had to be redone with plain QM steps. The "
            f"surrogate does not know this part of space well, or k is too large. Last reason: "
            f"{guard['lastFallbackReason']}"
        )
    temperature = summary["temperature"]
    if temperature is not None and temperature["target_K"] is not None:
        off = abs(temperature["mean_K"] - temperature["target_K"])
        if off > max(0.02 * temperature["target_K"], 3 * temperature["error_K"]):
            warnings.append(
                f"The mean temperature is {off:.1f} K off its target: equilibrate longer, or reduce k or innerStep."
            )
    return warnings


def _tables(summary: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    tables = []
    for name in ("system", "dynamics", "qmCalls", "guard", "energy", "temperature", "surrogate", "versions"):
        content = summary[name]
        if content:
            tables.append((name, [(key, _shown(value)) for key, value in content.items() if value not in (None, "")]))
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
