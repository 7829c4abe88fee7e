"""Archives of every kind: how they are written and read.

An archive is a TorchScript file with the contract beside the module.
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch

from kstep_models.contract import ENTRY, Contract, ContractError, read_contract
from kstep_models.files import write_atomically

DTYPES = {"float32": torch.float32, "float64": torch.float64}


Kind = TypeVar("Kind", bound=Contract)


class ExportError(RuntimeError):
    """The exported module does not compute what the model does; nothing was written."""


def without_source_positions(archive: bytes) -> bytes:
    """The archive without the records that say from which source lines it was scripted.

    They are of use only beside that very source tree, and carry the paths of the machine that wrote the archive.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))
    return result.getvalue()


def check_target(path: str | os.PathLike[str], dtype: str = "float32") -> None:
    """Refuse a place where no archive can be written, and an unknown precision, before expensive work.

    Raises:
        ExportError: the folder does not exist, or the precision is not one of :data:`DTYPES`.
    """
    if dtype not in DTYPES:
        raise ExportError(f"dtype must be {' or '.join(DTYPES)}, got {dtype!r}")
    if not Path(path).parent.is_dir():
        raise ExportError(f"{Path(path).parent} is not a folder: create it before exporting")


def write_archive(module: Any, contract: Contract, path: str | os.PathLike[str]) -> None:
    """Write a scripted module with its contract, atomically.

    Raises:
        ExportError: the folder does not exist.
        OSError: the file cannot be written, because the disk is full for example.
    """
    check_target(path)
    archive = io.BytesIO()
    torch.jit.save(module, archive, _extra_files={ENTRY: contract.to_json()})
    write_atomically(path, without_source_positions(archive.getvalue()))


def load_archive(path: str | os.PathLike[str], kind: type[Kind]) -> tuple[Any, Kind]:
    """The module of an archive, on the CPU, and its contract.

    Args:
        path: of the archive.
        kind: the class of contract that it must have.

    Raises:
        ContractError: see :func:`kstep_models.contract.read_contract`; or another kind, or damaged.
    """
    contract = read_contract(path)
    if not isinstance(contract, kind):
        raise ContractError(f"{path} is a model of kind {contract.kind!r}, needed is one of kind {kind.kind!r}")
    with warnings.catch_warnings():
        # TorchScript is the format the contract prescribes; its deprecation is known.
        warnings.simplefilter("ignore")
        try:
            module = torch.jit.load(str(path), map_location="cpu")
        except RuntimeError as error:
            raise ContractError(f"{path} cannot be loaded by torch {torch.__version__}: {error}") from error
    return module, contract
