"""The time steps as a module, for archives; TorchScript has no other way to carry functions."""

import torch
from torch import Tensor, nn

from kstep_models.rttddft.linear_system import LinearSystem, prepare_system
from kstep_models.rttddft.propagation import Steps, advance, field_fractions, start


class TimeSteps(nn.Module):
    """The steps as a module without tensors of its own, to be part of an archive that serves any molecule."""

    def forward(self) -> None:
        """Nothing: see the other methods."""

    @torch.jit.export
    def prepare(
        self,
        fock: Tensor,
        orbitals: Tensor,
        position: Tensor,
        real_response: Tensor,
        imaginary_response: Tensor,
        energy: Tensor,
        dipole: Tensor,
    ) -> LinearSystem:
        """See :func:`prepare_system`."""
        return prepare_system(fock, orbitals, position, real_response, imaginary_response, energy, dipole)

    @torch.jit.export
    def field_fractions(self, scheme: str) -> list[float]:
        """See :func:`field_fractions`."""
        return field_fractions(scheme)

    @torch.jit.export
    def start(self, system: LinearSystem, orbitals: Tensor) -> Steps:
        """See :func:`start`."""
        return start(system, orbitals)

    @torch.jit.export
    def advance(
        self,
        system: LinearSystem,
        scheme: str,
        orbitals: Tensor,
        history: Tensor,
        fields: Tensor,
        time_step: float,
        tolerance: float,
        max_iterations: int,
    ) -> Steps:
        """See :func:`advance`."""
        return advance(system, scheme, orbitals, history, fields, time_step, tolerance, max_iterations)
