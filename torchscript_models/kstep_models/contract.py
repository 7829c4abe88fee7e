"""The JSON document inside every exported archive, and its checks.

The archive is a TorchScript file with the extra entry ``contract.json``. Whoever loads one reads the contract first and
refuses what it does not understand, so a wrong model fails before the first step with a reason.

Every kind of model has a subclass of :class:`Contract` in the module ``contract`` of its own package
(:mod:`kstep_models.potential.contract`, :mod:`kstep_models.rttddft.contract`). Such modules are found by their place,
so that a new kind is a new package and nothing here knows it by name. None of them needs torch.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from kstep_models.files import check_zip

NAME = "kstep-model"
VERSION = 1
ENTRY = "contract.json"
UNITS: Mapping[str, str] = {"length": "nm", "time": "ps", "energy": "kJ/mol", "mass": "amu", "charge": "e"}
ATOMIC_UNITS: Mapping[str, str] = {
    "length": "bohr",
    "time": "hbar/hartree",
    "energy": "hartree",
    "mass": "electron mass",
    "charge": "e",
}

_DTYPES = ("float32", "float64")
_REQUIRED = (
    *("contract", "version", "kind", "units", "inputs", "outputs", "elements", "cutoff", "dtype", "charge"),
    *("multiplicity", "level_of_theory", "training_data"),
)
_LISTS = ("elements", "inputs", "outputs", "atomic_numbers")

_kinds: dict[str, type[Contract]] = {}


class ContractError(ValueError):
    """An archive's contract is missing, damaged, or asks for something this program does not offer."""


@dataclass(frozen=True)
class Contract:
    """What a model promises; a subclass for every kind says what all models of it have in common.

    A subclass is declared with its kind, ``class JumpContract(Contract, kind="jump")``, and sets the class attributes.

    Attributes:
        kind: of the model.
        unit_system: units of everything that goes in and comes out.
        signatures: pairs of inputs and outputs of ``forward`` that a model of the kind may have, in order.
        elements: atomic numbers the model was trained on, sorted.
        atomic_numbers: the exact atoms in order if the model is for one molecule, else None.
        cutoff: range of direct interactions, in the kind's unit of length.
        dtype: precision the network computes in (inputs and outputs are always float64).
        charge: total charge of the region, e.
        multiplicity: spin multiplicity of the region.
        level_of_theory: what the labels were computed with.
        training_data: at least ``digest``.
        inputs, outputs: of ``forward``, in order.
        validation: errors on held-out data.
        versions: of the packages it depends on, at export.

    Raises:
        ContractError: contents refused.
    """

    kind: ClassVar[str]
    unit_system: ClassVar[Mapping[str, str]] = UNITS
    signatures: ClassVar[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]

    elements: tuple[int, ...]
    atomic_numbers: tuple[int, ...] | None
    cutoff: float
    dtype: str
    charge: int
    multiplicity: int
    level_of_theory: Mapping[str, Any]
    training_data: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    validation: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __init_subclass__(cls, kind: str) -> None:
        super().__init_subclass__()
        cls.kind = kind
        _kinds[kind] = cls

    def __post_init__(self) -> None:
        if (tuple(self.inputs), tuple(self.outputs)) not in self.signatures:
            raise ContractError(
                f"inputs {list(self.inputs)} with outputs {list(self.outputs)} are not supported; known: "
                + "; ".join(f"{list(i)} to {list(o)}" for i, o in self.signatures)
            )
        if self.dtype not in _DTYPES:
            raise ContractError(f"dtype {self.dtype!r} is not supported, known: {', '.join(_DTYPES)}")
        if not (_is_number(self.cutoff) and math.isfinite(self.cutoff) and self.cutoff > 0):
            raise ContractError(
                f"cutoff must be a positive length in {self.unit_system['length']}, got {self.cutoff!r}"
            )
        if not self.elements or not all(_is_integer(z) and 1 <= z <= 118 for z in self.elements):
            raise ContractError(f"elements must be atomic numbers between 1 and 118, got {self.elements!r}")
        if self.atomic_numbers is not None:
            if not self.atomic_numbers or not all(_is_integer(z) for z in self.atomic_numbers):
                raise ContractError("atomic_numbers must be a list of atomic numbers, or null")
            unknown = sorted(set(self.atomic_numbers) - set(self.elements))
            if unknown:
                raise ContractError(f"atomic_numbers contain {unknown}, which elements {list(self.elements)} lack")
        if not _is_integer(self.charge):
            raise ContractError(f"charge must be a whole number, got {self.charge!r}")
        if not _is_integer(self.multiplicity) or self.multiplicity < 1:
            raise ContractError(f"multiplicity must be a whole number from 1, got {self.multiplicity!r}")
        if not isinstance(self.level_of_theory, Mapping) or not self.level_of_theory:
            raise ContractError("level_of_theory must be a non-empty JSON object")
        if not isinstance(self.training_data, Mapping) or "digest" not in self.training_data:
            raise ContractError("training_data must be a JSON object with the digest of the training set")

    def to_json(self) -> str:
        """The document as text, keys sorted."""
        head = {"contract": NAME, "version": VERSION, "kind": self.kind, "units": dict(self.unit_system)}
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return json.dumps({**head, **values}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "model") -> Contract:
        """Parse a document; the result is of the subclass for its kind.

        Raises:
            ContractError: not JSON, fields missing, or contents refused; the message names the source.
        """
        try:
            data = json.loads(text)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ContractError(
                f"{source}: the contract is not valid JSON ({error}): export the model again"
            ) from error
        if not isinstance(data, dict):
            raise ContractError(f"{source}: the contract must be a JSON object")
        try:
            return _kind_of(data)(**_fields_of(data))
        except ContractError as error:
            raise ContractError(f"{source}: {error}") from error

    def check_atoms(self, numbers: list[int]) -> None:
        """Refuse a region the model was not made for.

        Raises:
            ContractError: elements not covered, or not the molecule's atoms in order.
        """
        unknown = sorted(set(numbers) - set(self.elements))
        if unknown:
            raise ContractError(
                f"the model covers elements {list(self.elements)}, the region also has {unknown}: "
                "train a model on frames of this region"
            )
        if self.atomic_numbers is None or tuple(numbers) == self.atomic_numbers:
            return
        if len(numbers) != len(self.atomic_numbers):
            raise ContractError(f"the model is for {len(self.atomic_numbers)} atoms, the region has {len(numbers)}")
        index = next(i for i, (a, b) in enumerate(zip(numbers, self.atomic_numbers, strict=True)) if a != b)
        raise ContractError(
            f"the model is for one molecule in a fixed atom order; atom {index} of the region is element "
            f"{numbers[index]}, the model expects {self.atomic_numbers[index]}: reorder the region's atoms"
        )


