"""From a trained response network to an archive of kind "fxc", with checks before anything is written.

The archive also carries the time steps of :mod:`kstep_models.rttddft.propagation` as its submodule ``time_steps``, so
that whoever loads it needs nothing else to move electrons.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kstep_models.archive import DTYPES, ExportError, check_target, load_archive, write_archive
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.contract import ResponseContract
from kstep_models.rttddft.ensemble import ResponseEnsemble
from kstep_models.rttddft.time_steps import TimeSteps

Geometry = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Atomic numbers [N] and positions [N,3] in bohr."""

_EAGER_TOLERANCE = 1e-10
_PRECISION_TOLERANCE = 1e-3
# Of a network in double precision; one that was trained in single precision keeps that of its constants.
_SYMMETRY_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@dataclass(frozen=True)
class ResponseChecks:
    """Largest deviations found at export, relative to the largest element of response or density.

    Attributes:
        eager: double-precision exported module against the network run eagerly.
        rotation: against the response of the molecule turned, mirrored and moved, turned back.
        permutation: against that of the molecule with its atoms in another order, put back.
        symmetry: of the response matrix against its transpose.
        precision: of the archive as written against double precision (0 for a float64 archive).
    """

    eager: float
    rotation: float
    permutation: float
    symmetry: float
    precision: float


class ExportedResponse(nn.Module):
    """Calling convention of the archive around the networks.

    Args:
        networks: each gives the response [M,M] and density [M] for numbers [N] and positions [N,3] in its own
            precision.
        dtype: of the networks.
    """

    def __init__(self, networks: Sequence[nn.Module], dtype: torch.dtype) -> None:
        super().__init__()
        self.ensemble = ResponseEnsemble(networks)
        self.dtype = dtype
        self.time_steps = TimeSteps()

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Response [M,M] (hartree) and density coefficients [M] in double precision, means over the ensemble.

        Args:
            numbers: atomic numbers [N], int64.
            positions: [N,3] bohr.
        """
        # Centred in double precision first, so that single precision does not lose digits to where the molecule is.
        x = positions.to(torch.float64)
        x = (x - x.mean(0, keepdim=True)).to(self.dtype)
        response, density = self.ensemble(numbers, x)
        return response.to(torch.float64), density.to(torch.float64)

    @torch.jit.export
    def members(self, numbers: Tensor, positions: Tensor) -> Tensor:
        """Responses of each network of an ensemble [E,M,M]; their mean is that of ``forward``."""
        x = positions.to(torch.float64)
        x = (x - x.mean(0, keepdim=True)).to(self.dtype)
        responses, _ = self.ensemble.all_members(numbers, x)
        return responses.to(torch.float64)


def export_response(
    models: Sequence[nn.Module], contract: ResponseContract, path: str | os.PathLike[str], examples: Sequence[Geometry]
) -> ResponseChecks:
    """Check response networks and write their archive, atomically.

    Args:
        models: one network or, so that their disagreement says how far to trust them, several; scriptable;
            ``forward(numbers [N] int64, positions [N,3] bohr)`` gives the response matrix [M,M] in hartree and the
            density's coefficients [M], in the order of the atoms and of the contract's auxiliary basis.
        contract: its ``dtype`` decides the precision the archive computes in.
        path: the archive to write, usually ``*.pt``.
        examples: typical geometries, at least one, on which the exported module is checked.

    Returns:
        the deviations found.

    Raises:
        ContractError: the contract does not cover the examples.
        ExportError: e3nn is not installed, or the exported module deviates, or does not transform as it should; nothing
            is written.
    """
    if not models:
        raise ExportError("an archive needs at least one network")
    if not examples:
        raise ExportError("checking needs at least one geometry")
    geometries = [_checked_geometry(contract, *example) for example in examples]
    check_target(path)
    double = script_response(models, torch.float64)
    dtype = DTYPES[contract.dtype]
    written = double if dtype == torch.float64 else script_response(models, dtype)
    eager = _prepared(models, torch.float64)
    # As electron dynamics runs them: optimised, each module's first two calls take half a minute, later ones no less.
    with torch.no_grad(), torch.jit.optimized_execution(False):
        checks = _checks(eager, double, written, contract, geometries)
    write_archive(written, contract, path)
    return checks


def script_response(models: Sequence[nn.Module], dtype: torch.dtype) -> Any:
    """The scripted module as it goes into the archive, computing in ``dtype``.

    Raises:
        ExportError: e3nn is not installed, or the network cannot be scripted.
    """
    try:
        from e3nn.util.jit import script
    except ImportError as error:
        raise ExportError(
            f"exporting a response model needs e3nn ({error}): pip install 'openmm-kstep[training]'"
        ) from error
    with warnings.catch_warnings():
        # TorchScript is the format the contract prescribes; its deprecation is known.
        warnings.simplefilter("ignore")
        try:
            return script(_prepared(models, dtype))
        except (RuntimeError, TypeError) as error:
            raise ExportError(f"the network cannot be scripted: {error}") from error


def load_response(
    path: str | os.PathLike[str],
) -> tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], ResponseContract]:
    """An archive for use from Python: the module, called with numbers and positions, and its contract.

    The module's attribute ``time_steps`` is a :class:`kstep_models.rttddft.time_steps.TimeSteps`.

    Raises:
        ContractError: see :func:`kstep_models.archive.load_archive`.
    """
    return load_archive(path, ResponseContract)


def _prepared(models: Sequence[nn.Module], dtype: torch.dtype) -> ExportedResponse:
    networks = [copy.deepcopy(model).to(dtype).eval().requires_grad_(False) for model in models]
    return ExportedResponse(networks, dtype).eval()


def _checked_geometry(contract: ResponseContract, numbers: Any, positions: Any) -> tuple[Tensor, Tensor]:
    z = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
    x = torch.as_tensor(np.asarray(positions, dtype=np.float64))
    if z.dim() != 1 or list(x.shape) != [len(z), 3]:
        raise ExportError(
            f"a geometry must be numbers [N] and positions [N,3], got {list(z.shape)} and {list(x.shape)}"
        )
    contract.check_atoms(z.tolist())
    return z, x


def _checks(
    eager: nn.Module, double: Any, written: Any, contract: ResponseContract, geometries: list[tuple[Tensor, Tensor]]
) -> ResponseChecks:
    basis = contract.basis()
    generator = torch.Generator().manual_seed(1)
    found: dict[str, list[float]] = {name: [] for name in ResponseChecks.__dataclass_fields__}
    for numbers, positions in geometries:
        result = double(numbers, positions)
        size = basis.size(numbers.tolist())
        if [list(part.shape) for part in result] != [[size, size], [size]]:
            raise ExportError(
                f"the network returned shapes {[list(part.shape) for part in result]}, the auxiliary basis asks for "
                f"[{size},{size}] and [{size}]"
            )
        found["eager"].append(_deviation(eager(numbers, positions), result))
        found["symmetry"].append(_deviation((result[0].T,), result[:1]))
        found["precision"].append(_deviation(written(numbers, positions), result))
        for sign in (1.0, -1.0):
            turn = sign * _rotation(generator)
            blocks = _representation(basis, numbers, turn)
            moved = positions @ turn.T + torch.randn(3, dtype=torch.float64, generator=generator)
            response, density = double(numbers, moved)
            found["rotation"].append(_deviation((blocks.T @ response @ blocks, blocks.T @ density), result))
        order = _reordering(contract, numbers)
        functions = _functions_in_order(basis, numbers, order)
        response, density = double(numbers[order], positions[order])
        expected = (result[0][functions][:, functions], result[1][functions])
        found["permutation"].append(_deviation((response, density), expected))
    checks = ResponseChecks(**{name: max(values, key=_size) for name, values in found.items()})
    symmetry = _SYMMETRY_TOLERANCE[contract.dtype]
    for name, value, limit in (
        ("the network run eagerly", checks.eager, _EAGER_TOLERANCE),
        ("the response of the molecule turned", checks.rotation, symmetry),
        ("the response of the molecule with its atoms in another order", checks.permutation, symmetry),
        ("its transpose", checks.symmetry, symmetry),
        ("double precision", checks.precision, _PRECISION_TOLERANCE),
    ):
        # "not <=" so that a NaN is refused too.
        if not value <= limit:
            raise ExportError(
                f"the exported response deviates by {value:.1e} (relative) from {name}, allowed is {limit}"
            )
    return checks


def _size(value: float) -> float:
    """For a maximum in which a NaN is the largest of all."""
    return float("inf") if value != value else value


def _deviation(values: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest deviation relative to the largest expected element, of each part by itself."""
    parts = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(values, expected, strict=True)]
    return max(parts, key=_size)


