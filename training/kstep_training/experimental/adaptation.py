"""Few-shot adaptation: what a handful of true responses of a molecule say about the rest of its response.

A network meets a molecule that it has not learned from. For a few density changes c_s the potential was evaluated, so
that the true response G is known along them: g_s = G c_s. Three ways to make use of it:

- :func:`function_space_update` leaves the network alone and adds to its response the smallest symmetric matrix that
  takes the difference away: the mean of a Gaussian process over symmetric matrices, whose elements are independent.
  It is what a reduced Hamiltonian does with a prior while it propagates.
- :func:`last_layer_update` gives the network the most probable last layer, given the responses and a normal
  distribution around the trained weights. The network is linear in them, so that this is a least-squares problem with
  a ridge, solved to the end.
- :func:`gradient_update` takes a few steps of gradient descent on the last layer, with rates that were learned on other
  molecules, :func:`meta_learned_rates`; encoder and start are those of training. See A. Raghu et al., ICLR 2020 (ANIL)
  for steps on the last layer alone, Z. Li et al., arXiv:1707.09835 for learned rates, and C. Finn et al., ICML 2017 for
  the first-order gradient.

The default, :func:`adapted_response`, is the second followed by the first, which had the best dipoles for its time
(``examples/electron_dynamics/ablations``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor

from kstep_models.rttddft.linear_response import Modes, modes
from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet

RealArray = NDArray[np.float64]

# Of the last layer, those parts with rates of their own in gradient descent.
GROUPS = ("site_blocks", "pair_blocks")


@dataclass(frozen=True)
class Shots:
    """True responses of one geometry.

    Attributes:
        numbers: atomic numbers [N].
        positions: [N,3], bohr.
        fit: the density changes in the auxiliary basis [M,R].
        directions: combinations of density changes for which the response is known [R,S], orthonormal.
        potentials: their true responses among all density changes, G times directions [R,S], hartree.
    """

    numbers: NDArray[np.int64]
    positions: RealArray
    fit: RealArray
    directions: RealArray
    potentials: RealArray


def geometry(molecule: ResponseSet, index: int) -> ResponseRecord:
    """The record of one geometry."""
    return ResponseRecord(*(getattr(molecule.records, entry.name)[index] for entry in fields(ResponseRecord)))


def shots_of(molecule: ResponseSet, index: int, directions: RealArray) -> Shots:
    """True responses along given directions [R,S], orthonormal, of a geometry from a file."""
    record = geometry(molecule, index)
    return Shots(molecule.numbers, record.positions, record.fit, directions, record.response @ directions)


def visited_directions(record: ResponseRecord, response: RealArray, count: int) -> RealArray:
    """Where a trajectory after weak kicks along x, y and z goes most: orthonormal density changes [R,count].

    The leading principal components of the density changes over a long time, each mode counting with its mean square.
    They follow from a predicted response, before anything is evaluated.

    Args:
        record: of one geometry; its true response is not looked at.
        response: predicted [R,R].
        count: how many.

    Raises:
        UnstableResponseError: the prediction is far off; directions of zero response may be used instead.
    """
    found: Modes = modes(record.sum, record.difference, record.dipole, response)
    sizes = np.linalg.norm(found.dipoles, axis=0) / found.frequencies
    left, _, _ = np.linalg.svd(found.changes * sizes, full_matrices=False)
    return left[:, :count]


def function_space_update(response: RealArray, directions: RealArray, potentials: RealArray) -> RealArray:
    """The symmetric response [R,R] that is nearest to a given one among those that fulfil the true responses.

    Args:
        response: predicted [R,R].
        directions, potentials: see :class:`Shots`.
    """
    missing = potentials - response @ directions
    inside = directions.T @ missing
    inside = 0.5 * (inside + inside.T)
    outside = missing @ directions.T
    return response + outside + outside.T - directions @ inside @ directions.T


class _LastLayer(torch.nn.Module):
    """The last layer as a module, so that it can be called with other weights than the network's own."""

    def __init__(self, network: ResponseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, numbers: Tensor, sites: Tensor, pairs: Tensor) -> Tensor:
        return self.network.assembled(numbers, sites, pairs)[0][0]


