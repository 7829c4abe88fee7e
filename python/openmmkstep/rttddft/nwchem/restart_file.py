"""Density matrices that NWChem writes: ``rt_restart`` (complex) and snapshots (real part).

``rt_restart`` is text: a title, the date, ``nmats``, ``nbf_ao``, ``it``, ``t``, ``checksum``, then real and imaginary
part of each element with ten digits, row by row. A closed-shell calculation has one matrix, the total density; an
open-shell one has that of alpha and that of beta. The order of basis functions is NWChem's (see ``basis_order``).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import NWChemOutputError

TITLE = b"RT-TDDFT restart file"
"""First line of every restart file."""

_KEYS = ("nmats", "nbf_ao", "it", "t", "checksum")
_HEADER_LINES = 2 + len(_KEYS)
# Fortran drops the letter of an exponent with three digits.
_BARE_EXPONENT = re.compile(rb"(\d)([+-]\d{3})(?=\s|$)")
# Relative; ten digits of each element are written.
_CHECKSUM_TOLERANCE = 1e-7


@dataclass(frozen=True)
class DensityMatrices:
    """Complex density matrices at one time.

    Attributes:
        step: time steps done.
        time: atomic units.
        matrices: [1,n,n], the total density, of a closed shell; [2,n,n], alpha and beta, of an open shell. Order of
            basis functions as in NWChem.
    """

    step: int
    time: float
    matrices: NDArray[np.complex128]

    @property
    def total(self) -> NDArray[np.complex128]:
        """Sum over spins [n,n]."""
        return np.asarray(self.matrices.sum(axis=0))

    @property
    def spins(self) -> NDArray[np.complex128]:
        """Alpha and beta [2,n,n]; the halves of the total for a closed shell."""
        if len(self.matrices) == 2:
            return self.matrices
        return np.concatenate([0.5 * self.matrices, 0.5 * self.matrices])


def read_restart(path: str | os.PathLike[str]) -> DensityMatrices:
    """Read a file ``NAME.rt_restart``.

    Raises:
        NWChemOutputError: missing, incomplete, or not such a file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NWChemOutputError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    return parse_restart(content, os.fspath(path))


def parse_restart(content: bytes, source: str = "rt_restart") -> DensityMatrices:
    """The matrices in the content of a restart file.

    Args:
        content: of one file.
        source: what to name in errors.

    Raises:
        NWChemOutputError: incomplete, or not such a file.
    """
    lines = content.split(b"\n", _HEADER_LINES)
    if lines[0].strip() != TITLE:
        raise NWChemOutputError(f"{source}, line 1: expected {TITLE.decode()!r}, found {lines[0][:60]!r}")
    header: dict[str, float] = {}
    for offset, key in enumerate(_KEYS):
        place = f"{source}, line {offset + 3}"
        if offset + 2 >= len(lines):
            raise NWChemOutputError(f"{place}: the file ends before {key!r}: it was cut short, or is being written")
        words = lines[offset + 2].split()
        try:
            if words[0].decode() != key:
                raise ValueError
            header[key] = float(words[1])
        except (IndexError, ValueError) as error:
            found = lines[offset + 2][:60]
            raise NWChemOutputError(f"{place}: expected {key!r} and a number, found {found!r}") from error
    count, size = int(header["nmats"]), int(header["nbf_ao"])
    if count not in (1, 2) or size < 1:
        raise NWChemOutputError(f"{source}: {count} matrices of {size} basis functions make no sense")
    body = lines[_HEADER_LINES] if len(lines) > _HEADER_LINES else b""
    values = _numbers(body, source)
    expected = 2 * count * size * size
    # The last number can lose digits and still be one; NWChem ends the file with a line break.
    if len(values) != expected or not body.endswith(b"\n"):
        raise NWChemOutputError(
            f"{source}, line {_HEADER_LINES + 1}: {len(values)} numbers, expected {expected} for {count} complex "
            f"matrices of {size} basis functions: the file was cut short, or is being written"
        )
    if not np.all(np.isfinite(values)):
        raise NWChemOutputError(
            f"{source}: the density is not finite: the propagation blew up, use a smaller time step"
        )
    matrices = values.view(np.complex128).reshape(count, size, size)
    _check(matrices, header["checksum"], source)
    return DensityMatrices(int(header["it"]) - 1, header["t"], matrices)


def read_snapshot(path: str | os.PathLike[str], size: int) -> NDArray[np.float64]:
    """Read a snapshot ``NAME.ptot_ao_re.STEP``: real part of the total density in full precision.

    The number in the name is that of the step, beginning with 1 for t = 0.

    Args:
        path: of the file.
        size: number of basis functions.

    Returns:
        [size,size], order of basis functions as in NWChem.

    Raises:
        NWChemOutputError: missing, incomplete, or for another number of basis functions.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NWChemOutputError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    columns = []
    place = 0
    # Records of unformatted Fortran output: length, content, length.
    while place + 4 <= len(content):
        length = int.from_bytes(content[place : place + 4], "little")
        record = content[place + 4 : place + 4 + length]
        if content[place + 4 + length : place + 8 + length] != content[place : place + 4]:
            raise NWChemOutputError(
                f"{os.fspath(path)}: the record at byte {place} is incomplete: the file was cut short"
            )
        columns.append(record)
        place += 8 + length
    # The matrix is the last thing in the file, a record for each column.
    matrix = [record for record in columns[-size:] if len(record) == 8 * size]
    if len(matrix) != size:
        raise NWChemOutputError(
            f"{os.fspath(path)}: no matrix of {size} basis functions in it: check the number of basis functions"
        )
    return np.array([np.frombuffer(record, "<f8") for record in matrix])


def _numbers(text: bytes, source: str) -> NDArray[np.float64]:
    words = text.split()
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        repaired = _BARE_EXPONENT.sub(rb"\1E\2", text).split()
    try:
        return np.array(repaired, dtype=np.float64)
    except ValueError as error:
        raise NWChemOutputError(f"{source}, line {_HEADER_LINES + 1}: not a list of numbers ({error})") from error


def _check(matrices: NDArray[np.complex128], checksum: float, source: str) -> None:
    """NWChem's own sum, which tells a damaged file from a sound one."""
    magnitudes = np.abs(matrices.real)
    # The norms are those of the Global Arrays library, whose versions differ in what they call by these names.
    elements = sum(1.67 * m.sum() + 0.12 * np.sqrt(m.max()) for m in magnitudes)
    columns = sum(1.67 * m.sum(axis=0).max() + 0.12 * np.sqrt(m.sum(axis=1).max()) for m in magnitudes)
    tolerance = _CHECKSUM_TOLERANCE * max(1.0, abs(checksum))
    if min(abs(elements - checksum), abs(columns - checksum)) > tolerance:
        raise NWChemOutputError(
            f"{source}: the checksum of the density is {elements:.9g}, the file says {checksum:.9g}: "
            "the file is damaged"
        )
