"""What the report says of learning."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure

from kstep_models.units import MEV_PER_ANGSTROM
from openmmkstep.learning.record import Record
from openmmkstep.workflows.plan import LearningPlan
from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_figure
from openmmkstep.workflows.run_folder import RunFolder

from .blocks import blocks_rows, blocks_summary, plot_blocks

_COLOURS = (GREY, BLUE, ORANGE, GREEN, PURPLE, RED)
_PARTS = {"bonded": ORANGE, "kernel": BLUE, "both": GREEN, "network": PURPLE}


def learning_summary(plan: LearningPlan | None, files: RunFolder) -> dict[str, Any] | None:
    """The numbers of the record; None where nothing was learned."""
    if plan is None:
        return None
    record = Record.read(files.learning / "learning.json")
    held = record.held or {}
    return {
        "k": held.get("k"),
        "k_now": None if record.present is None else record.present[0],
        "reason": held.get("reason"),
        "target_acceptance": plan.settings.acceptance,
        "qm_calls": record.qm_calls,
        "labels": record.labels,
        "labels_of_the_pool": len(record.labelled),
        "qm_calls_of_learning_again": record.relearn_calls,
        "blocks": blocks_summary(plan, record, files),
        "wall_time_s": dict(record.wall_time),
        "fits": [
            {
                "labels": fit.labels,
                "used": fit.used,
                "parts": fit.parts,
                "instead_of": fit.instead_of,
                "force_errors_mev_a": dict(fit.errors),
                "label_rms_mev_a": fit.size,
            }
            for fit in record.fits
        ],
        "networks": [asdict(network) for network in record.networks],
        "trials": [
            {
                "k": trial.k,
                "fit": trial.fit,
                "steps": len(trial.errors),
                "acceptance": trial.acceptance,
                "uncertainty": trial.uncertainty,
                "mean_error_kj_mol": trial.mean_error,
                "error_of_mean_kj_mol": trial.error_of_mean,
                "correction_mev_a": None if trial.correction is None else MEV_PER_ANGSTROM * trial.correction,
            }
            for trial in record.trials
        ],
    }


def plot_learning(summary: dict[str, Any] | None) -> Figure | None:
    """Acceptance by k for every fit, and the force errors of the fits."""
    if summary is None or not summary["trials"]:
        return None
    if any(block["outer_steps"] for block in summary["blocks"]):
        figure, ((left, right), (below, last)) = new_figure(9.6, 6.8, 2, 2)
        plot_blocks(below, last, summary)
    else:
        figure, (left, right) = new_figure(9.0, 3.4, 1, 2)
    for fit in sorted({trial["fit"] for trial in summary["trials"]}):
        trials = [trial for trial in summary["trials"] if trial["fit"] == fit]
        label = "no learning" if fit == 0 else "{used} labels, {parts}".format(**summary["fits"][fit - 1])
        left.errorbar(
            [trial["k"] for trial in trials],
            [trial["acceptance"] for trial in trials],
            [trial["uncertainty"] for trial in trials],
            fmt="o-",
            color=_COLOURS[fit % len(_COLOURS)],
            capsize=3,
            label=label,
        )
    left.axhline(summary["target_acceptance"], color=GREY, ls="--", lw=1.0, label="target")
    left.set_xticks(sorted({trial["k"] for trial in summary["trials"]}))
    left.set_title("Trials")
    left.set_xlabel("inner steps per QM call, k")
    left.set_ylabel("mean acceptance probability")
    left.legend(fontsize=8)
    if not summary["fits"]:
        right.set_visible(False)
        return figure
    for parts, colour in _PARTS.items():
        points = [
            (fit["used"], fit["force_errors_mev_a"][parts])
            for fit in summary["fits"]
            if parts in fit["force_errors_mev_a"] and (parts == "network" or not fit["instead_of"])
        ]
        if points:
            right.plot(*zip(*points, strict=True), "o-", color=colour, label=parts)
    right.set_title("Fits")
    right.set_xlabel("labels")
    right.set_ylabel("force error on held-out labels (meV/Å)")
    right.set_ylim(bottom=0.0)
    right.legend(fontsize=8)
    return figure


def learning_table(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows for the page."""
    rows = [(name, str(value)) for name, value in summary.items() if not isinstance(value, (list, dict))]
    rows += [(f"seconds for {name}", f"{value:.1f}") for name, value in summary["wall_time_s"].items()]
    for number, fit in enumerate(summary["fits"], start=1):
        errors = ", ".join(f"{parts} {error:.1f}" for parts, error in fit["force_errors_mev_a"].items())
        place = f", in place of fit {fit['instead_of']} if that fails" if fit["instead_of"] else ""
        shown = f"{fit['used']} labels, {fit['parts']}{place}; held-out force errors {errors} meV/Å"
        rows.append((f"fit {number}", shown))
    for number, network in enumerate(summary["networks"], start=1):
        error = "" if network["error"] is None else f"; held-out force error {network['error']:.1f} meV/Å"
        told = {"training": "not finished", "failed": f"failed: {network['reason']}"}
        done = f"fit {network['fit']}" if network["fit"] else network["reason"]
        outcome = told.get(network["state"], f"{network['seconds']:.0f} s of training{error}; {done}")
        rows.append((f"network {number}", f"{network['used']} labels; {outcome}"))
    for trial in summary["trials"]:
        what = f"fit {trial['fit']}" if trial["fit"] else "the level below"
        error = f"{trial['mean_error_kj_mol']:+.3f} ± {trial['error_of_mean_kj_mol']:.3f} kJ/mol"
        acceptance = f"acceptance {trial['acceptance']:.3f} ± {trial['uncertainty']:.3f}"
        shown = f"{acceptance} in {trial['steps']} outer steps, mean energy error of one {error}"
        rows.append((f"k = {trial['k']} with {what}", shown))
    return rows + blocks_rows(summary["blocks"])
