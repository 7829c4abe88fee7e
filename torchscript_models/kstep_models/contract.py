"""The JSON document inside every exported archive, and its checks.

The archive is a TorchScript file with the extra entry ``contract.json``. Whoever loads one reads the contract first and
refuses what it does not understand, so a wrong model fails before the first step with a reason.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis

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


@dataclass(frozen=True)
class _Kind:
    """What all models of a kind have in common: units, and inputs with outputs of ``forward``."""

    units: Mapping[str, str]
    signatures: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


_KINDS: Mapping[str, _Kind] = {
    "potential": _Kind(
        UNITS,
        (
            (("positions",), ("energy", "forces")),
            (("positions", "potential"), ("energy", "forces", "charges")),
        ),
    ),
    "fxc": _Kind(ATOMIC_UNITS, ((("numbers", "positions"), ("response", "density")),)),
}


class ContractError(ValueError):
    """An archive's contract is missing, damaged, or asks for something this program does not offer."""


@dataclass(frozen=True)
class Contract:
    """What a model promises.

    A model of kind "potential" is in the project's units, one of kind "fxc" in atomic units. The latter gives the
    response matrix of the exchange-correlation kernel between the functions of an auxiliary basis, and the density's
    coefficients in it, for neutral closed shells; :meth:`of_response` makes its contract.

    Attributes:
        elements: atomic numbers the model was trained on, sorted.
        atomic_numbers: the exact atoms in order if the model is for one molecule, else None.
        cutoff: range of direct interactions, in the kind's unit of length.
        dtype: precision the network computes in (inputs and outputs are always float64).
        charge: total charge of the region, e.
        multiplicity: spin multiplicity of the region.
        level_of_theory: what the labels were computed with; names the functional if the kind is "fxc".
        training_data: at least ``digest`` and ``frames``.
        validation: errors on held-out trajectories.
        versions: of the packages it depends on, at export.
        kind: "potential" or "fxc".
        inputs, outputs: of ``forward``, in order.
        units: those of the kind.
        auxiliary_basis: only and always of kind "fxc": name, and for every element its shells as [l, exponents,
            coefficients], in the form of :meth:`kstep_models.rttddft.auxiliary_basis.AuxiliaryBasis.to_json`.
        contract, version: what makes this document recognisable.
    """

    elements: tuple[int, ...]
    atomic_numbers: tuple[int, ...] | None
    cutoff: float
    dtype: str
    charge: int
    multiplicity: int
    level_of_theory: Mapping[str, Any]
    training_data: Mapping[str, Any]
    validation: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    kind: str = "potential"
    inputs: tuple[str, ...] = ("positions", "potential")
    outputs: tuple[str, ...] = ("energy", "forces", "charges")
    units: Mapping[str, str] = field(default_factory=lambda: dict(UNITS))
    auxiliary_basis: Mapping[str, Any] | None = None
    contract: str = NAME
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.contract != NAME:
            raise ContractError(f"this is a {self.contract!r} document, expected {NAME!r}: export the model with kstep")
        if self.version != VERSION:
            raise ContractError(
                f"contract version {self.version} is not supported (this program knows version {VERSION}): "
                "export the model again with this version of openmm-kstep"
            )
        if self.kind not in _KINDS:
            raise ContractError(f"model kind {self.kind!r} is not supported, known kinds: {', '.join(_KINDS)}")
        kind = _KINDS[self.kind]
        if not isinstance(self.units, Mapping) or dict(self.units) != dict(kind.units):
            raise ContractError(f"units are {self.units}, expected {dict(kind.units)}: export the model again")
        if (tuple(self.inputs), tuple(self.outputs)) not in kind.signatures:
            raise ContractError(
                f"inputs {list(self.inputs)} with outputs {list(self.outputs)} are not supported; known: "
                + "; ".join(f"{list(i)} to {list(o)}" for i, o in kind.signatures)
            )
        if self.dtype not in _DTYPES:
            raise ContractError(f"dtype {self.dtype!r} is not supported, known: {', '.join(_DTYPES)}")
        if not (_is_number(self.cutoff) and math.isfinite(self.cutoff) and self.cutoff > 0):
            raise ContractError(f"cutoff must be a positive length in {kind.units['length']}, got {self.cutoff!r}")
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
        if self.kind == "fxc":
            self._check_response()
        elif self.auxiliary_basis is not None:
            raise ContractError(f"auxiliary_basis does not belong to a model of kind {self.kind!r}: leave it out")

    def _check_response(self) -> None:
        basis = self.basis()
        if sorted(basis.elements) != sorted(set(self.elements)):
            raise ContractError(
                f"auxiliary_basis is for elements {sorted(basis.elements)}, the model covers {list(self.elements)}: "
                "they must be the same"
            )
        if self.charge != 0 or self.multiplicity != 1:
            raise ContractError(
                f"charge {self.charge} and multiplicity {self.multiplicity} are not supported for a model of kind "
                "'fxc': it must be of neutral closed shells, 0 and 1"
            )
        functional = self.level_of_theory.get("functional")
        if not isinstance(functional, str) or not functional.strip():
            raise ContractError("level_of_theory of a model of kind 'fxc' must name its functional")

    def basis(self) -> AuxiliaryBasis:
        """The auxiliary basis of a model of kind "fxc".

        Raises:
            ContractError: there is none.
        """
        from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, AuxiliaryBasisError

        if self.auxiliary_basis is None:
            raise ContractError("auxiliary_basis is missing; a model of kind 'fxc' needs one: export the model again")
        try:
            return AuxiliaryBasis.from_json(self.auxiliary_basis)
        except AuxiliaryBasisError as error:
            raise ContractError(f"auxiliary_basis is ill-formed: {error}") from error

    @classmethod
    def of_response(
        cls,
        basis: AuxiliaryBasis,
        cutoff: float,
        dtype: str,
        level_of_theory: Mapping[str, Any],
        training_data: Mapping[str, Any],
        validation: Mapping[str, Any],
        versions: Mapping[str, str],
        atomic_numbers: tuple[int, ...] | None = None,
    ) -> Contract:
        """Of a model of kind "fxc"; for the arguments see the class.

        Raises:
            ContractError: contents refused.
        """
        return cls(
            elements=tuple(sorted(basis.elements)),
            atomic_numbers=atomic_numbers,
            cutoff=cutoff,
            dtype=dtype,
            charge=0,
            multiplicity=1,
            level_of_theory=level_of_theory,
            training_data=training_data,
            validation=validation,
            versions=versions,
            kind="fxc",
            inputs=("numbers", "positions"),
            outputs=("response", "density"),
            units=dict(ATOMIC_UNITS),
            auxiliary_basis=basis.to_json(),
        )

    def to_json(self) -> str:
        """The document as text, keys sorted."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "the contract") -> Contract:
        """Read and check a document.

        Args:
            text: the document.
            source: what to call it in errors, e.g. the archive's path.

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
        required = (
            "contract", "version", "kind", "units", "inputs", "outputs", "elements", "cutoff", "dtype", "charge",
            "multiplicity", "level_of_theory", "training_data",
        )  # fmt: skip
        missing = [name for name in required if name not in data]
        if missing:
            raise ContractError(f"{source}: the contract lacks {', '.join(missing)}: export the model again")
        # Unknown fields are let pass: a later minor addition must not lock out older programs.
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        values.setdefault("atomic_numbers", None)
        for name in ("elements", "inputs", "outputs", "atomic_numbers"):
            value = values[name]
            if value is None and name == "atomic_numbers":
                continue
            if not isinstance(value, list):
                raise ContractError(f"{source}: {name} must be a list, got {value!r}")
            values[name] = tuple(value)
        try:
            return cls(**values)
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
    import zipfile

    file = Path(path)
    if not file.is_file():
        raise ContractError(f"{file} does not exist: export a model with `kstep export`, or check the path")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [name for name in archive.namelist() if name.endswith(f"/extra/{ENTRY}")]
            if not entries:
                raise ContractError(f"{file} has no {ENTRY}: it was not exported by kstep; use `kstep export`")
            text = archive.read(entries[0])
    except zipfile.BadZipFile as error:
        raise ContractError(f"{file} is not a TorchScript archive or is damaged ({error})") from error
    return Contract.from_json(text, str(file))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
