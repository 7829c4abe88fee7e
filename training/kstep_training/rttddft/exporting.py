"""From a checkpoint of response networks to the archive that electron dynamics loads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kstep_models.archive import ExportError
from kstep_models.contract import Contract
from kstep_models.files import write_atomically, write_json
from kstep_models.provenance import MODEL_PACKAGES, software_versions
from kstep_models.rttddft.contract import ResponseContract
from kstep_models.rttddft.export import Geometry, ResponseChecks, export_response
from kstep_training.checkpoints import CheckpointError
from kstep_training.rttddft.checkpoint import ResponseCheckpoint, load


@dataclass(frozen=True)
class ExportedResponseModel:
    """What an export wrote.

    Attributes:
        archive: for electron dynamics.
        card: model card in Markdown; the same as JSON lies beside it.
        checks: deviations of the exported module.
    """

    archive: Path
    card: Path
    checks: ResponseChecks


def export_checkpoint(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str],
    dtype: str = "float32",
    files: Sequence[str | os.PathLike[str]] | None = None,
) -> ExportedResponseModel:
    """See :func:`kstep_training.export`."""
    if files is not None:
        raise ExportError("the errors of response networks are those measured in training: leave the files out")
    trained = load(checkpoint)
    if not trained.evaluation:
        raise CheckpointError(f"{checkpoint} is of a run that was interrupted: go on with kstep train --resume")
    first = trained.members[0]
    contract = ResponseContract.of(
        basis=first.basis,
        cutoff=first.config.cutoff,
        dtype=dtype,
        level_of_theory=trained.level_of_theory,
        training_data={"digest": trained.digest, "geometries": trained.geometries},
        validation=trained.evaluation,
        versions=software_versions(MODEL_PACKAGES),
    )
    target = Path(path)
    checks = export_response(trained.members, contract, target, [_example(first.elements)])
    return ExportedResponseModel(target, _write_card(target, trained, contract, checks), checks)


def _example(elements: list[int]) -> Geometry:
    """Two atoms of every element, so that every kind of block is checked; the geometry need not be a molecule's."""
    numbers = np.repeat(np.array(elements, dtype=np.int64), 2)
    generator = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*3 * [np.arange(3)]), -1).reshape(-1, 3)[: len(numbers)]
    return numbers, 2.5 * grid + generator.normal(0.0, 0.3, grid.shape)


def _write_card(target: Path, trained: ResponseCheckpoint, contract: Contract, checks: ResponseChecks) -> Path:
    content = {
        "contract": json.loads(contract.to_json()),
        "configuration": trained.configuration,
        "parameters": sum(part.numel() for member in trained.members for part in member.parameters()),
        "training_seconds": trained.seconds,
        "export_checks": asdict(checks),
        "evaluation": trained.evaluation,
    }
    write_json(target.with_suffix(".json"), content)
    level = trained.level_of_theory
    left_out = trained.evaluation["left_out"]
    lines = [
        f"# {target.name}",
        "",
        "Response of the exchange-correlation potential, and density, of closed-shell molecules, at "
        f"{level['functional']}/{level['basis']}, for electron dynamics.",
        "",
        "Learned from "
        + ", ".join(f"{count} geometries of {name}" for name, count in sorted(trained.geometries.items()))
        + f"; {len(trained.members)} networks.",
        "",
        "## Errors on geometries held out",
        "",
        "Dipole: relative error of the traces over 200 atomic units after weak kicks along x, y and z, in the limit of "
        "linear response. Static: the same without any response of exchange and correlation.",
        "",
        "| molecule | geometries | response | ensemble spread | dipole, mean | dipole, largest | overlap of spectra, "
        "smallest | brightest line, largest shift, eV | dipole, static |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, errors in trained.evaluation["molecules"].items():
        label = f"{name} (not learned from)" if name in left_out else name
        lines.append(
            f"| {label} | {errors['geometries']} | {errors['response']:.4f} | {errors['spread']:.4f} "
            f"| {errors['dipole']:.4f} | {errors['largest_dipole']:.4f} | {errors['smallest_overlap']:.6f} "
            f"| {errors['peak']:.4f} | {errors['static']:.2f} |"
        )
    card = target.with_suffix(".md")
    write_atomically(card, "\n".join(lines) + "\n")
    return card
