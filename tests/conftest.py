"""What all tests share.

``kstep_models`` and ``kstep_training`` work where neither OpenMM nor the plugin is installed. With
KSTEP_WITHOUT_PLUGIN=1 in the environment, pytest runs their tests alone, and imports of those packages fail as if they
were not there::

    KSTEP_WITHOUT_PLUGIN=1 pytest
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.suites", "tests.support")

from tests.support.without_plugin import block_imports  # noqa: E402

if TYPE_CHECKING:
    from kstep_models.rttddft.network import ResponseNetworkConfig

if os.environ.get("KSTEP_WITHOUT_PLUGIN"):
    block_imports("openmm", "openmmkstep")
    _kept = ("models", "training", "suites", "support", "test_architecture.py")
    collect_ignore = [entry.name for entry in Path(__file__).parent.iterdir() if entry.name not in _kept]


@pytest.fixture(scope="session")
def small_size() -> ResponseNetworkConfig:
    """Of a response network with all its parts, but few features; made in seconds."""
    from kstep_models.rttddft.network import ResponseNetworkConfig

    return ResponseNetworkConfig(
        channels=(8, 4, 4, 2, 2),
        pseudo_channels=(2, 2, 2),
        pair_channels=4,
        product_channels=2,
        rounds=1,
        radial=6,
        hidden=8,
    )
