"""Whether two run folders hold the same results."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_OUTPUTS = ("trajectory.dcd", "frames.h5", "statistics.csv", "energies.csv")


def assert_same_trajectory(first: Path, second: Path) -> None:
    """To the last bit, but for wall times and the date in the head of the DCD file."""
    present = [{name for name in _OUTPUTS if (folder / name).exists()} for folder in (first, second)]
    assert present[0] == present[1]
    if "trajectory.dcd" in present[0]:
        a, b = ((folder / "trajectory.dcd").read_bytes() for folder in (first, second))
        assert a[:176] == b[:176] and a[260:] == b[260:]
    if "frames.h5" in present[0]:
        with h5py.File(first / "frames.h5") as f, h5py.File(second / "frames.h5") as g:
            assert f.attrs["frames"] == g.attrs["frames"] > 0
            for name in f["frames"]:
                assert np.array_equal(f["frames"][name], g["frames"][name], equal_nan=True), name
    if "statistics.csv" in present[0]:
        rows = [list(csv.DictReader((folder / "statistics.csv").open())) for folder in (first, second)]
        assert len(rows[0]) == len(rows[1]) > 0
        for left, right in zip(*rows, strict=True):
            assert _without_times(left) == _without_times(right)
    if "energies.csv" in present[0]:
        assert (first / "energies.csv").read_bytes() == (second / "energies.csv").read_bytes()
    with np.load(first / "final.npz") as f, np.load(second / "final.npz") as g:
        assert np.array_equal(f["positions"], g["positions"]) and np.array_equal(f["velocities"], g["velocities"])


def assert_same_run(first: Path, second: Path) -> None:
    """The same trajectory and the same report, but for wall times."""
    assert_same_trajectory(first, second)
    reports = [json.loads((folder / "report" / "report.json").read_text()) for folder in (first, second)]
    for report in reports:
        for key in ("speed", "versions"):
            del report[key]
        report["dynamics"] = _without_times(report["dynamics"])
    assert reports[0] == reports[1]
    assert (second / "report" / "report.html").stat().st_size > 1000


def _without_times(values: dict[str, Any]) -> dict[str, Any]:
    def is_time(name: str) -> bool:
        # Columns such as qm_time and surrogate_time_1, but not the simulated time.
        return (re.search(r"(^|_)(wall_)?time(_s|_\d+)?$", name) is not None and name != "time") or name == "ns_per_day"

    return {name: value for name, value in values.items() if not is_time(name)}
