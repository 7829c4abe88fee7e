"""Fits to the labels that there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kstep_models.regression.connectivity import Connectivity
from kstep_models.regression.exporting import fit_and_export
from kstep_models.regression.labels import Labels
from kstep_models.regression.permutations import symmetries

from ..books import Books
from ..record import FitRecord
from ..settings import LearningSettings
from .selection import select


def fit(settings: LearningSettings, books: Books) -> None:
    """Fit to all labels, or to those that add most where they are too many, and record it.

    Args:
        settings: What is aimed at.
        books: Where the labels are, and where it is recorded.
    """
    record = books.record
    number = len(record.fits) + 1
    name = f"surrogate-{number}.pt"

    def choose(labels: Labels) -> NDArray[np.int64]:
        most = max(10, settings.max_unknowns // (3 * labels.positions.shape[1]))
        if len(labels) <= most:
            return np.arange(len(labels))
        bonds = Connectivity.of(labels.numbers, labels.bonds, labels.positions)
        group = symmetries(bonds, settings.max_permutations)
        # In the order of the choice neighbours in time stand apart, as held-out labels should.
        return np.array(select(labels.positions, most, group, settings.seed), dtype=np.int64)

    files = [books.labels] if record.labels else []
    files += [books.production_labels] if record.production_labels else []
    exported = fit_and_export(files, books.folder / name, None, settings.max_permutations, books.log, choose)
    result = exported.result
    errors = {str(parts): error for parts, error in result.errors.items()}
    regression = result.regression
    record.fits.append(FitRecord(record.all_labels, regression.labels, regression.parts, errors, result.size, name))
    record.labelled_since_fit = 0
    books.save()
    best = errors[regression.parts]
    books.log(f"fit {number}: {regression.labels} labels, {regression.parts}, {best:.1f} of {result.size:.0f} meV/A")
