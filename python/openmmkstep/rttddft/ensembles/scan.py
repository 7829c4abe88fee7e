"""Absorption of many geometries, whoever computes them and however often the run is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from openmmkstep.rttddft.observables.absorption import Absorption, AbsorptionSettings, Geometry, absorption

from .saved_absorptions import SavedAbsorptions
from .threads import one_thread
from .workers import GeometryWorkers, InProcess


def absorptions(
    geometries: Mapping[int, Geometry],
    settings: AbsorptionSettings,
    log: Callable[[int], None] = lambda done: None,
    workers: GeometryWorkers | None = None,
    saved: SavedAbsorptions | None = None,
) -> dict[int, Absorption]:
    """The absorption of many geometries.

    Several geometries are computed with one thread each, because sums over several threads may round differently: the
    numbers are the same whoever computes them. One geometry alone may use as many threads as the libraries like.

    Args:
        geometries: by their numbers, which errors name.
        settings: common to all.
        log: called with the number of finished geometries, at the beginning and as each is done.
        workers: None for this process.
        saved: takes each result as it is done, and gives those of an earlier run; None keeps nothing.

    Returns:
        By their numbers, in the order of the geometries.

    Raises:
        See :func:`.absorption.absorption` and :meth:`.GeometryWorkers.results`; finished results are in ``saved``.
    """
    finished = {} if saved is None else saved.load(geometries)
    log(len(finished))
    task = partial(absorption if len(geometries) == 1 else _with_one_thread, settings=settings)
    missing = {number: geometry for number, geometry in geometries.items() if number not in finished}
    for number, result in (workers or InProcess()).results(task, missing):
        finished[number] = result
        if saved is not None:
            saved.save(geometries[number], result)
        log(len(finished))
    return {number: finished[number] for number in geometries}


def _with_one_thread(geometry: Geometry, settings: AbsorptionSettings) -> Absorption:
    with one_thread():
        return absorption(geometry, settings)
