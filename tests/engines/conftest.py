from tests.support.engines.spy import spy
from tests.support.packages import install
from tests.support.platforms import force_platform, platform, reference

__all__ = ["force_platform", "install", "platform", "reference", "spy"]