class LastLayerProblem:
    """Errors of a network's responses as a linear function of its last layer's weights.

    Attributes:
        weights: of each of ``GROUPS``, name -> weight; to begin with those of the network, which stay as they are.

    Args:
        network: in double precision.
        shots: what is known.
        weights: to begin with; the network's where left out.
    """

    def __init__(
        self, network: ResponseNetwork, shots: Shots, weights: dict[str, dict[str, Tensor]] | None = None
    ) -> None:
        self._layer = _LastLayer(network)
        self._numbers = torch.as_tensor(shots.numbers)
        with torch.no_grad():
            self._features = network.features(self._numbers, torch.as_tensor(shots.positions).unsqueeze(0))
        self._fit = torch.as_tensor(shots.fit)
        self._changes = self._fit @ torch.as_tensor(shots.directions)
        self._potentials = torch.as_tensor(shots.potentials)
        if weights is None:
            weights = {
                group: {
                    f"network.{group}.{kind}.linear.weight": readout.linear.weight
                    for kind, readout in enumerate(getattr(network, group))
                }
                for group in GROUPS
            }
        self.weights = {
            group: {name: weight.detach().clone().requires_grad_(True) for name, weight in part.items()}
            for group, part in weights.items()
        }

    @property
    def _all(self) -> dict[str, Tensor]:
        return {name: weight for part in self.weights.values() for name, weight in part.items()}

    def kernel(self) -> Tensor:
        """A [M,M]."""
        return torch.func.functional_call(self._layer, self._all, (self._numbers, *self._features))

    def errors(self) -> Tensor:
        """Predicted less true responses [R,S]."""
        return self._fit.T @ (self.kernel() @ self._changes) - self._potentials

    def gradients(self, values: Tensor, factors: Tensor | None = None) -> dict[str, Tensor]:
        """Of a value, or of the sum of values with factors, with respect to each of the weights."""
        weights = self._all
        found = torch.autograd.grad(values, list(weights.values()), factors, allow_unused=True)
        return {
            name: torch.zeros_like(weight) if gradient is None else gradient
            for (name, weight), gradient in zip(weights.items(), found, strict=True)
        }

    def vector(self) -> RealArray:
        """All weights in one vector."""
        return torch.nn.utils.parameters_to_vector(self._all.values()).detach().numpy().copy()

    def set_vector(self, values: RealArray) -> None:
        """Set all weights."""
        with torch.no_grad():
            start = 0
            for weight in self._all.values():
                weight.copy_(torch.as_tensor(values[start : start + weight.numel()]).reshape(weight.shape))
                start += weight.numel()


def adapted_response(networks: Sequence[ResponseNetwork], shots: Shots) -> RealArray:
    """The response [R,R] of an ensemble after its adaptation: last layers first, what they leave in function space.

    Args:
        networks: in double precision; not changed.
        shots: true responses, which the result fulfils.
    """
    kernel = np.mean([last_layer_update(network, shots) for network in networks], axis=0)
    return function_space_update(shots.fit.T @ kernel @ shots.fit, shots.directions, shots.potentials)


