"""A made-up potential inside the plugin, for tests: pair terms, and charges that depend on distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .protocol import EngineError


@dataclass(frozen=True)
class Analytic:
    """Settings of the analytic engine; lengths in nm, energies in kJ/mol, charges in e.

    Attributes:
        morse: Pairs with the terms depth (1 - exp(-width (r - length)))^2, each a mapping with the keys ``atoms``,
            ``depth``, ``width`` and ``length``.
        harmonic: Pairs with the terms k/2 (r - length)^2, each a mapping with the keys ``atoms``, ``k``, ``length``.
        flux: Pairs that move charge from their second to their first atom, slope (r - length), each a mapping with the
            keys ``atoms``, ``slope`` and ``length``.
        charges: Charge of each atom; none for neutral atoms.
    """

    morse: Sequence[Mapping[str, Any]] = ()
    harmonic: Sequence[Mapping[str, Any]] = ()
    flux: Sequence[Mapping[str, Any]] = ()
    charges: Sequence[float] = ()

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Refuse a number of charges that is not that of the atoms.

        Raises:
            EngineError: Another number of charges than atoms.
        """
        if self.charges and len(self.charges) != len(numbers):
            raise EngineError(f"charges has {len(self.charges)} values for {len(numbers)} atoms")

    def describe(self) -> dict[str, Any]:
        """All settings that were given."""
        return {name: value for name, value in vars(self).items() if value}
