"""From frames files to the archive of a regression, in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_models.archive import check_target
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.export import ExportChecks, export
from kstep_models.provenance import MODEL_PACKAGES, software_versions

from .fitting import FitResult, Parts, fit_regression
from .labels import LabelFiles, Labels
from .network import RegressionPotential


@dataclass(frozen=True)
class ExportedRegression:
    """What was fitted and written.

    Attributes:
        archive: For the plugin.
        result: The fit with its errors.
        checks: Deviations of the exported forces.
    """

    archive: Path
    result: FitResult
    checks: ExportChecks


def fit_and_export(
    files: Sequence[Path],
    archive: str | os.PathLike[str],
    parts: Parts | None = None,
    max_permutations: int = 12,
    log: Callable[[str], None] = lambda _: None,
    choose: Callable[[Labels], NDArray[np.int64]] | None = None,
) -> ExportedRegression:
    """Fit a potential to labels and write its archive, atomically.

    Args:
        files: Frames files of one region, at one level of theory or of one difference of two.
        archive: What is written.
        parts: What is fitted; None for what is best on held-out labels.
        max_permutations: How many exchanges of like atoms are used.
        log: Called with what is being done.
        choose: Says by their places which labels are used; None for all.

    Raises:
        ContractError: The archive cannot be written.
        FrameFileError: Files that cannot be read or do not belong together.
        RegressionError, KernelError: Labels that nothing can be fitted to.
        ExportError: The exported module deviates from the fit.
    """
    check_target(archive)
    source = LabelFiles.read(files)
    labels, region = source.labels, source.region
    if choose is not None:
        labels = labels.subset(choose(labels))
    result = fit_regression(labels, parts, max_permutations, log)
    model = RegressionPotential.of(result.regression, labels)
    numbers = tuple(int(number) for number in region.numbers)
    contract = PotentialContract(
        elements=tuple(sorted(set(numbers))),
        atomic_numbers=numbers,
        cutoff=model.cutoff,
        dtype="float64",
        charge=region.charge,
        multiplicity=region.multiplicity,
        level_of_theory=dict(region.level_of_theory),
        training_data={"digest": " ".join(source.digests), "frames": len(labels), "parts": result.regression.parts},
        validation={
            "subset": "every fifth label, of a fit to the others",
            "units": {"force": "meV/A"},
            "force_rmse": {str(name): error for name, error in result.errors.items()},
            "force_rms_of_labels": result.size,
        },
        versions=software_versions(MODEL_PACKAGES),
    )
    checks = export(model, contract, archive, np.asarray(labels.positions[:3]))
    return ExportedRegression(Path(archive), result, checks)
