"""Modules around the time steps: one that keeps a molecule's tensors, and one without any, for archives."""

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


class LinearDynamics(nn.Module):
    """The electrons of one molecule; the tensors of its :class:`LinearSystem` are buffers.

    Args: see :func:`prepare_system`.

    Raises:
        ValueError: shapes or precisions do not go together.
    """

    size: Tensor
    gather: Tensor
    scatter: Tensor
    sign: Tensor
    weights: Tensor
    ground: Tensor
    fock: Tensor
    real_response: Tensor
    imaginary_response: Tensor
    position: Tensor
    dipole_change: Tensor
    dipole: Tensor
    energy: Tensor

    def __init__(
        self,
        fock: Tensor,
        orbitals: Tensor,
        position: Tensor,
        real_response: Tensor,
        imaginary_response: Tensor,
        energy: Tensor,
        dipole: Tensor,
    ) -> None:
        super().__init__()
        system = prepare_system(fock, orbitals, position, real_response, imaginary_response, energy, dipole)
        for name, tensor in system._asdict().items():
            self.register_buffer(name, tensor.detach())

    def forward(
        self,
        orbitals: Tensor,
        history: Tensor,
        fields: Tensor,
        time_step: float,
        scheme: str = "magnus2",
        tolerance: float = 1e-9,
        max_iterations: int = 30,
    ) -> Steps:
        """Many steps: see :func:`advance`."""
        return advance(self.system(), scheme, orbitals, history, fields, time_step, tolerance, max_iterations)

    @torch.jit.export
    def start(self, orbitals: Tensor) -> Steps:
        """The state at t = 0: see :func:`start`."""
        return start(self.system(), orbitals)

    @torch.jit.export
    def magnus2(
        self,
        orbitals: Tensor,
        history: Tensor,
        fields: Tensor,
        time_step: float,
        tolerance: float = 1e-9,
        max_iterations: int = 30,
    ) -> Steps:
        """Many steps of second order; fields at the midpoints [T,1,3]. See :func:`advance`."""
        return self.forward(orbitals, history, fields, time_step, "magnus2", tolerance, max_iterations)

    @torch.jit.export
    def cfm4(
        self,
        orbitals: Tensor,
        history: Tensor,
        fields: Tensor,
        time_step: float,
        tolerance: float = 1e-9,
        max_iterations: int = 30,
    ) -> Steps:
        """Many steps of fourth order; fields at the four Gauss points [T,4,3]. See :func:`advance`."""
        return self.forward(orbitals, history, fields, time_step, "cfm4", tolerance, max_iterations)

    @torch.jit.export
    def system(self) -> LinearSystem:
        """The prepared tensors."""
        return LinearSystem(
            self.size,
            self.gather,
            self.scatter,
            self.sign,
            self.weights,
            self.ground,
            self.fock,
            self.real_response,
            self.imaginary_response,
            self.position,
            self.dipole_change,
            self.dipole,
            self.energy,
        )
