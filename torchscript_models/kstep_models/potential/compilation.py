"""Archives compiled ahead of time for the machine at hand (AOTInductor), to be evaluated by the plugin.

A compiled package computes what the archive's interpreted module computes, to round-off, in about half the time for
some tens of atoms: its elementwise operations are fused into loops and nothing is interpreted. It is native code for
one version of torch, one kind of processor and one number of atoms, and takes about half a minute to make, with a C++
compiler. So it is made where it is used and kept in a folder of the user.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from kstep_models.files import replaced_atomically

# Of the way packages are made, so that those of an earlier way are not taken for current ones.
_RECIPE = 1
_TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


class CompilationError(ValueError):
    """An archive that cannot be compiled here."""


def find_compiler() -> str | None:
    """The C++ compiler that would be used, or None if there is none."""
    return os.environ.get("CXX") or next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)


def cache_folder() -> Path:
    """Where packages are kept: $KSTEP_CACHE, or a folder in the user's cache."""
    if own := os.environ.get("KSTEP_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmm-kstep"


def cached_package(archive: str | os.PathLike[str], atoms: int) -> Path:
    """Where the package of an archive is, or would be, in the cache.

    The name depends on the archive's content, the number of atoms, the version of torch and the processor.
    """
    digest = hashlib.sha256(Path(archive).read_bytes())
    for part in (_RECIPE, atoms, metadata.version("torch"), _processor()):
        digest.update(f"|{part}".encode())
    return cache_folder() / f"{Path(archive).stem}-{digest.hexdigest()[:20]}.pt2"


def compile_archive(archive: str | os.PathLike[str], atoms: int, package: str | os.PathLike[str]) -> float:
    """Compile an archive into a package, and check it against the archive before it is put in place.

    Args:
        archive: written by ``kstep export``, or any with a contract of kind "potential".
        atoms: how many atoms the package is for.
        package: file to write, ``*.pt2``; atomically.

    Returns:
        the largest deviation of a force from the archive's, relative to the largest force.

    Raises:
        ContractError: see :func:`kstep_models.potential.export.load`, or the archive is for another number of atoms.
        CompilationError: no compiler, the compilation failed, or the package deviates.
    """
    from kstep_models.contract import ContractError
    from kstep_models.potential.export import load

    target = Path(package)
    module, contract = load(archive)
    numbers = contract.atomic_numbers
    if numbers is not None and len(numbers) != atoms:
        raise ContractError(f"{archive} is for a molecule of {len(numbers)} atoms, not {atoms}")
    if find_compiler() is None:
        raise CompilationError("there is no C++ compiler: install g++ or clang++, or set CXX to one")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replaced_atomically(target) as partial, warnings.catch_warnings():
        # TorchScript is the archive's format; its deprecation is known.
        warnings.simplefilter("ignore")
        try:
            deviation = _compile(module, contract.inputs, contract.outputs, atoms, partial)
        except Exception as error:
            raise CompilationError(f"{archive} could not be compiled: {_first_line(error)}") from error
        limit = _TOLERANCE[contract.dtype]
        # "not <=" so that a NaN is refused too.
        if not deviation <= limit:
            raise CompilationError(
                f"forces of the compiled {archive} deviate by {deviation:.1e} (relative), allowed is {limit:.0e}"
            )
    return deviation


def _compile(module: Any, inputs: tuple[str, ...], outputs: tuple[str, ...], atoms: int, package: Path) -> float:
    """Write the package; returns its deviation from the module."""
    import torch
    from torch import Tensor
    from torch._inductor import aoti_compile_and_package, aoti_load_package
    from torch._inductor.utils import fresh_cache
    from torch.fx.experimental.proxy_tensor import make_fx

    def evaluate(*arguments: Tensor) -> tuple[Tensor, ...]:
        return tuple(value.detach() for value in module(*arguments)[: len(outputs)])

    generator = torch.Generator().manual_seed(1)
    # Bond-like distances along a random walk: no atoms on top of each other.
    example = [torch.randn(atoms, 3, dtype=torch.float64, generator=generator).mul_(0.1).cumsum(0)]
    if "potential" in inputs:
        example.append(100 * torch.randn(atoms, dtype=torch.float64, generator=generator))
    with torch.jit.optimized_execution(False), torch.enable_grad():
        # Traced below autograd: what is recorded are the operations of the forces, too.
        graph = make_fx(evaluate)(*example)
    settings = {
        # Otherwise the number of threads at compile time is built into every loop.
        "cpp.threads": 1,
        "compile_threads": 1,
        # Intermediates are stored early; recomputing them inside the loops of a matrix product took a quarter longer.
        "realize_opcount_threshold": 3,
    }
    with torch.no_grad(), fresh_cache():
        aoti_compile_and_package(
            torch.export.export(graph, tuple(example)), package_path=str(package), inductor_configs=settings
        )
        compiled = aoti_load_package(str(package))(*example)
    expected = evaluate(*example)
    return float((compiled[1] - expected[1]).abs().max() / expected[1].abs().max())


def _processor() -> str:
    """What native code may depend on: the processor's instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return f"{platform.machine()} {platform.processor()}"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
