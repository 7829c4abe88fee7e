"""Configurations for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write_yaml(path: Path, content: dict[str, Any]) -> Path:
    """Write a configuration."""
    path.write_text(yaml.safe_dump(content))
    return path
