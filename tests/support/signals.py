"""Ctrl-C as scripts have it, wherever the tests run."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """That of Python, which pytest-xdist switches off; and a look at whether it is still there afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
