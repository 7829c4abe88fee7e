"""From a checkpoint to the archive that the plugin loads, with measured errors and a model card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kstep_models.frames import FrameFile
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import ExportChecks, export
from kstep_models.provenance import MODEL_PACKAGES, software_versions
from kstep_training.potential.card import write_card
from kstep_training.potential.checkpoint import Checkpoint, load_checkpoint
from kstep_training.potential.evaluation import Evaluation, evaluate
from kstep_training.potential.plots import plot_history


@dataclass(frozen=True)
class ExportedModel:
    """What an export wrote.

    Attributes:
        archive: for the plugin.
        card: model card in Markdown; the same as JSON lies beside it.
        checks: deviations of the exported forces.
        evaluation: errors stated in contract and card.
    """

    archive: Path
    card: Path
    checks: ExportChecks
    evaluation: Evaluation


def export_checkpoint(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str],
    dtype: str = "float32",
    files: Sequence[str | os.PathLike[str]] | None = None,
) -> ExportedModel:
    """See :func:`kstep_training.export`."""
    target = Path(path)
    trained = load_checkpoint(checkpoint)
    sources = [Path(file) for file in files] if files is not None else [Path(r.path) for r in trained.files]
    evaluation = evaluate(checkpoint, sources)
    contract = make_contract(trained, dtype, evaluation)
    checks = export(trained.model, contract, target, _typical_geometries(sources[0]))
    card = write_card(target, trained, contract, evaluation, checks)
    if trained.history:
        plot_history(target.with_name(target.stem + "-training.png"), trained.history)
    return ExportedModel(target, card, checks, evaluation)


def make_contract(trained: Checkpoint, dtype: str, evaluation: Evaluation) -> PotentialContract:
    """The contract of a trained model; says which trajectories were held out, so that anyone can evaluate again."""
    numbers = tuple(trained.model.numbers.tolist())
    data: dict[str, Any] = {
        "digest": trained.digest,
        "frames": sum(record.frames for record in trained.files),
        # Names only: paths of the training machine mean nothing elsewhere.
        "files": [{k: v for k, v in asdict(record).items() if k != "path"} for record in trained.files],
    }
    return PotentialContract(
        elements=tuple(sorted(set(numbers))),
        atomic_numbers=numbers,
        cutoff=trained.model.cutoff,
        dtype=dtype,
        charge=trained.charge,
        multiplicity=trained.multiplicity,
        level_of_theory=trained.level_of_theory,
        training_data=data,
        validation={
            "subset": evaluation.subset,
            "units": {"force": "meV/A", "energy": "kJ/mol", "charge": "e"},
            **{kind: asdict(errors) for kind, errors in evaluation.kinds.items()},
        },
        versions=software_versions(MODEL_PACKAGES),
    )


def _typical_geometries(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    with FrameFile(path) as file:
        return file.frames("positions")[:: max(1, len(file) // 3)][:3]
