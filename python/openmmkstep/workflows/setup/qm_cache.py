"""The cache of QM results that a configuration asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from openmmkstep.engines.registry import names_in_python
from openmmkstep.engines.result_cache import caching
from openmmkstep.workflows.config.sections import CacheSection

from .complete_files import PreparationError


@contextmanager
def cache_of(section: CacheSection | None, method: str, log: Callable[[str], None]) -> Iterator[None]:
    """Use a cache for the engines that are made inside the block, and tell at the end what it was good for.

    Args:
        section: none for no cache.
        method: name of the engine.
        log: called with what it was good for.

    Raises:
        PreparationError: an engine that cannot use one, or a folder that cannot be made.
    """
    if section is None:
        yield
        return
    if method not in names_in_python():
        raise PreparationError(f"cache: {method} runs inside the plugin and is as fast as a cache: leave it out")
    with ExitStack() as stack:
        try:
            cache = stack.enter_context(caching(section.folder, math.ceil(section.size)))
        except OSError as error:
            raise PreparationError(
                f"cache.folder: {section.folder} is no folder and cannot be made one ({error.strerror}): name another"
            ) from error
        try:
            yield
        finally:
            log(f"{cache.hits} of {cache.hits + cache.misses} QM results came from the cache")
