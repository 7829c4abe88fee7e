"""Archives of response networks: refused early where they cannot serve, loaded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from kstep_models.contract import Contract, ContractError, read_contract
from kstep_models.rttddft.contract import ResponseContract
from kstep_models.rttddft.export import load_response
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule

# Loading takes seconds, a call hundredths of one; more than a response and an initial guess are hardly ever in use.
_KEPT_ARCHIVES = 4


@dataclass(frozen=True)
class ArchiveUse:
    """What an archive is used for, in the words of error messages.

    Attributes:
        setting: that names the archive.
        purpose: such as "a response".
        missing: what a name that is no file's is, such as "is not a file".
        otherwise: what to do without an archive.
    """

    setting: str
    purpose: str
    missing: str
    otherwise: str

    def contract(self, source: str) -> Contract:
        """The contract of an archive of kind "fxc"; cheap.

        Raises:
            ElectronDynamicsError: no such file, no archive, or one of another kind.
        """
        if not Path(source).is_file():
            raise ElectronDynamicsError(f"{self.setting} {source!r} {self.missing}: export a model with `kstep export`")
        try:
            contract = read_contract(source)
        except (ContractError, json.JSONDecodeError) as error:
            raise ElectronDynamicsError(str(error)) from error
        if contract.kind != "fxc":
            raise ElectronDynamicsError(
                f"{source} is a model of kind {contract.kind!r}, {self.purpose} needs kind 'fxc'"
            )
        return contract

    def describe(self, source: str) -> str:
        """A name that tells one archive from another in files; errors as of :meth:`contract`."""
        return "network " + hashlib.sha256(self.contract(source).to_json().encode()).hexdigest()[:16]

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse open shells and Hartree-Fock.

        Raises:
            ElectronDynamicsError: says so.
        """
        if not level.is_kohn_sham or not level.is_restricted:
            raise ElectronDynamicsError(f"{self.purpose} needs a closed shell and a functional (rks): leave it out")

    def check(self, source: str, molecule: Molecule, level: LevelOfTheory) -> None:
        """Refuse an archive that cannot serve a molecule; cheap.

        Raises:
            ElectronDynamicsError: an open shell, another functional than the archive's, elements that it lacks, or see
                :meth:`contract`.
        """
        self.check_level(level)
        contract = self.contract(source)
        theirs = str(contract.level_of_theory.get("functional", "")).lower()
        if theirs != level.functional.lower():
            raise ElectronDynamicsError(
                f"{source} was trained for the functional {theirs}, this is {level.functional}: train another, or "
                f"{self.otherwise}"
            )
        if molecule.charge != contract.charge:
            raise ElectronDynamicsError(
                f"{source} is for neutral molecules, {molecule.name} has charge {molecule.charge}"
            )
        try:
            contract.check_atoms(molecule.numbers.tolist())
        except ContractError as error:
            raise ElectronDynamicsError(f"{source}: {error}") from error


def loaded_archive(source: str) -> tuple[Any, ResponseContract]:
    """The module of an archive, called with :func:`arguments` of a molecule, and its contract.

    Raises:
        ElectronDynamicsError: the archive cannot be used.
    """
    status = Path(source).stat()
    # A file that was replaced is another one.
    return _loaded(source, status.st_mtime_ns, status.st_size)


def arguments(molecule: Molecule) -> tuple[torch.Tensor, torch.Tensor]:
    """Atomic numbers [N] and positions [N,3], bohr."""
    return torch.as_tensor(molecule.numbers), torch.as_tensor(molecule.positions)


@contextmanager
def without_optimisation() -> Iterator[None]:
    """Without TorchScript's optimisation, which takes a minute for the first calls and pays only for thousands."""
    with torch.jit.optimized_execution(False), torch.inference_mode():
        yield


@lru_cache(maxsize=_KEPT_ARCHIVES)
def _loaded(source: str, modified: int, size: int) -> tuple[Any, ResponseContract]:
    try:
        return load_response(source)
    except ContractError as error:
        raise ElectronDynamicsError(str(error)) from error
