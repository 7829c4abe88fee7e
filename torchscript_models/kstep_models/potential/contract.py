"""The contract of models of kind "potential": energy, forces and charges in the project's units."""

from __future__ import annotations

from dataclasses import dataclass

from kstep_models.contract import Contract


@dataclass(frozen=True)
class PotentialContract(Contract, kind="potential"):
    """Of a potential for the QM region, with charges that couple it to the environment, or without.

    ``training_data`` also says how many ``frames`` there were, ``validation`` the errors on held-out trajectories.
    """

    signatures = (
        (("positions",), ("energy", "forces")),
        (("positions", "potential"), ("energy", "forces", "charges")),
    )

    inputs: tuple[str, ...] = ("positions", "potential")
    outputs: tuple[str, ...] = ("energy", "forces", "charges")
