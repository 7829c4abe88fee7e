from tests.support.platforms import force_platform, platform, reference

__all__ = ["force_platform", "platform", "reference"]
