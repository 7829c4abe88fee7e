"""Numbers that do not depend on how many threads there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openmmkstep.rttddft.errors import MissingDependencyError
from openmmkstep.rttddft.pyscf_loading import load_pyscf


@contextmanager
def one_thread() -> Iterator[None]:
    """All numerical libraries with one thread: sums over several may round differently from run to run.

    Raises:
        MissingDependencyError: PySCF or threadpoolctl is not installed.
    """
    try:
        import threadpoolctl
    except ImportError as error:
        raise MissingDependencyError(
            f"several geometries need threadpoolctl, which cannot be imported ({error}): "
            "pip install 'openmm-kstep[rttddft]'"
        ) from error
    # Its libraries must be there to be limited.
    load_pyscf()
    with threadpoolctl.threadpool_limits(1):
        yield
