"""Which OpenMM and which torch would be loaded, found out without loading either.

The plugin's libraries fit one version of each. With another one found first, the dynamic loader ends the process with
"symbol lookup error", which Python cannot catch: so versions are compared before anything is loaded.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import runpy
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Where the plugin runs from a source tree; otherwise what it was built for says the installed package.
_REQUIRED = {"openmm": "8.6.1", "torch": "2.13.0"}

# Of each package: the extension module that is loaded first, the library that comes with it, and where that is.
_EXTENSIONS = {"openmm": "_openmm*.so", "torch": "_C*.so"}
_LIBRARIES = {"openmm": "libOpenMM.so", "torch": "libtorch_cpu.so"}
_FOLDERS = {"openmm": "../OpenMM.libs/lib", "torch": "lib"}
_UNKNOWN = "unknown"
_ASK_OPENMM = """
import ctypes, sys
version = ctypes.CDLL(sys.argv[1]).OpenMM_Platform_getOpenMMVersion
version.restype = ctypes.c_char_p
print(version().decode())
"""


class IncompatibleLibrariesError(ImportError):
    """Another version of OpenMM or torch would be loaded than the plugin is built for."""


@dataclass(frozen=True)
class Found:
    """A package or library that would be loaded.

    Attributes:
        name: Name of the package.
        version: "unknown" where it says nothing about that.
        path: folder of the package, or the library.
        remedy: what to do if the version is wrong.
    """

    name: str
    version: str
    path: Path
    remedy: str

    @property
    def fits(self) -> bool:
        """Whether the plugin is built for this version."""
        return self.version.split("+")[0] == required_versions()[self.name]

    @property
    def problem(self) -> str:
        """What is wrong, and what to do about it."""
        wanted = required_versions()[self.name]
        found = f"{self.version} is found first, in {self.path}{_elsewhere(self)}"
        return f"openmm-kstep is built for {self.name} {wanted}, but {found}: {self.remedy}"


def required_versions() -> dict[str, str]:
    """The versions of OpenMM and torch that the plugin is built for."""
    try:
        requirements = importlib.metadata.requires("openmm-kstep") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    pinned = (re.match(r"(openmm|torch)\s*==\s*([^\s;]+)", requirement) for requirement in requirements)
    return {**_REQUIRED, **{match.group(1): match.group(2) for match in pinned if match is not None}}


def check_libraries() -> None:
    """Compare all versions with those that the plugin is built for.

    Raises:
        IncompatibleLibrariesError: one is another; names both versions, where they are, and what to do.
    """
    problems = [found.problem for name in _REQUIRED for found in found_first(name) if not found.fits]
    if problems:
        raise IncompatibleLibrariesError("; ".join(problems))


def found_first(name: str) -> Iterator[Found]:
    """The package that Python would import, and a library that the loader would take before the package's own.

    Args:
        name: "openmm" or "torch"; nothing is found of one that is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    wanted = f"{name}=={required_versions()[name]}"
    install = f"pip install {wanted}, or build openmm-kstep anew against the version you have"
    if _elsewhere_path(name, folder) is not None:
        install = f"take {folder.parent} out of PYTHONPATH, or start Python in another folder"
    yield Found(name, _package_version(folder), folder, install)
    library = _foreign_library(name, folder)
    if library is not None:
        remedy = f"take {library.parent} out of LD_LIBRARY_PATH"
        yield Found(name, _library_version(name, library), library, remedy)


def _package_version(folder: Path) -> str:
    """What ``version.py`` of a package says; it imports nothing of the package."""
    try:
        content = runpy.run_path(str(folder / "version.py"))
    except Exception:
        # Whatever another version of the package has in that file.
        return _UNKNOWN
    return str(content.get("short_version") or content.get("__version__") or _UNKNOWN)


def _elsewhere(found: Found) -> str:
    folder = found.path if found.path.is_dir() else found.path.parent
    installed = _elsewhere_path(found.name, folder)
    if installed is None:
        return ""
    return f" ({importlib.metadata.version(found.name)} is installed in {installed})"


def _elsewhere_path(name: str, folder: Path) -> Path | None:
    """Where pip has installed a package, if that is not where Python finds it."""
    try:
        installed = Path(str(importlib.metadata.distribution(name).locate_file(name)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if not installed.is_dir() or installed.resolve() == folder.resolve() else installed


def _foreign_library(name: str, folder: Path) -> Path | None:
    """A library of the same name that the loader finds before the package's own; None if there is none."""
    own = (folder / _FOLDERS[name] / _LIBRARIES[name]).resolve()
    extensions = sorted(folder.glob(_EXTENSIONS[name]))
    if extensions and _searches_its_own_folders_first(extensions[0]):
        return None
    for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        library = Path(entry) / _LIBRARIES[name]
        if entry and library.is_file():
            return None if library.resolve() == own else library
    return None


def _library_version(name: str, library: Path) -> str:
    """The version of a library; it is loaded in a process of its own, or told from what lies beside it."""
    if name == "openmm":
        try:
            command = [sys.executable, "-c", _ASK_OPENMM, str(library)]
            asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return asked.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return _UNKNOWN
    for beside in (library.parent.parent / "build-version", library.parent / "build-version"):
        if beside.is_file():
            return beside.read_text(encoding="utf-8").strip()
    return _package_version(library.parent.parent)


def _searches_its_own_folders_first(path: Path) -> bool:
    """Whether a shared library has folders of its own (DT_RPATH) that go before LD_LIBRARY_PATH.

    Those of DT_RUNPATH come after it, and switch DT_RPATH off (ld.so(8)). Layout: elf(5), 64 bits, little-endian.
    """
    rpath, runpath, dynamic = 15, 29, 2
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":
                return False
            (table,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            for index in range(count):
                file.seek(table + index * size)
                entry = file.read(size)
                if struct.unpack_from("<I", entry)[0] == dynamic:
                    offset, length = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
                    file.seek(offset)
                    data = file.read(length)
                    tags = {tag for tag, _ in struct.iter_unpack("<qQ", data[: len(data) // 16 * 16])}
                    return rpath in tags and runpath not in tags
    except (OSError, struct.error):
        pass
    return False