def last_layer_update(network: ResponseNetwork, shots: Shots, ridge: float = 0.01, iterations: int = 15) -> RealArray:
    """The kernel A [M,M] of a network with the most probable last layer, given true responses.

    Minimises |errors|^2 + s |weights - trained weights|^2; s is ``ridge`` times the squared slope of the errors along
    their steepest descent. Conjugate gradients (LSMR), each iteration one pass forwards and one backwards.

    Args:
        network: in double precision; not changed.
        shots: true responses.
        ridge: variance of a response's error over that of a weight, relative as above.
        iterations: at most; few, since stopping early keeps the weights near the trained ones as well.
    """
    problem = LastLayerProblem(network, shots)
    trained = problem.vector()
    errors = problem.errors()
    start = errors.detach().numpy().ravel()
    if not np.any(start):
        return problem.kernel().detach().numpy()

    def forwards(change: RealArray) -> RealArray:
        # Exact: the errors are linear in the weights.
        problem.set_vector(trained + change.ravel())
        with torch.no_grad():
            return problem.errors().numpy().ravel() - start

    def backwards(factors: RealArray) -> RealArray:
        gradients = problem.gradients(problem.errors(), torch.as_tensor(factors.reshape(errors.shape)))
        return torch.cat([gradient.reshape(-1) for gradient in gradients.values()]).numpy()

    slope = np.linalg.norm(backwards(start)) / np.linalg.norm(start)
    operator = LinearOperator((start.size, trained.size), matvec=forwards, rmatvec=backwards, dtype=np.float64)
    change = lsmr(operator, -start, damp=float(np.sqrt(ridge) * slope), atol=1e-8, btol=1e-8, maxiter=iterations)[0]
    problem.set_vector(trained + change)
    with torch.no_grad():
        return problem.kernel().numpy()


def gradient_update(network: ResponseNetwork, shots: Shots, rates: dict[str, float], steps: int = 5) -> RealArray:
    """The kernel A [M,M] of a network after steps of gradient descent on its last layer.

    Args:
        network: in double precision; not changed.
        shots: true responses.
        rates: for each of ``GROUPS``, from 0 to 1, in units of the step to the minimum along the group's gradient.
        steps: how many.
    """
    problem = LastLayerProblem(network, shots)
    _descend(problem, rates, steps)
    with torch.no_grad():
        return problem.kernel().numpy()


def meta_learned_rates(
    tasks: Sequence[tuple[ResponseNetwork, Shots, Shots]],
    rounds: int = 10,
    steps: int = 5,
    learning_rate: float = 0.3,
) -> dict[str, float]:
    """Rates with which a few steps on some responses improve others; from 0.5 for every group on.

    First-order: the gradient of the error on the other responses after the steps is taken to be that at the weights
    before each step as well.

    Args:
        tasks: network, responses to learn from, others of the same geometry to measure by. The network must not have
            learned from the molecule, else there is nothing to adapt to.
        rounds: over all tasks.
        steps: of adaptation.
        learning_rate: of Adam on the logits of the rates.
    """
    logits = {group: torch.zeros((), dtype=torch.float64, requires_grad=True) for group in GROUPS}
    optimiser = torch.optim.Adam(logits.values(), lr=learning_rate)
    for _ in range(rounds):
        for network, support, query in tasks:
            rates = {group: float(value.detach().sigmoid()) for group, value in logits.items()}
            problem = LastLayerProblem(network, support)
            before = {
                name: weight.detach().clone() for part in problem.weights.values() for name, weight in part.items()
            }
            _descend(problem, rates, steps)
            after = LastLayerProblem(network, query, problem.weights)
            gradients = after.gradients(after.errors().square().sum().log())
            for group, value in logits.items():
                # d weights / d rate is, to first order, all that the group has moved, over the rate.
                moved = [
                    (gradients[name] * (weight.detach() - before[name])).sum()
                    for name, weight in problem.weights[group].items()
                ]
                value.grad = (1.0 - rates[group]) * torch.stack(moved).sum()
            optimiser.step()
    return {group: float(value.detach().sigmoid()) for group, value in logits.items()}


def _descend(problem: LastLayerProblem, rates: dict[str, float], steps: int) -> None:
    # One group after the other, so that no rate up to one makes the error larger.
    for _ in range(steps):
        for group, weights in problem.weights.items():
            errors = problem.errors()
            gradients = problem.gradients(0.5 * errors.square().sum())
            square = sum(float(gradients[name].square().sum()) for name in weights)
            if not square:
                continue
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.add_(gradients[name])
                curvature = float((problem.errors() - errors).square().sum())
                for name, weight in weights.items():
                    weight.sub_((1.0 + rates[group] * square / curvature) * gradients[name])