def _rotation(generator: torch.Generator) -> Tensor:
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    return matrix * torch.linalg.det(matrix).sign()


def _representation(basis: AuxiliaryBasis, numbers: Tensor, turn: Tensor) -> Tensor:
    """How the auxiliary functions of a molecule transform under a rotation, with inversion or without [M,M].

    From the values of spherical harmonics at points and at the points turned: e3nn's own matrices have the digits of
    single precision only.
    """
    from e3nn import o3

    points = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    # e3nn's harmonics are those of the basis if its axes are y, z, x.
    axes = [1, 2, 0]
    blocks = []
    for number in numbers.tolist():
        for l in basis.momenta(number):
            before, after = (o3.spherical_harmonics(l, x[:, axes], True) for x in (points, points @ turn.T))
            blocks.append(torch.linalg.lstsq(before, after).solution.T)
    return torch.block_diag(*blocks)


def _reordering(contract: ResponseContract, numbers: Tensor) -> Tensor:
    """The atoms backwards, or like atoms only if the contract is for atoms in a fixed order."""
    if contract.atomic_numbers is None:
        return torch.arange(len(numbers)).flip(0)
    order = torch.arange(len(numbers))
    for number in numbers.unique():
        places = torch.nonzero(numbers == number).flatten()
        order[places] = places.flip(0)
    return order


def _functions_in_order(basis: AuxiliaryBasis, numbers: Tensor, order: Tensor) -> Tensor:
    """Where the functions of atoms in another order are in the first order [M]."""
    counts = torch.tensor([basis.functions(number) for number in numbers.tolist()])
    starts = torch.cumsum(counts, 0) - counts
    return torch.cat([torch.arange(int(starts[atom]), int(starts[atom] + counts[atom])) for atom in order])
