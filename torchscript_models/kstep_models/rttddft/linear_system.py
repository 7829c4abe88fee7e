"""A closed shell whose Fock matrix is linear in the density, as tensors that TorchScript code works on.

In the Loewdin basis, with occupied orbitals C [n,o] and the change of the density dP = 2 (C C^+ - C0 C0^+) from the
ground state,

    F = F0 + unpack(R pack(Re dP)) + i unpack'(I pack'(Im dP))

R is Coulomb minus exchange plus the response of the exchange-correlation potential, I the exchange of the imaginary
part. ``pack`` takes the pairs p <= q of a symmetric matrix in the order of numpy.triu_indices(n), ``pack'`` the pairs
p < q of an antisymmetric one in that of numpy.triu_indices(n, 1); off-diagonal elements are multiplied by sqrt(2), so
that products of packed matrices are trace products.
"""

from typing import NamedTuple

import torch
from torch import Tensor

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