def read_contract(path: str | os.PathLike[str]) -> Contract:
    """The contract of an archive, without running any code in it.

    Raises:
        ContractError: no such file, not an archive, no contract inside, or a contract that is refused.
    """
    file = Path(path)
    if not file.is_file():
        raise ContractError(f"{file} does not exist: export a model with `kstep export`, or check the path")
    try:
        check_zip(file)
        with zipfile.ZipFile(file) as archive:
            entries = [name for name in archive.namelist() if name.endswith(f"/extra/{ENTRY}")]
            if not entries:
                raise ContractError(f"{file} has no {ENTRY}: it was not exported by kstep; use `kstep export`")
            text = archive.read(entries[0])
    except ContractError:
        raise
    except ValueError as error:
        raise ContractError(f"{file} is not a TorchScript archive or is damaged ({error})") from error
    return Contract.from_json(text, str(file))


def known_kinds() -> Mapping[str, type[Contract]]:
    """All kinds of models, by name."""
    _find_kinds()
    return _kinds


@functools.cache
def _find_kinds() -> None:
    """Import the module ``contract`` of every package beside this module, where its kind is declared."""
    here = Path(__file__).parent
    for folder in sorted(here.iterdir()):
        if (folder / "contract.py").is_file():
            importlib.import_module(f"{__package__}.{folder.name}.contract")


def _kind_of(data: Mapping[str, Any]) -> type[Contract]:
    """The subclass for a document, whose head is checked."""
    missing = [name for name in _REQUIRED if name not in data]
    if missing:
        raise ContractError(f"the contract lacks {', '.join(missing)}: export the model again")
    if data["contract"] != NAME:
        raise ContractError(f"this is a {data['contract']!r} document, expected {NAME!r}: export the model with kstep")
    if data["version"] != VERSION:
        raise ContractError(
            f"contract version {data['version']} is not supported (this program knows version {VERSION}): "
            "export the model again with this version of openmm-kstep"
        )
    kinds = known_kinds()
    kind = kinds.get(data["kind"]) if isinstance(data["kind"], str) else None
    if kind is None:
        raise ContractError(f"model kind {data['kind']!r} is not supported, known kinds: {', '.join(sorted(kinds))}")
    if data["units"] != dict(kind.unit_system):
        raise ContractError(f"units are {data['units']}, expected {dict(kind.unit_system)}: export the model again")
    return kind


def _fields_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the subclass for a document."""
    kind = known_kinds()[data["kind"]]
    own = {entry.name for entry in fields(kind)}
    others = {entry.name for other in known_kinds().values() for entry in fields(other)} - own
    foreign = sorted(name for name in others if data.get(name) is not None)
    if foreign:
        raise ContractError(f"{foreign[0]} does not belong to a model of kind {kind.kind!r}: leave it out")
    # Unknown fields are let pass: a later minor addition must not lock out older programs.
    values = {name: value for name, value in data.items() if name in own}
    values.setdefault("atomic_numbers", None)
    for name in _LISTS:
        value = values[name]
        if value is None and name == "atomic_numbers":
            continue
        if not isinstance(value, list):
            raise ContractError(f"{name} must be a list, got {value!r}")
        values[name] = tuple(value)
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
