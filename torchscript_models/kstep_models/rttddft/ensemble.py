"""Several response networks as one, with their disagreement as a measure of the error."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ResponseEnsemble(nn.Module):
    """The mean of several networks.

    Args:
        members: networks for the same auxiliary basis; ``forward(numbers, positions)`` of each gives response and
            density.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Mean response [M,M] (hartree) and mean density coefficients [M].

        Args:
            numbers: atomic numbers [N].
            positions: [N,3], bohr.
        """
        responses, densities = self.all_members(numbers, positions)
        return responses.mean(0), densities.mean(0)

    @torch.jit.export
    def all_members(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Responses [E,M,M] and density coefficients [E,M] of each network."""
        responses: list[Tensor] = []
        densities: list[Tensor] = []
        for member in self.members:
            response, density = member(numbers, positions)
            responses.append(response)
            densities.append(density)
        return torch.stack(responses), torch.stack(densities)
