"""What the report says of production in blocks."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from openmmkstep.io.frames import count_frames
from openmmkstep.learning.blocks import Block, read_steps
from openmmkstep.learning.record import Record
from openmmkstep.workflows.plan import LearningPlan
from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE
from openmmkstep.workflows.run_folder import RunFolder


def blocks_summary(plan: LearningPlan, record: Record, files: RunFolder) -> list[dict[str, Any]]:
    """The numbers of each block, the one that the run's end has cut off among them."""
    inner_step = plan.config.integrator.inner_step
    reasons = {one.block: one.reason for one in record.rounds}
    blocks = []
    for number, block in enumerate(record.blocks, start=1):
        shown = block if block.finished else _measured(block, plan, files)
        blocks.append(
            {
                "start_ps": shown.start * inner_step,
                "end_ps": shown.end * inner_step,
                "k": shown.k,
                "fit": shown.fit,
                "labels_of_fit": record.fits[shown.fit - 1].labels if shown.fit else None,
                "labels": shown.labels,
                "outer_steps": shown.steps,
                "acceptance": shown.acceptance,
                "uncertainty": shown.uncertainty,
                "mean_error_kj_mol": shown.mean_error,
                "error_of_mean_kj_mol": shown.error_of_mean,
                "redone": shown.redone,
                "learned_again": reasons.get(number, ""),
            }
        )
    return blocks


def _measured(block: Block, plan: LearningPlan, files: RunFolder) -> Block:
    """A copy of a block that is not over, as it is up to now."""
    shown = copy(block)
    shown.measure(read_steps(files.learning / "production.csv"), plan.config.integrator.temperature)
    labels = files.learning / "production.h5"
    shown.labels = count_frames(labels) if labels.exists() else 0
    return shown


def plot_blocks(k_axes: Any, acceptance_axes: Any, summary: dict[str, Any]) -> None:
    """K and labels over time, and acceptance and energy error of the blocks."""
    blocks = [block for block in summary["blocks"] if block["outer_steps"]]
    edges = [block["start_ps"] for block in blocks] + [blocks[-1]["end_ps"]]
    k_axes.stairs([block["k"] for block in blocks], edges, color=BLUE, baseline=None, lw=2.0)
    again = [block["end_ps"] for block in blocks if block["learned_again"]]
    for time in again:
        k_axes.axvline(time, color=ORANGE, ls=":", lw=1.2, label="learned again" if time == again[0] else None)
    k_axes.set_ylim(bottom=0)
    k_axes.set_title("Production")
    k_axes.set_xlabel("time (ps)")
    k_axes.set_ylabel("inner steps per QM call, k")
    labels = k_axes.twinx()
    labels.plot(edges[1:], [block["labels"] for block in blocks], "o-", color=GREEN, ms=3)
    labels.set_ylabel("labels of production", color=GREEN)
    labels.set_ylim(bottom=0)
    labels.grid(False)
    if again:
        k_axes.legend(fontsize=8)
    middles = 0.5 * (np.array(edges[1:]) + np.array(edges[:-1]))
    for name, error, axes, colour, text in (
        ("acceptance", "uncertainty", acceptance_axes, PURPLE, "mean acceptance probability"),
        ("mean_error_kj_mol", "error_of_mean_kj_mol", acceptance_axes.twinx(), GREY, "energy error of a step (kJ/mol)"),
    ):
        measured = [place for place, block in enumerate(blocks) if block[name] is not None]
        shown = [(middles[place], blocks[place][name], blocks[place][error]) for place in measured]
        if shown:
            times, values, errors = zip(*shown, strict=True)
            axes.errorbar(times, values, errors, fmt="o-", color=colour, capsize=3, ms=4)
        axes.set_ylabel(text, color=colour)
    acceptance_axes.axhline(summary["target_acceptance"], color=PURPLE, ls="--", lw=1.0, label="target")
    acceptance_axes.set_title("Blocks")
    acceptance_axes.set_xlabel("time (ps)")
    acceptance_axes.legend(fontsize=8)


def blocks_rows(blocks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Rows for the page."""
    rows = []
    for number, block in enumerate(blocks, start=1):
        fit = f"fit {block['fit']} of {block['labels_of_fit']} labels" if block["fit"] else "no fit"
        shown = f"k = {block['k']}, {fit}, {block['outer_steps']} outer steps, {block['redone']} redone"
        if block["acceptance"] is not None:
            shown += f"; acceptance {block['acceptance']:.3f} ± {block['uncertainty']:.3f}"
        if block["mean_error_kj_mol"] is not None:
            error = f"{block['mean_error_kj_mol']:+.3f} ± {block['error_of_mean_kj_mol']:.3f} kJ/mol"
            shown += f", mean energy error {error}"
        if block["learned_again"]:
            shown += f"; learned again: {block['learned_again']}"
        rows.append((f"block {number}, {block['start_ps']:g} to {block['end_ps']:g} ps", shown))
    return rows
