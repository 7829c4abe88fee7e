"""Properties that every potential of the contract must have, as a suite to inherit from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.support.finite_differences import derivative

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class PotentialProperties(ABC):
    """Inherit, give the molecule and the function, and every property is tested.

    ``exact`` is the relative tolerance of identities, ``derivative`` that of central differences, ``responds`` says
    whether charges depend on the potential.
    """

    exact = 1e-10
    derivative = 1e-7
    total_charge = 0.0
    responds = True

    @abstractmethod
    def function(self) -> Function:
        """(positions [N,3], potential [N]) -> (energy, forces, charges), all float64."""

    @abstractmethod
    def geometry(self) -> NDArray[np.float64]:
        """A distorted geometry [N,3], nm."""

    @abstractmethod
    def equivalent_atoms(self) -> list[tuple[int, int]]:
        """Pairs of atoms whose exchange leaves the molecule as it is."""

    def potential(self) -> Tensor:
        return torch.as_tensor(np.random.default_rng(5).normal(scale=150, size=len(self.geometry())))

    def evaluate(
        self, positions: Tensor | None = None, potential: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.as_tensor(self.geometry()) if positions is None else positions
        phi = self.potential() if potential is None else potential
        return self.function()(x, phi)

    def close(self, a: Tensor, b: Tensor, tolerance: float) -> None:
        scale = max(float(b.abs().max()), 1.0)
        deviation = float((a - b).abs().max()) / scale
        assert deviation < tolerance, f"relative deviation {deviation:.1e}"

    def test_forces_are_the_negative_gradient_of_the_energy(self) -> None:
        x, phi = torch.as_tensor(self.geometry()), self.potential()
        function = self.function()
        expected = -derivative(lambda moved: function(torch.as_tensor(moved), phi)[0], x.numpy(), 2e-5)
        self.close(function(x, phi)[1], torch.as_tensor(expected), self.derivative)

    def test_charges_are_the_derivative_with_respect_to_the_potential(self) -> None:
        x, phi = torch.as_tensor(self.geometry()), self.potential()
        function = self.function()
        # U is quadratic in phi: the central difference is exact.
        expected = derivative(lambda moved: function(x, torch.as_tensor(moved))[0], phi.numpy(), 1.0, order=2)
        assert np.abs(function(x, phi)[2].numpy() - expected).max() < self.derivative * 100

    def test_charge_flux_is_in_the_forces(self) -> None:
        """Forces change with the potential by -dq/dx, which finite differences of the charges confirm."""
        x = torch.as_tensor(self.geometry())
        function = self.function()
        phi = torch.zeros(len(x), dtype=torch.float64)
        site = 1
        probe = phi.clone()
        probe[site] = 1.0
        change = function(x, probe)[1] - function(x, phi)[1]
        flux = derivative(lambda moved: function(torch.as_tensor(moved), phi)[2][site], x.numpy(), 1e-5, order=2)
        expected = torch.as_tensor(-flux)
        assert float(expected.abs().max()) > 1e-4
        self.close(change, expected, max(1e-6, self.derivative))

    def test_charges_sum_to_the_total_charge(self) -> None:
        assert abs(float(self.evaluate()[2].sum()) - self.total_charge) < max(self.exact, 1e-12) * 10

    def test_response_lowers_the_energy(self) -> None:
        """In the field, U lies below what the vacuum charges alone would give, or just there without a response."""
        x, phi = torch.as_tensor(self.geometry()), self.potential()
        none = torch.zeros_like(phi)
        vacuum, _, charges = self.function()(x, none)
        found, unmoved = self.function()(x, phi)[0], vacuum + (charges * phi).sum()
        if self.responds:
            assert float(found) < float(unmoved)
        else:
            self.close(found, unmoved, self.exact)

    def test_forces_and_torques_vanish_in_vacuum(self) -> None:
        x = torch.as_tensor(self.geometry())
        forces = self.function()(x, torch.zeros(len(x), dtype=torch.float64))[1]
        scale = float(forces.abs().max())
        assert float(forces.sum(0).abs().max()) < 10 * self.exact * scale
        assert float(torch.linalg.cross(x, forces).sum(0).abs().max()) < 10 * self.exact * scale

    def test_translation(self) -> None:
        moved = torch.as_tensor(self.geometry()) + torch.tensor([3.0, -7.0, 11.0], dtype=torch.float64)
        for a, b in zip(self.evaluate(moved), self.evaluate(), strict=True):
            self.close(a, b, self.exact)

    def test_rotation_and_reflection(self) -> None:
        random = np.random.default_rng(3)
        for sign in (1.0, -1.0):
            q, r = np.linalg.qr(random.normal(size=(3, 3)))
            q = q * np.sign(np.diag(r))
            turn = torch.as_tensor(q * sign * np.sign(np.linalg.det(q)))
            energy, forces, charges = self.evaluate()
            turned = self.evaluate(torch.as_tensor(self.geometry()) @ turn.T)
            self.close(turned[0], energy, self.exact)
            self.close(turned[1], forces @ turn.T, self.exact)
            self.close(turned[2], charges, self.exact)

    def test_exchange_of_equivalent_atoms(self) -> None:
        assert self.equivalent_atoms()
        energy, forces, charges = self.evaluate()
        for a, b in self.equivalent_atoms():
            order = list(range(len(charges)))
            order[a], order[b] = b, a
            exchanged = self.evaluate(torch.as_tensor(self.geometry())[order], self.potential()[order])
            self.close(exchanged[0], energy, self.exact)
            self.close(exchanged[1], forces[order], self.exact)
            self.close(exchanged[2], charges[order], self.exact)
