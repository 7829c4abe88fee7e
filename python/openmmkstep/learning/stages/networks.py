"""A network beside the fits: trained on the same labels while the dynamics goes on, and a candidate when it is done."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from kstep_models.frames import FrameFile, FrameWriter
from kstep_models.potential.export import load
from kstep_models.regression.fitting import held_out
from kstep_models.regression.labels import LabelFiles, Labels
from kstep_models.units import MEV_PER_ANGSTROM

from ..books import Books
from ..networks import NetworkRecord, is_due, refuse_missing_training, under_way
from ..record import FitRecord
from ..settings import LearningSettings, NetworkSettings
from .fits import SIMILAR, chosen_labels, label_files
from .network_process import NetworkProcess, check_training

# For watching the training; what decides is held out of both.
_WATCHED_EVERY = 20
_WAITING = 0.5
_TEST = "test.h5"


class Networks:
    """Trains networks, one at a time, as `kstep train` does.

    A network learns what a fit learns, the whole difference: what a kernel leaves at its own labels tells nothing of
    what it leaves elsewhere. It is compared on the labels that the fit holds out, on which it is not trained.

    Args:
        settings: What is aimed at.
        books: Where the labels are, and where it is recorded.
    """

    def __init__(self, settings: LearningSettings, books: Books) -> None:
        self._settings = settings
        self._books = books
        self._process: NetworkProcess | None = None
        self._since = 0.0
        books.beside = self.doing

    def refuse_what_fails(self) -> None:
        """Make sure, at the beginning, that a network can be trained. Raises LearningError."""
        refuse_missing_training(self._settings)
        network = self._settings.network
        if network is not None and not self._books.record.networks:
            path = self._books.folder / "network.yaml"
            _write_configuration(path, network, ["train"], self._settings.seed)
            try:
                check_training(path)
            finally:
                path.unlink()

    def doing(self) -> str:
        """What is being done beside all else, for progress; empty for nothing."""
        network = under_way(self._books.record.networks)
        if network is None or self._process is None:
            return ""
        return f"a network of {network.labels} labels is being trained ({time.monotonic() - self._since:.0f} s)"

    def go_on(self) -> None:
        """Start what is due after a fit, or take up what an interruption ended."""
        record = self._books.record
        network = under_way(record.networks)
        last = record.fits[-1] if record.fits else None
        if network is not None and self._settings.network is None:
            network.state, network.reason = "failed", "no network is wanted any more"
            self._books.save()
        elif network is not None:
            self._launch()
        elif last is None or last.parts == "network" or last.labels != record.all_labels:
            return
        elif is_due(record.networks, record.all_labels, self._settings):
            self._begin()

    def collect(self) -> bool:
        """Make a fit of a network that has been trained, if it is worth trying; true if the record is another then."""
        books, record = self._books, self._books.record
        network = under_way(record.networks)
        if network is None or self._process is None or self._process.is_running:
            return False
        failure = self._process.failure()
        self._process = None
        number = len(record.networks)
        if failure:
            network.state, network.reason = "failed", failure
            books.log(f"network {number} cannot be trained: {failure}")
            return True
        network.state = "trained"
        network.seconds = json.loads((self._folder / "done.json").read_text(encoding="utf-8"))["seconds"]
        labels = LabelFiles.read([self._folder / _TEST]).labels
        network.error = _force_error(self._archive, labels)
        size = MEV_PER_ANGSTROM * float(np.sqrt(np.mean(labels.forces**2)))
        # Since it began there may have been fits to more labels.
        there = {network.against: _error(record.fits, network.against)}
        latest = max(place for place, fit in enumerate(record.fits, 1) if fit.parts != "network" and not fit.instead_of)
        there[latest] = _error(record.fits, latest)
        best = min(there, key=lambda place: there[place])
        told = f"network {number}: {network.used} labels, {network.error:.1f} of {size:.0f} meV/A, fit {best} has "
        books.log(f"{told}{there[best]:.1f}; {network.seconds:.0f} s")
        if not network.error <= SIMILAR * there[best]:
            network.reason = f"its error is more than {SIMILAR:g} times that of fit {best}"
            return True
        network.fit = len(record.fits) + 1
        instead_of = latest if network.error > there[best] else 0
        errors = {"network": network.error}
        name = self._archive.name
        record.fits.append(FitRecord(network.labels, network.used, "network", errors, size, name, instead_of))
        return True

    def wait(self) -> None:
        """Wait until the training has ended."""
        if self._process is None:
            self._launch()
        while self._process is not None and self._process.is_running:
            self._books.progress("waiting for the network")
            time.sleep(_WAITING)

    def stop(self) -> None:
        """End the training that is under way, which is taken up again by whoever goes on with this folder."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def _folder(self) -> Path:
        return self._books.folder / f"network-{len(self._books.record.networks)}"

    @property
    def _archive(self) -> Path:
        return self._books.folder / f"network-{len(self._books.record.networks)}.pt"

    def _launch(self) -> None:
        if self._process is None:
            self._process = NetworkProcess(self._folder, self._archive)
            self._since = time.monotonic()

    def _begin(self) -> None:
        books, record, settings = self._books, self._books.record, self._settings
        network = settings.network
        if network is None:
            return
        files = label_files(books)
        labels = LabelFiles.read(files).labels
        chosen = chosen_labels(settings, labels)
        tested = np.sort(chosen[held_out(len(chosen))])
        others = np.setdiff1d(np.arange(len(labels)), tested)
        watched = others[_WATCHED_EVERY // 2 :: _WATCHED_EVERY]
        against = record.fits[-1].instead_of or len(record.fits)
        record.networks.append(NetworkRecord(len(labels), len(others), against))
        # What an interruption may have left, before it was recorded.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        parts = {"train": np.setdiff1d(others, watched), "validation": watched, "test": tested}
        for use, places in parts.items():
            _copy(files, places, self._folder / f"{use}.h5")
        _write_configuration(self._folder / "train.yaml", network, list(parts), settings.seed)
        books.save()
        books.log(f"network {len(record.networks)}: training on {len(others)} labels beside what goes on")
        self._launch()


def _write_configuration(path: Path, network: NetworkSettings, uses: Sequence[str], seed: int) -> None:
    """A file for `kstep train`, whose folder has a file of frames for each use."""
    schedule = {"max_time": network.max_time, "max_steps": network.max_steps, "validate_every": network.validate_every}
    content: dict[str, Any] = {
        "method": "potential",
        "data": {"files": [{"path": f"{use}.h5", "use": use} for use in uses]},
        "output": "training",
        "schedule": {name: value for name, value in schedule.items() if value is not None},
        "seed": seed,
        "threads": 1,
        "compile": network.compile,
    }
    content |= {name: dict(getattr(network, name)) for name in ("model", "loss", "optimizer") if getattr(network, name)}
    if network.start_from is not None:
        content["start_from"] = str(Path(network.start_from).absolute())
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def _copy(files: Sequence[Path], places: NDArray[np.int64], target: Path) -> None:
    """Some frames of files that are counted through, in order."""
    start = 0
    writer: FrameWriter | None = None
    for path in files:
        with FrameFile(path) as file:
            if writer is None:
                writer = FrameWriter(target, file.region, file.has_environment)
            for place in places[(places >= start) & (places < start + len(file))]:
                writer.append(file.frame(int(place) - start))
            start += len(file)
    if writer is not None:
        writer.close()


def _force_error(archive: Path, labels: Labels) -> float:
    """Root mean square error of an archive's forces on labels, per coordinate, meV/A."""
    module, _ = load(archive)
    squares = []
    for place, positions in enumerate(labels.positions):
        around = labels.surroundings[place] if labels.surroundings else None
        potential = None if around is None else torch.as_tensor(around.potential)
        with torch.no_grad():
            _, forces, charges = module(torch.as_tensor(positions), potential)
        predicted = forces.numpy()
        if around is not None:
            predicted = predicted - charges.numpy()[:, None] * around.gradient
        squares.append(np.mean((predicted - labels.forces[place]) ** 2))
    return MEV_PER_ANGSTROM * float(np.sqrt(np.mean(squares)))


def _error(fits: Sequence[FitRecord], number: int) -> float:
    fit = fits[number - 1]
    return float(fit.errors[fit.parts])
