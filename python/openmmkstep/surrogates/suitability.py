"""The contract inside a surrogate's archive, read without loading torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any


class SurrogateError(ValueError):
    """An archive that cannot serve as surrogate."""


def read_surrogate_contract(path: Path) -> dict[str, Any]:
    """The contract of an exported potential.

    The archive is a zip file written by torch.jit.save with ``contract.json`` among its extra files. The plugin checks
    everything again when it loads the network; this is the cheap check before any expensive work.

    Raises:
        SurrogateError: no file, no archive, no contract, or one of another kind or version.
    """
    if not path.is_file():
        raise SurrogateError(f"the surrogate {path} does not exist: check the path, or make it with `kstep export`")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/extra/contract.json")]
            if not names:
                raise SurrogateError(f"{path} has no contract: export the network with `kstep export`")
            contract = json.loads(archive.read(names[0]))
    except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SurrogateError(f"{path} is not an archive of `kstep export`, or is damaged: {error}") from error
    if not isinstance(contract, dict) or contract.get("contract") != "kstep-model":
        raise SurrogateError(f"the contract in {path} is not that of a kstep model: export it with `kstep export`")
    if contract.get("version") != 1:
        raise SurrogateError(
            f"{path} has contract version {contract.get('version')}, this program reads version 1: export it again"
        )
    if contract.get("kind") != "potential":
        raise SurrogateError(f"{path} is a {contract.get('kind')!r}, a surrogate must be a potential")
    missing = [key for key in ("elements", "inputs", "outputs") if key not in contract]
    if missing:
        raise SurrogateError(f"the contract in {path} lacks {', '.join(missing)}: export it again")
    return contract
