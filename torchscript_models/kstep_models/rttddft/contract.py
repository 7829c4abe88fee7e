"""The contract of models of kind "fxc": the response of the exchange-correlation potential, in atomic units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kstep_models.contract import ATOMIC_UNITS, Contract, ContractError
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, AuxiliaryBasisError


@dataclass(frozen=True)
class ResponseContract(Contract, kind="fxc"):
    """Of a model of neutral closed shells.

    It gives the response matrix of the exchange-correlation kernel between the functions of an auxiliary basis, and the
    density's coefficients in it. ``level_of_theory`` names the functional.

    Attributes:
        auxiliary_basis: name, and for every element its shells as [l, exponents, coefficients], in the form of
            :meth:`kstep_models.rttddft.auxiliary_basis.AuxiliaryBasis.to_json`.
    """

    unit_system = ATOMIC_UNITS
    signatures = ((("numbers", "positions"), ("response", "density")),)

    inputs: tuple[str, ...] = ("numbers", "positions")
    outputs: tuple[str, ...] = ("response", "density")
    auxiliary_basis: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        basis = self.basis()
        if sorted(basis.elements) != sorted(set(self.elements)):
            raise ContractError(
                f"auxiliary_basis is for elements {sorted(basis.elements)}, the model covers {list(self.elements)}: "
                "they must be the same"
            )
        if self.charge != 0 or self.multiplicity != 1:
            raise ContractError(
                f"charge {self.charge} and multiplicity {self.multiplicity} are not supported for a model of kind "
                f"{self.kind!r}: it must be of neutral closed shells, 0 and 1"
            )
        functional = self.level_of_theory.get("functional")
        if not isinstance(functional, str) or not functional.strip():
            raise ContractError(f"level_of_theory of a model of kind {self.kind!r} must name its functional")

    @classmethod
    def of(
        cls,
        basis: AuxiliaryBasis,
        cutoff: float,
        dtype: str,
        level_of_theory: Mapping[str, Any],
        training_data: Mapping[str, Any],
        validation: Mapping[str, Any],
        versions: Mapping[str, str],
        atomic_numbers: tuple[int, ...] | None = None,
    ) -> ResponseContract:
        """Of a model with an auxiliary basis; for the other arguments see :class:`kstep_models.contract.Contract`.

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
            auxiliary_basis=basis.to_json(),
        )

    def basis(self) -> AuxiliaryBasis:
        """The auxiliary basis.

        Raises:
            ContractError: there is none, or it is ill-formed.
        """
        if self.auxiliary_basis is None or self.auxiliary_basis == {}:
            raise ContractError("auxiliary_basis is missing: export the model again")
        try:
            return AuxiliaryBasis.from_json(self.auxiliary_basis)
        except AuxiliaryBasisError as error:
            raise ContractError(f"auxiliary_basis is ill-formed: {error}") from error
