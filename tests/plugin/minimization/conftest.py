"""The engine of the tests of minimisation, by name."""

from __future__ import annotations

import pytest

from openmmkstep.engines import registry
from tests.support.engines.troublesome import TroubledSprings


@pytest.fixture(autouse=True)
def springs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("springs", TroubledSprings)
