"""Fits to the labels that there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_models.regression.connectivity import Connectivity
from kstep_models.regression.exporting import fit_and_export
from kstep_models.regression.fitting import PARTS, Parts
from kstep_models.regression.labels import Labels
from kstep_models.regression.permutations import symmetries

from ..books import Books
from ..record import FitRecord
from ..settings import LearningSettings
from .selection import select

# Held-out errors of forces that differ by less than this factor do not tell which surrogate is the better one.
SIMILAR = 1.5


def fit(settings: LearningSettings, books: Books) -> None:
    """Fit to all labels, or to those that add most where they are too many, and record it.

    Where the choice of parts with the next larger error is about as good it is fitted, too, to be tried if the first
    one fails.

    Args:
        settings: What is aimed at.
        books: Where the labels are, and where it is recorded.
    """
    record = books.record
    number = len(record.fits) + 1

    files = label_files(books)

    def choose(labels: Labels) -> NDArray[np.int64]:
        return chosen_labels(settings, labels)

    def export(place: int, parts: Parts | None) -> FitRecord:
        name = f"surrogate-{place}.pt"
        exported = fit_and_export(files, books.folder / name, parts, settings.max_permutations, books.log, choose)
        result = exported.result
        regression, errors = result.regression, {str(key): error for key, error in result.errors.items()}
        instead_of = 0 if place == number else number
        one = FitRecord(record.all_labels, regression.labels, regression.parts, errors, result.size, name, instead_of)
        best = errors[one.parts]
        books.log(f"fit {place}: {one.used} labels, {one.parts}, {best:.1f} of {one.size:.0f} meV/A")
        return one

    fits = [export(number, None)]
    rival = rival_parts(fits[0].errors)
    if rival is not None:
        fits.append(export(number + 1, rival))
    # Together, so that an interruption leaves both or none.
    record.fits += fits
    record.labelled_since_fit = 0
    books.save()


def label_files(books: Books) -> list[Path]:
    """Files with the labels that a fit has."""
    record = books.record
    files = [books.labels] if record.labels else []
    return files + ([books.production_labels] if record.production_labels else [])


def chosen_labels(settings: LearningSettings, labels: Labels) -> NDArray[np.int64]:
    """Places of the labels that are fitted to: all, or those that add most where they are too many."""
    most = max(10, settings.max_unknowns // (3 * labels.positions.shape[1]))
    if len(labels) <= most:
        return np.arange(len(labels))
    bonds = Connectivity.of(labels.numbers, labels.bonds, labels.positions)
    group = symmetries(bonds, settings.max_permutations)
    # In the order of the choice neighbours in time stand apart, as held-out labels should.
    return np.array(select(labels.positions, most, group, settings.seed), dtype=np.int64)


def rival_parts(errors: Mapping[str, float]) -> Parts | None:
    """The choice of parts with the next larger error on held-out labels, if it is about as good as the best."""
    ranked = sorted(PARTS, key=lambda parts: errors.get(parts, math.inf))
    best, rival = (errors.get(parts, math.inf) for parts in ranked[:2])
    return ranked[1] if math.isfinite(rival) and rival <= SIMILAR * best else None
