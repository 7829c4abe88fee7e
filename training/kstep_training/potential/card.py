"""Model cards: what a model is for, how good it is, what it was made from; Markdown for people, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from kstep_models.contract import Contract
from kstep_models.elements import formula
from kstep_models.files import write_atomically, write_json
from kstep_models.potential.export import ExportChecks
from kstep_training.potential.checkpoint import Checkpoint
from kstep_training.potential.evaluation import NEARBY, Evaluation, KindErrors

_TITLES = {"gas": "gas phase", "embedded": "QM/MM"}


def write_card(
    archive: Path, trained: Checkpoint, contract: Contract, evaluation: Evaluation, checks: ExportChecks
) -> Path:
    """Write ``<archive stem>.md`` and ``<archive stem>.json`` beside the archive; returns the Markdown file."""
    content = {
        "contract": json.loads(contract.to_json()),
        "configuration": trained.configuration,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "training_seconds": trained.elapsed,
        "training_steps": trained.history[-1]["step"] if trained.history else 0,
        "export_checks": asdict(checks),
        "evaluation": evaluation.to_dict(),
        "history": trained.history,
    }
    write_json(archive.with_suffix(".json"), content)
    card = archive.with_suffix(".md")
    write_atomically(card, _markdown(archive.name, trained, contract, evaluation, checks))
    return card


def _markdown(name: str, trained: Checkpoint, contract: Contract, evaluation: Evaluation, checks: ExportChecks) -> str:
    composition = formula(trained.model.numbers.tolist())
    settings = dict(trained.level_of_theory)
    method = str(settings.pop("method", "the QM level"))
    theory = method + (f" ({', '.join(f'{k} {v}' for k, v in settings.items())})" if settings else "")
    steps = trained.history[-1]["step"] if trained.history else 0
    lines = [
        f"# {name}",
        "",
        f"Conservative surrogate potential with geometry-dependent charges for one molecule ({composition}, charge "
        f"{trained.charge}, multiplicity {trained.multiplicity}). It stands in for {theory} between QM calls of the "
        "k-step integrator, in the gas phase and in the field of MM charges.",
        "",
        "## Errors on trajectories held out from training",
        "",
        "| data | frames | force RMSE, meV/A | by temperature | force MAE, meV/A | RMS force, meV/A "
        f"| energy MAE, kJ/mol | charge RMSE, e | force RMSE on MM charges within {NEARBY} nm, meV/A |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(kind, errors) for kind, errors in evaluation.kinds.items()),
        "",
        "## Made from",
        "",
        *(
            f"- {record.name}: {record.frames} frames, {_TITLES[record.kind]}; "
            + ", ".join(f"{len(record.trajectories[use])} trajectories for {use}" for use in record.trajectories)
            for record in trained.files
        ),
        f"- {sum(p.numel() for p in trained.model.parameters())} parameters, {steps:.0f} steps, "
        f"{trained.elapsed / 60:.0f} minutes of training on {trained.configuration.get('threads', 1)} thread(s)",
        f"- training data digest `{trained.digest}`",
        "",
        "## Use",
        "",
        f"Inputs {', '.join(contract.inputs)}; outputs {', '.join(contract.outputs)}; units nm, kJ/mol, e. Computes in "
        f"{contract.dtype}. Atoms must come in the order of the training data"
        + (f": {' '.join(trained.names)}." if trained.names else "."),
        "",
        "Exported forces against finite differences of the exported energy: "
        f"{checks.finite_difference:.0e} (relative, double precision); against double precision: "
        f"{checks.precision:.0e}.",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in trained.model.limits),
        "- Geometries far from the training temperatures are extrapolation. The integrator's guard catches what goes "
        "wrong.",
        "- Alone, without the integrator's QM correction, it samples its own errors.",
        "",
    ]
    return "\n".join(lines)


def _row(kind: str, e: KindErrors) -> str:
    environment = "" if e.environment_force_rmse is None else f"{e.environment_force_rmse:.1f}"
    temperatures = ", ".join(f"{rmse:.1f} at {t} K" for t, rmse in e.force_rmse_by_temperature.items())
    return (
        f"| {_TITLES[kind]} | {e.frames} ({e.trajectories} trajectories) | {e.force_rmse:.1f} | {temperatures} "
        f"| {e.force_mae:.1f} "
        f"| {e.force_rms:.0f} | {e.energy_mae:.2f} | {e.charge_rmse:.4f} | {environment} |"
    )
