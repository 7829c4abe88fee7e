"""Frames files in memory, divided by trajectories, and the stream of training batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from kstep_models.frames import FrameFile, FrameFileError, RegionDescription

USES = ("train", "validation", "test")
GAS, EMBEDDED = "gas", "embedded"


class Batch(NamedTuple):
    """Frames as the loss sees them; gas-phase frames have zero potential.

    Shapes [B,n,3] for positions (nm, centred), forces, potential_gradient; [B,n] for charges, potential; [B] for energy
    (kJ/mol, without the model's mean).
    """

    positions: Tensor
    energy: Tensor
    forces: Tensor
    charges: Tensor
    potential: Tensor
    potential_gradient: Tensor


@dataclass(frozen=True)
class FileRecord:
    """Provenance of one file: what a contract says about it, and how its trajectories were divided."""

    name: str
    path: str
    digest: str
    frames: int
    kind: str
    trajectories: Mapping[str, list[int]]


@dataclass(frozen=True)
class FrameSet:
    """All frames of some files; double precision.

    Attributes:
        region: the molecule.
        files: one record per file.
        positions [T,n,3], energy [T], forces [T,n,3], charges [T,n], potential [T,n], potential_gradient [T,n,3].
        file [T], trajectory [T], embedded [T]: where each frame comes from.
    """

    region: RegionDescription
    files: tuple[FileRecord, ...]
    positions: NDArray[np.float64]
    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    charges: NDArray[np.float64]
    potential: NDArray[np.float64]
    potential_gradient: NDArray[np.float64]
    file: NDArray[np.int64]
    trajectory: NDArray[np.int64]
    embedded: NDArray[np.bool_]

    def members(self, use: str) -> NDArray[np.int64]:
        """Indices of the frames with a use ("train", "validation", "test")."""
        chosen = np.zeros(len(self.energy), dtype=bool)
        for index, record in enumerate(self.files):
            chosen |= (self.file == index) & np.isin(self.trajectory, record.trajectories[use])
        return np.flatnonzero(chosen)

    def batch(self, index: NDArray[np.int64], energy_mean: float) -> Batch:
        """Frames as single-precision tensors; centred and without the mean energy first, to keep all digits."""
        x = self.positions[index]

        def single(array: NDArray[np.float64]) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float32)

        return Batch(
            single(x - x.mean(1, keepdims=True)),
            single(self.energy[index] - energy_mean),
            single(self.forces[index]),
            single(self.charges[index]),
            single(self.potential[index]),
            single(self.potential_gradient[index]),
        )


def load_frames(
    sources: Sequence[tuple[Path, str]], validation_fraction: float, test_fraction: float, seed: int
) -> FrameSet:
    """Read files and divide each by trajectories.

    Args:
        sources: path and use ("auto", or one of USES for the whole file) of each file.
        validation_fraction: of the trajectories of files divided automatically.
        test_fraction: likewise.
        seed: of the choice.

    Raises:
        FrameFileError: a file is unusable, of another molecule or level of theory than the first, given twice, or has
            too few trajectories to hold any out.
    """
    parts: list[dict[str, Any]] = []
    records: list[FileRecord] = []
    region: RegionDescription | None = None
    for path, use in sources:
        with FrameFile(path) as file:
            if len(file) == 0:
                raise FrameFileError(f"{path} has no frames yet: wait for `kstep generate`, or leave it out")
            if region is None:
                region = file.region
            reason = region.difference(file.region)
            if reason is not None:
                raise FrameFileError(f"{path} does not belong with {sources[0][0]}: {reason}")
            digest = file.digest()
            if any(record.digest == digest for record in records):
                raise FrameFileError(f"{path} holds the same frames as another file: give each file once")
            part = _arrays(file)
            if np.isnan(part["charges"]).any():
                raise FrameFileError(
                    f"the frames of {path} have no atomic charges, which the training needs: the QM engine does not "
                    "tell them. Fit a bonded potential instead (`kstep fit-bonded`), or take another engine"
                )
            part["file"] = np.full(len(file), len(records), dtype=np.int64)
            kind = EMBEDDED if file.has_environment else GAS
        trajectories = divide(
            part["trajectory"], part.pop("temperature"), use, validation_fraction, test_fraction, seed, str(path)
        )
        records.append(FileRecord(path.name, str(path), digest, len(part["energy"]), kind, trajectories))
        parts.append(part)
    if region is None:
        raise FrameFileError("no frames files given")
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return FrameSet(region=region, files=tuple(records), **arrays)


def divide(
    trajectory: NDArray[np.int64],
    temperature: NDArray[np.float64],
    use: str,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    name: str,
) -> dict[str, list[int]]:
    """Which trajectories train, validate and test.

    Neighbouring frames are nearly copies of each other, so frames are never divided at random. Each temperature is
    divided on its own, so that all uses see the same mixture.

    Args:
        trajectory: of each frame [T].
        temperature: of each frame [T].
        use: "auto", or the use of all trajectories.
        validation_fraction: of each temperature's trajectories.
        test_fraction: likewise.
        seed: of the choice.
        name: of the file, for errors.

    Raises:
        FrameFileError: fewer than three trajectories, so that none can be held out.
    """
    ids = np.unique(trajectory)
    if use != "auto":
        return {kind: ids.tolist() if kind == use else [] for kind in USES}
    if len(ids) < 3:
        raise FrameFileError(
            f"{name} has {len(ids)} trajectories: at least 3 are needed to hold whole ones out. "
            "Generate more trajectories, or say `use: train` and give other files for validation and test"
        )
    random = np.random.default_rng(seed)
    by_temperature: dict[float, list[int]] = {}
    for k in ids.tolist():
        by_temperature.setdefault(round(float(temperature[trajectory == k][0]), 3), []).append(k)
    # Largest strata first: they provide the one validation and one test trajectory that there must be.
    result: dict[str, list[int]] = {kind: [] for kind in USES}
    for _, members in sorted(by_temperature.items(), key=lambda item: (-len(item[1]), item[0])):
        shuffled = [members[i] for i in random.permutation(len(members))]
        count = {}
        for kind, fraction in (("validation", validation_fraction), ("test", test_fraction)):
            count[kind] = round(fraction * len(members))
            if not result[kind]:
                count[kind] = max(1, count[kind])
        if sum(count.values()) >= len(members):
            # Too small a stratum to be divided alone.
            count = dict.fromkeys(count, 0)
        start = count["validation"]
        result["validation"] += shuffled[:start]
        result["test"] += shuffled[start : start + count["test"]]
        result["train"] += shuffled[start + count["test"] :]
    if not result["test"]:
        # Every stratum was too small: hold out across temperatures.
        shuffled = [ids.tolist()[i] for i in random.permutation(len(ids))]
        result = {"validation": shuffled[:1], "test": shuffled[1:2], "train": shuffled[2:]}
    return {kind: sorted(values) for kind, values in result.items()}


class BatchStream(IterableDataset[Batch]):
    """Endless shuffled batches, cut into stretches between validations.

    The batch of a step depends on the seed and the step alone, so an interrupted run continues with the batches it
    would have had.

    Args:
        frames: all training frames.
        batch_size: frames per batch; at most as many as there are.
        stretch: batches per iteration over the stream.
        seed: of the order.
        step: tells the number of batches already used.
    """

    def __init__(self, frames: Batch, batch_size: int, stretch: int, seed: int, step: Callable[[], int]) -> None:
        super().__init__()
        self._frames = frames
        self._size = min(batch_size, len(frames.energy))
        self._stretch = stretch
        self._seed = seed
        self._step = step

    def __len__(self) -> int:
        return self._stretch

    def __iter__(self) -> Iterator[Batch]:
        per_pass = len(self._frames.energy) // self._size
        start = self._step()
        order, present = np.empty(0, np.int64), -1
        for step in range(start, start + self._stretch):
            number, position = divmod(step, per_pass)
            if number != present:
                order = np.random.default_rng((self._seed, number)).permutation(len(self._frames.energy))
                present = number
            index = torch.as_tensor(order[position * self._size : (position + 1) * self._size])
            yield Batch(*(tensor[index] for tensor in self._frames))


def _arrays(file: FrameFile) -> dict[str, Any]:
    n = len(file.region.numbers)
    names = ("positions", "energy", "forces", "charges", "trajectory", "temperature")
    part: dict[str, Any] = {name: file.frames(name) for name in names}
    embedded = file.has_environment
    part["embedded"] = np.full(len(file), embedded)
    part["potential"] = file.sites("potential") if embedded else np.zeros((len(file), n))
    part["potential_gradient"] = file.sites("potential_gradient") if embedded else np.zeros((len(file), n, 3))
    return part
