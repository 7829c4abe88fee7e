"""Steps in time of a closed shell whose Fock matrix is linear in the density, as TorchScript code.

In the Loewdin basis, with occupied orbitals C [n,o] and the change of the density dP = 2 (C C^+ - C0 C0^+) from the
ground state,

    F = F0 + unpack(R pack(Re dP)) + i unpack'(I pack'(Im dP)) + E(t).r,      i dC/dt = F C

R is Coulomb minus exchange plus the response of the exchange-correlation potential, I the exchange of the imaginary
part. ``pack`` takes the pairs p <= q of a symmetric matrix in the order of numpy.triu_indices(n), ``pack'`` the pairs
p < q of an antisymmetric one in that of numpy.triu_indices(n, 1); off-diagonal elements are multiplied by sqrt(2), so
that products of packed matrices are trace products.

The schemes are those of :mod:`openmmkstep.rttddft.propagators`, which says where they come from: ``magnus2`` and
``cfm4``, self-consistent in every step, with the same guesses and the same criterion, so that both agree to round-off.
Exponentials act on the occupied columns by diagonalisation: their unitarity is that of the eigenvectors, 1e-15, and up
to some 60 functions it is no slower than a Taylor or Krylov series of the same accuracy.

All of it may be differentiated, for training on short rollouts, but only where it is not scripted: TorchScript's own
rules for derivatives take complex numbers for real ones.

Everything is a function of tensors. :class:`LinearDynamics` keeps those of one molecule; :class:`TimeSteps` keeps none,
for an archive that serves any molecule.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Annotations are evaluated here, unlike elsewhere: TorchScript looks into those of the named tuples.


class LinearSystem(NamedTuple):
    """One molecule, prepared for many steps. Of n functions, m = n(n+1)/2 pairs and m' antisymmetric pairs (or 0).

    Elements are packed without weights here: real parts of p <= q, then imaginary parts of p < q.

    Attributes:
        size: n, as a tensor [].
        gather: where the packed elements are in a complex matrix seen as reals [m+m'].
        scatter, sign: which packed element goes to each real of a complex matrix, and with which sign [2nn].
        weights: of packed elements in a trace product [m+m'].
        ground: C0 C0^+, packed [m+m'].
        fock: F0, packed [m+m'].
        real_response: dF.real = this times d(C C^+).real [m,m].
        imaginary_response: dF.imag = this times d(C C^+).imag [m',m'].
        position: <p|r|q> as complex numbers [3,nn].
        dipole_change: dipole moment = dipole + this times d(C C^+).real [3,m].
        dipole: of nuclei and electrons in the ground state [3], e bohr.
        energy: of the ground state [], hartree.
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


class Evaluation(NamedTuple):
    """A field-free Fock matrix [n,n], the same packed [m+m'], and the packed change of C C^+ of which it is [m+m']."""

    fock: Tensor
    packed: Tensor
    change: Tensor


def prepare_system(
    fock: Tensor,
    orbitals: Tensor,
    position: Tensor,
    real_response: Tensor,
    imaginary_response: Tensor,
    energy: Tensor,
    dipole: Tensor,
) -> LinearSystem:
    """One molecule's tensors in the form that steps need.

    Args:
        fock: F0, real, field-free [n,n].
        orbitals: C0, occupied [n,o], complex128.
        position: of the electron, <p|r|q> [3,n,n], bohr.
        real_response: R [m,m].
        imaginary_response: I [m',m'], or [0,0] where there is no exact exchange.
        energy: of the ground state [], hartree.
        dipole: of nuclei and electrons in the ground state [3], e bohr.

    Raises:
        ValueError: shapes or precisions do not go together (as torch.jit.Error where scripted).
    """
    n = fock.size(0)
    pairs = n * (n + 1) // 2
    strict_pairs = n * (n - 1) // 2
    if fock.dim() != 2 or fock.size(1) != n or n == 0 or fock.dtype != torch.float64:
        raise ValueError(f"the ground Fock matrix must be a square one of float64, got shape {list(fock.shape)}")
    if orbitals.dim() != 2 or orbitals.size(0) != n or orbitals.dtype != torch.complex128:
        raise ValueError(f"ground orbitals must be [{n},occupied] of complex128, got shape {list(orbitals.shape)}")
    if list(position.shape) != [3, n, n]:
        raise ValueError(f"position must be [3,{n},{n}], got shape {list(position.shape)}")
    if list(real_response.shape) != [pairs, pairs]:
        raise ValueError(f"the real response must be [{pairs},{pairs}], got shape {list(real_response.shape)}")
    exchange = imaginary_response.size(0) > 0
    if exchange and list(imaginary_response.shape) != [strict_pairs, strict_pairs]:
        raise ValueError(
            f"the imaginary response must be [{strict_pairs},{strict_pairs}] or empty, got shape "
            f"{list(imaginary_response.shape)}"
        )
    if energy.numel() != 1 or list(dipole.shape) != [3]:
        raise ValueError("the ground state's energy must be one number and its dipole three")
    device = fock.device
    upper = torch.triu_indices(n, n, 0, device=device)
    strict = torch.triu_indices(n, n, 1, device=device)
    gather = 2 * (upper[0] * n + upper[1])
    scatter = torch.zeros([n, n, 2], dtype=torch.int64, device=device)
    sign = torch.zeros([n, n, 2], dtype=torch.float64, device=device)
    index = torch.arange(pairs, device=device)
    scatter[upper[0], upper[1], 0] = index
    scatter[upper[1], upper[0], 0] = index
    sign[:, :, 0] = 1.0
    weights = 1.0 + (upper[0] != upper[1]).to(torch.float64)
    root = weights.sqrt()
    if exchange:
        gather = torch.cat([gather, 2 * (strict[0] * n + strict[1]) + 1])
        index = pairs + torch.arange(strict_pairs, device=device)
        scatter[strict[0], strict[1], 1] = index
        scatter[strict[1], strict[0], 1] = index
        sign[strict[0], strict[1], 1] = 1.0
        sign[strict[1], strict[0], 1] = -1.0
        weights = torch.cat([weights, torch.full([strict_pairs], 2.0, dtype=torch.float64, device=device)])
    density = torch.view_as_real(torch.mm(orbitals, orbitals.conj().t()).resolve_conj()).reshape(-1)
    fock_parts = torch.view_as_real(torch.complex(fock, torch.zeros_like(fock))).reshape(-1)
    ground = density.index_select(0, gather)
    packed_position = position.to(torch.float64)[:, upper[0], upper[1]]
    return LinearSystem(
        size=torch.tensor(n),
        gather=gather,
        scatter=scatter.reshape(-1),
        sign=sign.reshape(-1),
        weights=weights,
        ground=ground,
        fock=fock_parts.index_select(0, gather),
        # Both orbitals' electrons, and the weights of packed elements, are put into the matrices once.
        real_response=2.0 * real_response.to(torch.float64) * root / root.unsqueeze(1),
        imaginary_response=2.0 * imaginary_response.to(torch.float64),
        position=position.to(torch.complex128).reshape(3, n * n),
        dipole_change=-2.0 * packed_position * weights[:pairs],
        dipole=dipole.to(torch.float64),
        energy=energy.to(torch.float64).reshape([]),
    )


def evaluate(system: LinearSystem, orbitals: Tensor) -> Evaluation:
    """The field-free Fock matrix of occupied orbitals [n,o]."""
    n = orbitals.size(0)
    pairs = system.real_response.size(0)
    density = torch.view_as_real(torch.mm(orbitals, orbitals.conj().t())).reshape(-1)
    change = density.index_select(0, system.gather) - system.ground
    packed = torch.addmv(system.fock[:pairs], system.real_response, change[:pairs])
    if change.size(0) > pairs:
        packed = torch.cat([packed, torch.mv(system.imaginary_response, change[pairs:])])
    fock = torch.view_as_complex((packed.index_select(0, system.scatter) * system.sign).view(n, n, 2))
    return Evaluation(fock, packed, change)


def energy_of(system: LinearSystem, evaluation: Evaluation) -> Tensor:
    """Energy of electrons and nuclei without the field [], hartree: the integral of F over dP along a straight line."""
    return system.energy + torch.dot(system.weights * evaluation.change, system.fock + evaluation.packed)


def dipole_of(system: LinearSystem, evaluation: Evaluation) -> Tensor:
    """Dipole moment of nuclei and electrons [3], e bohr."""
    pairs = system.real_response.size(0)
    return torch.addmv(system.dipole, system.dipole_change, evaluation.change[:pairs])


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
        tolerance: of a step: the largest element by which a Fock matrix may differ between two iterations, times dt.
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
        if time_step * float((evaluation.fock - end).detach().abs().max()) < tolerance:
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
        if time_step * float((found - guess).detach().abs().max()) < tolerance:
            return moved, found, evaluation, 2 * (iteration + 1)
        guess = found
    return moved, guess, evaluation, 0


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


class TimeSteps(nn.Module):
    """The functions of this file as a module without tensors of its own, to be part of an archive."""

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
