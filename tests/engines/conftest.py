from tests.support.engines.spy import spy
from tests.support.packages import install
from tests.support.platforms import force_platform, platform, reference
from tests.support.signals import usual_handler

__all__ = ["force_platform", "install", "platform", "reference", "spy", "usual_handler"]
