"""GFN-FF, a force field that libxtb makes for a molecule from its geometry, computed inside the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .protocol import EngineError
from .setting_values import check_integer
from .xtb import HEAVIEST_ELEMENT


@dataclass(frozen=True)
class GFNFF:
    """Settings of GFN-FF (Spicher and Grimme, Angew. Chem. Int. Ed. 59, 15665 (2020)), and what it covers.

    The bonds are those of the first geometry, and of the first one after a reset, such as a checkpoint makes. Spin
    means nothing to it. libxtb offers no point charges for it, so that it is for mechanical embedding, and tells
    neither atomic charges nor dipole moments.

    Attributes:
        threads: Threads of libxtb.

    Raises:
        EngineError: A value out of range.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        check_integer("threads", self.threads, 1024)

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Refuse elements without parameters.

        Raises:
            EngineError: Elements beyond radon.
        """
        heavy = sorted({int(number) for number in numbers if not 1 <= number <= HEAVIEST_ELEMENT})
        if heavy:
            raise EngineError(f"GFN-FF covers the elements up to Z = {HEAVIEST_ELEMENT}, the molecule has {heavy}")

    def check_charges(self, fading: bool) -> None:
        """Refuse point charges.

        Raises:
            EngineError: Always.
        """
        raise EngineError("libxtb takes no point charges with GFN-FF: use embedding='mechanical', or gfn2-xtb")

    def describe(self) -> dict[str, Any]:
        """Nothing that can be set changes results."""
        return {}
