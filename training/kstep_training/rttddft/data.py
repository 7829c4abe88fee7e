"""Responses from files, divided into what is learned from and what is held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.response_file import ResponseFile, ResponseFileError, ResponseRecord, ResponseSet
from kstep_training.rttddft.config import ResponseData


@dataclass(frozen=True)
class ResponseDataset:
    """Everything of a training run.

    Attributes:
        basis: auxiliary basis.
        level_of_theory: of the responses.
        training, validation: of the same molecules.
        left_out: molecules that are not learned from, all geometries.
        digest: of the training geometries and their responses.
    """

    basis: AuxiliaryBasis
    level_of_theory: dict[str, Any]
    training: tuple[ResponseSet, ...]
    validation: tuple[ResponseSet, ...]
    left_out: tuple[ResponseSet, ...]
    digest: str


def load_responses(section: ResponseData) -> ResponseDataset:
    """Read and divide the files of a configuration.

    Args:
        section: what to read.

    Raises:
        ResponseFileError: a file is missing or damaged, files do not go together, or too few geometries.
    """
    files = [ResponseFile(path) for path in section.files]
    first = files[0]
    for file in files[1:]:
        if file.basis != first.basis or file.level != first.level:
            raise ResponseFileError(f"{file.path} has another auxiliary basis or level of theory than {first.path}")
    merged: dict[str, ResponseSet] = {}
    for file in files:
        for molecule in file:
            merged[molecule.name] = _joined(merged[molecule.name], molecule) if molecule.name in merged else molecule
    unknown = sorted(set(section.leave_out) - set(merged))
    if unknown:
        raise ResponseFileError(f"leave_out names {', '.join(unknown)}, the files have {', '.join(sorted(merged))}")
    training, validation, left_out = [], [], []
    for name, molecule in sorted(merged.items()):
        count = min(len(molecule), section.limit or len(molecule))
        if name in section.leave_out:
            left_out.append(_part(molecule, slice(0, count)))
            continue
        held = max(1, round(section.validation_fraction * count))
        if held >= count:
            raise ResponseFileError(f"{name} has {count} geometries, too few to hold {held} out: generate more")
        training.append(_part(molecule, slice(0, count - held)))
        validation.append(_part(molecule, slice(count - held, count)))
    if not training:
        raise ResponseFileError("every molecule is left out: nothing to learn from")
    digest = hashlib.sha256()
    for molecule in training:
        digest.update(molecule.numbers.tobytes())
        digest.update(np.ascontiguousarray(molecule.records.positions).tobytes())
        digest.update(np.ascontiguousarray(molecule.records.response).tobytes())
    return ResponseDataset(
        first.basis, first.level, tuple(training), tuple(validation), tuple(left_out), digest.hexdigest()
    )


def _part(molecule: ResponseSet, part: slice) -> ResponseSet:
    arrays = {entry.name: getattr(molecule.records, entry.name)[part] for entry in fields(ResponseRecord)}
    return ResponseSet(molecule.name, molecule.numbers, ResponseRecord(**arrays))


def _joined(one: ResponseSet, other: ResponseSet) -> ResponseSet:
    if not np.array_equal(one.numbers, other.numbers):
        raise ResponseFileError(f"two files call different molecules {one.name}: rename one of them")
    arrays = {
        entry.name: np.concatenate([getattr(one.records, entry.name), getattr(other.records, entry.name)])
        for entry in fields(ResponseRecord)
    }
    return ResponseSet(one.name, one.numbers, ResponseRecord(**arrays))
