"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from kstep_models.provenance import software_versions

PACKAGES = ("openmm-kstep", "openmm", "torch", "xtb", "numpy")
"""Packages that QM/MM dynamics and its labels depend on."""


def machine_info() -> dict[str, Any]:
    """Processor, cores, load, operating system, Python and package versions; JSON values."""
    try:
        load: list[float] | None = [round(value, 2) for value in os.getloadavg()]
    except OSError:
        load = None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": load,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": software_versions(PACKAGES),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
