"""Build the C++ plugin with CMake and install it inside the Python package."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
PACKAGE_ROOTS = ("python", "torchscript_models", "training")


class CMakeBuild(build_ext):
    """Configure, build and install the CMake project.

    ``KSTEP_CMAKE_ARGS`` adds CMake arguments, for example to build against another torch;
    ``KSTEP_JOBS`` sets the number of parallel compilations (default: all cores).
    """

    def build_extension(self, ext: Extension) -> None:
        """Install into the build tree and, for an editable install, into the source tree too."""
        prefixes = [Path(self.get_ext_fullpath(ext.name)).parent.parent.resolve()]
        editable = self.editable_mode or self.inplace
        if editable:
            prefixes.append(ROOT / "python")
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            *("cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-DPYTHON_EXECUTABLE={sys.executable}",
            f"-DKSTEP_VERSION={self.distribution.get_version()}",
            f"-DKSTEP_ABSOLUTE_RPATH={'ON' if editable else 'OFF'}",
            *shlex.split(os.environ.get("KSTEP_CMAKE_ARGS", "")),
        ]
        jobs = os.environ.get("KSTEP_JOBS", str(os.cpu_count() or 1))
        subprocess.check_call(configure)
        subprocess.check_call(["cmake", "--build", str(build), "-j", jobs])
        for prefix in prefixes:
            subprocess.check_call(["cmake", "--install", str(build), "--prefix", str(prefix)])


packages: list[str] = []
package_dir: dict[str, str] = {}
for root in PACKAGE_ROOTS:
    found = find_packages(root)
    packages += found
    package_dir |= {name: f"{root}/{name}" for name in found if "." not in name}

setup(
    packages=packages,
    package_dir=package_dir,
    package_data={
        "openmmkstep": ["workflows/report/templates/*.html", "py.typed", "*.pyi"],
        "kstep_models": ["py.typed"],
        "kstep_training": ["py.typed"],
    },
    ext_modules=[Extension("openmmkstep._openmmkstep", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    zip_safe=False,
)
