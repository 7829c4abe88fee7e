"""Steps in time of a closed shell whose Fock matrix is linear in the density, as TorchScript code.

    i dC/dt = (F[C] + E(t).r) C

with the field-free Fock matrix F of :mod:`kstep_models.rttddft.linear_system`.

The schemes are those of :mod:`openmmkstep.rttddft.propagation.propagators`, which says where they come from:
``magnus2`` and ``cfm4``, self-consistent in every step, with the same guesses and the same criterion, so that both
agree to round-off. Exponentials act on the occupied columns by diagonalisation: their unitarity is that of the
eigenvectors, 1e-15. A Taylor series of the same accuracy takes twice as long for 13 functions and two thirds of the
time for 66, where the product with R takes far longer than either.

All of it may be differentiated, for training on short rollouts, but only where it is not scripted: TorchScript's own
rules for derivatives take complex numbers for real ones.

Everything is a function of tensors; :mod:`kstep_models.rttddft.time_steps` makes a module of them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from kstep_models.rttddft.linear_system import Evaluation, LinearSystem, dipole_of, energy_of, evaluate

# Annotations are evaluated here, unlike elsewhere: TorchScript looks into those of the named tuples.


class Steps(NamedTuple):
    """What many steps give: all that the next ones depend on, and series of T steps.

    Attributes:
        orbitals: after the last step [n,o].
        history: field-free Fock matrices from which the next ones are guessed, the one of this time last [h,n,n],
            h <= 3; spaced by dt for magnus2 and by dt/2 for cfm4.
        dipoles: of nuclei and electrons after each step [T,3], e bohr.
        energies: without the field after each step [T], hartree.
        fock_builds: in each step [T].
    """

    orbitals: Tensor
    history: Tensor
    dipoles: Tensor
    energies: Tensor
    fock_builds: Tensor


def field_fractions(scheme: str) -> list[float]:
    """At which times within a step, in units of dt, a scheme needs the field.

    Raises:
        ValueError: no such scheme.
    """
    if scheme == "magnus2":
        return [0.5]
    if scheme == "cfm4":
        early = 0.5 * (0.5 - math.sqrt(3.0) / 6.0)
        late = 0.5 * (0.5 + math.sqrt(3.0) / 6.0)
        return [early, late, 0.5 + early, 0.5 + late]
    raise ValueError(f"unknown scheme {scheme}: use magnus2 or cfm4")


def start(system: LinearSystem, orbitals: Tensor) -> Steps:
    """The state at t = 0 of given occupied orbitals [n,o], with series of one entry.

    Raises:
        ValueError: orbitals of another molecule.
        RuntimeError: scripted, and derivatives are asked for.
    """
    if list(orbitals.shape)[:1] != [int(system.size)] or orbitals.dim() != 2 or orbitals.dtype != torch.complex128:
        raise ValueError(f"orbitals must be [{int(system.size)},occupied] of complex128")
    _refuse_scripted_derivatives(system, [orbitals])
    evaluation = evaluate(system, orbitals)
    return Steps(
        orbitals,
        evaluation.fock.unsqueeze(0),
        dipole_of(system, evaluation).unsqueeze(0),
        energy_of(system, evaluation).unsqueeze(0),
        torch.ones([1], dtype=torch.int64),
    )


def advance(
    system: LinearSystem,
    scheme: str,
    orbitals: Tensor,
    history: Tensor,
    fields: Tensor,
    time_step: float,
    tolerance: float,
    max_iterations: int,
) -> Steps:
    """Many steps. Taking them in several calls gives the same as in one, bit by bit.

    Args:
        system: see :func:`prepare_system`.
        scheme: "magnus2" or "cfm4".
        orbitals, history: as :func:`start` or an earlier call with the same scheme and time step gave them.
        fields: external field at the times of :func:`field_fractions` in each step [T,k,3], atomic units.
        time_step: dt, atomic units.
        tolerance: of a step: the largest element by which two iterations' Fock matrices, applied to the orbitals, may
            differ, times dt.
        max_iterations: before a step is given up.

    Raises:
        RuntimeError: a step did not become self-consistent (as torch.jit.Error where scripted); the message begins with
            "step" and its number in this call, from 1.
        ValueError: unknown scheme, or shapes that do not go together.
        RuntimeError: scripted, and derivatives are asked for.
    """
    n = int(system.size)
    _refuse_scripted_derivatives(system, [orbitals, fields])
    stages = len(field_fractions(scheme))
    if orbitals.dim() != 2 or orbitals.size(0) != n or orbitals.dtype != torch.complex128:
        raise ValueError(f"orbitals must be [{n},occupied] of complex128")
    if history.dim() != 3 or list(history.shape)[1:] != [n, n] or history.size(0) < 1 or history.size(0) > 3:
        raise ValueError(f"the history must be one to three matrices [{n},{n}]: take it from the state before")
    if fields.dim() != 3 or list(fields.shape)[1:] != [stages, 3]:
        raise ValueError(f"fields must be [steps,{stages},3] for {scheme}, got shape {list(fields.shape)}")
    if not bool(torch.isfinite(fields).all()):
        raise ValueError("fields must be finite")
    if not time_step > 0.0 or not tolerance > 0.0 or max_iterations < 1:
        raise ValueError("time step and tolerance must be positive, and max_iterations at least 1")
    fields = fields.to(torch.complex128)
    if scheme == "cfm4":
        fields = torch.matmul(_mixing_of_nodes(fields.device), fields)
    interpolation = _interpolation_of_stages(history.device)
    ahead = 1 if scheme == "magnus2" else 2
    extrapolations = [_extrapolation(kept, ahead, history.device) for kept in range(1, 4)]
    dipoles: list[Tensor] = [torch.zeros([0, 3], dtype=torch.float64, device=fields.device)]
    energies: list[Tensor] = [torch.zeros([0], dtype=torch.float64, device=fields.device)]
    fock_builds: list[int] = []
    for step in range(fields.size(0)):
        weights = extrapolations[history.size(0) - 1]
        guess = torch.mm(weights, history.reshape(-1, n * n)).view(ahead, n, n)
        coupling = torch.mm(fields[step], system.position).view(stages, n, n)
        if scheme == "magnus2":
            orbitals, found, evaluation, builds = _magnus2(
                system, orbitals, history[-1], guess[0], coupling[0], time_step, tolerance, max_iterations
            )
        else:
            orbitals, found, evaluation, builds = _cfm4(
                system, orbitals, history[-1], guess, coupling, interpolation, time_step, tolerance, max_iterations
            )
        if builds == 0:
            raise RuntimeError(
                f"step {step + 1} did not become self-consistent to {tolerance} within {max_iterations} iterations: "
                f"use a smaller time step than {time_step}, or a larger tolerance"
            )
        # To first order the symmetric orthogonalisation: round-off of a step is put back, so that it does not add up.
        orbitals = 1.5 * orbitals - 0.5 * torch.mm(orbitals, torch.mm(orbitals.conj().t(), orbitals))
        history = torch.cat([history, found])[-3:]
        dipoles.append(dipole_of(system, evaluation).unsqueeze(0))
        energies.append(energy_of(system, evaluation).unsqueeze(0))
        fock_builds.append(builds)
    return Steps(
        orbitals, history, torch.cat(dipoles), torch.cat(energies), torch.tensor(fock_builds, dtype=torch.int64)
    )


def _refuse_scripted_derivatives(system: LinearSystem, others: list[Tensor]) -> None:
    """Raise where derivatives are asked for that would be wrong without any sign of it."""
    if torch.jit.is_scripting() and torch.is_grad_enabled():
        given = [system.fock, system.real_response, system.imaginary_response, system.position, system.ground]
        for tensor in given + others:
            if tensor.requires_grad:
                raise RuntimeError("scripted steps cannot be differentiated: use the module that is not scripted")


def _magnus2(
    system: LinearSystem,
    orbitals: Tensor,
    start: Tensor,
    end: Tensor,
    coupling: Tensor,
    time_step: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor, Evaluation, int]:
    """A step from the Fock matrix ``start`` with the guess ``end``.

    Returns:
        Orbitals and Fock matrix [1,n,n] after it, and the number of Fock builds, 0 if it did not converge.
    """
    base = torch.add(coupling, start, alpha=0.5)
    evaluation = Evaluation(end, end, end)
    moved = orbitals
    for iteration in range(max_iterations):
        values, vectors = torch.linalg.eigh(torch.add(base, end, alpha=0.5))
        moved = _exponential(values, vectors, time_step, orbitals)
        evaluation = evaluate(system, moved)
        if time_step * _disagreement(evaluation.fock - end, moved) < tolerance:
            return moved, evaluation.fock.unsqueeze(0), evaluation, iteration + 1
        end = evaluation.fock
    return moved, end.unsqueeze(0), evaluation, 0


def _cfm4(
    system: LinearSystem,
    orbitals: Tensor,
    start: Tensor,
    guess: Tensor,
    coupling: Tensor,
    interpolation: Tensor,
    time_step: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[Tensor, Tensor, Evaluation, int]:
    """A step from the Fock matrix ``start`` with the guess [2,n,n] of those at its middle and end.

    Returns:
        Orbitals after it, Fock matrices at its middle and end, and the number of Fock builds, 0 if it did not converge.
    """
    n = orbitals.size(0)
    half = 0.5 * time_step
    base = coupling + (interpolation[:, :1] * start.reshape(1, n * n)).view(4, n, n)
    evaluation = Evaluation(guess, guess, guess)
    moved = orbitals
    for iteration in range(max_iterations):
        mixed = torch.mm(interpolation[:2, 1:], guess.view(2, n * n)).view(2, n, n)
        values, vectors = torch.linalg.eigh(base[:2] + mixed)
        halfway = _exponential(values[0], vectors[0], half, orbitals)
        halfway = _exponential(values[1], vectors[1], half, halfway)
        # The second half uses the better middle at once, which saves iterations.
        middle = evaluate(system, halfway).fock
        points = torch.stack([middle, guess[1]])
        mixed = torch.mm(interpolation[2:, 1:], points.view(2, n * n)).view(2, n, n)
        values, vectors = torch.linalg.eigh(base[2:] + mixed)
        moved = _exponential(values[0], vectors[0], half, halfway)
        moved = _exponential(values[1], vectors[1], half, moved)
        evaluation = evaluate(system, moved)
        found = torch.stack([middle, evaluation.fock])
        if time_step * _disagreement(found - guess, moved) < tolerance:
            return moved, found, evaluation, 2 * (iteration + 1)
        guess = found
    return moved, guess, evaluation, 0


def _disagreement(difference: Tensor, orbitals: Tensor) -> float:
    """The largest element of what a difference of Fock matrices [...,n,n] does to orbitals."""
    return float(torch.matmul(difference.detach().to(orbitals.dtype), orbitals.detach()).abs().max())


def _exponential(values: Tensor, vectors: Tensor, step: float, orbitals: Tensor) -> Tensor:
    """``exp(-i step H)`` applied to orbitals, by the eigenvalues and eigenvectors of H."""
    phases = torch.polar(torch.ones_like(values), -step * values)
    return torch.mm(vectors, phases.unsqueeze(1) * torch.mm(vectors.conj().t(), orbitals))


def _extrapolation(count: int, ahead: int, device: torch.device) -> Tensor:
    """Weights of ``count`` equally spaced matrices in the next ones, by the polynomial through them [ahead,count]."""
    result = torch.zeros([ahead, count], dtype=torch.complex128)
    for row in range(ahead):
        for i in range(count):
            weight = 1.0
            for j in range(count):
                if j != i:
                    weight = weight * float(count + row - j) / float(i - j)
            result[row, i].fill_(weight)
    return result.to(device)


def _mixing_of_nodes(device: torch.device) -> Tensor:
    """How the four exponents of CFM4 are made of the values at the four Gauss points of its halves [4,4]."""
    small = (3.0 - 2.0 * math.sqrt(3.0)) / 12.0
    large = (3.0 + 2.0 * math.sqrt(3.0)) / 12.0
    # With fill_, because torch.tensor and assignments round numbers to single precision within TorchScript.
    result = torch.zeros([4, 4], dtype=torch.complex128)
    for half in range(2):
        first = 2 * half
        result[first, first].fill_(large)
        result[first, first + 1].fill_(small)
        result[first + 1, first].fill_(small)
        result[first + 1, first + 1].fill_(large)
    return result.to(device)


def _interpolation_of_stages(device: torch.device) -> Tensor:
    """How they are made of field-free Fock matrices at the start, middle and end of the step [4,3]."""
    # The parabola through values at 0, 1 and 2 half steps.
    parabola = torch.zeros([4, 3], dtype=torch.complex128)
    for row, fraction in enumerate(field_fractions("cfm4")):
        node = 2.0 * fraction
        parabola[row, 0].fill_(0.5 * (node - 1.0) * (node - 2.0))
        parabola[row, 1].fill_(-node * (node - 2.0))
        parabola[row, 2].fill_(0.5 * node * (node - 1.0))
    return torch.mm(_mixing_of_nodes(device), parabola.to(device))
