"""Whether an archive can serve as surrogate of a QM region, told from its contract, before any expensive work."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from kstep_models.contract import ContractError, read_contract
from kstep_models.potential.contract import PotentialContract


class SurrogateError(ValueError):
    """An archive that cannot serve as surrogate."""


def read_surrogate_contract(path: str | os.PathLike[str]) -> PotentialContract:
    """The contract of an exported potential, read without torch; the plugin checks it again when it loads the network.

    Raises:
        SurrogateError: no file, no archive, no contract, or one of another kind or version.
    """
    try:
        contract = read_contract(path)
    except ContractError as error:
        raise SurrogateError(f"the surrogate cannot be used: {error}") from error
    if not isinstance(contract, PotentialContract):
        raise SurrogateError(f"{path} is a model of kind {contract.kind!r}, a surrogate must be a potential")
    return contract


def refuse_unsuitable_surrogate(
    archive: str | os.PathLike[str],
    numbers: Sequence[int],
    charge: int,
    multiplicity: int,
    method: str | None,
    needs_environment: bool,
) -> None:
    """Check a surrogate against a QM region.

    Args:
        archive: exported potential.
        numbers: atomic numbers of the region, in order.
        charge: of the region, e.
        multiplicity: of the region.
        method: name of the QM level; a surrogate of another one gets a warning, because the integrator corrects it.
            None where there is no other level.
        needs_environment: whether the region is in the field of MM charges.

    Raises:
        SurrogateError: no archive of ours, of other elements, atoms, charge or spin, or one that knows nothing of an
            environment although there is one.
    """
    contract = read_surrogate_contract(archive)
    try:
        contract.check_atoms(list(numbers))
    except ContractError as error:
        raise SurrogateError(f"{archive} does not fit the QM region: {error}") from error
    for key, value in (("charge", charge), ("multiplicity", multiplicity)):
        trained = getattr(contract, key)
        if trained != value:
            raise SurrogateError(f"{archive} was trained with {key} {trained}, the QM region has {value}")
    if needs_environment and "potential" not in contract.inputs:
        raise SurrogateError(
            f"{archive} takes no electrostatic potential and would be blind to the surroundings: train it on QM/MM "
            "frames (kstep generate with solvent), or use embedding='mechanical'"
        )
    trained_on = contract.level_of_theory.get("method")
    if method is not None and trained_on is not None and str(trained_on).lower() != method.lower():
        # Hardly what anyone means to do.
        warnings.warn(
            f"{archive} was trained on {trained_on}, the QM level is {method}: expect large corrections", stacklevel=4
        )
