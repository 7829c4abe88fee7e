"""Several response networks as one, with their disagreement as a measure of the error."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kstep_models.rttddft.network import ResponseNetwork


class ResponseEnsemble(nn.Module):
    """The mean of several networks.

    Args:
        members: networks for the same auxiliary basis.
    """

    def __init__(self, members: Sequence[ResponseNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Response [M,M] (hartree) and density coefficients [M]: means.

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
            response, density = member(numbers, positions.unsqueeze(0))
            responses.append(response[0])
            densities.append(density[0])
        return torch.stack(responses), torch.stack(densities)
