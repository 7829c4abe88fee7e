"""Fixtures of tests that run the compiled plugin: the platforms of this machine, and data beside the project."""

from tests.support.platforms import force_platform, platform, reference
from tests.support.qmmm.fixtures import chorismate_mutase
from tests.support.signals import usual_handler

__all__ = ["chorismate_mutase", "force_platform", "platform", "reference", "usual_handler"]
