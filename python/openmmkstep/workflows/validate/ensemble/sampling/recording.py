"""What is kept of a trajectory, and how it is sampled piece by piece."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from openmmkstep.analysis.ensemble.radial import neighbour_counts
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator

from .recorder import InnerPositions

_ARRAYS = ("velocities", "positions", "frame_velocities", "potential", "counts")


@dataclass(frozen=True)
class Interests:
    """What is looked at.

    Attributes:
        particles: of the region.
        solvent: particles to which distances are measured; empty for none.
        edges: of the shells around atoms of the region [b+1], nm.
        velocity_every: inner steps between velocities.
        frame_every: outer steps between configurations.
        discard: outer steps before the first.
    """

    particles: list[int]
    solvent: list[int]
    edges: NDArray[np.float64]
    velocity_every: int
    frame_every: int
    discard: int


@dataclass(frozen=True)
class Recording:
    """A trajectory as far as it has got.

    Attributes:
        steps: outer steps, those that were discarded included.
        velocities: of the region in the middle of drifts, at equal intervals [F,n,3], nm/ps.
        positions: of the region at the ends of outer steps [P,n,3], nm.
        frame_velocities: in the middle of the last drifts before them [P,n,3], nm/ps.
        potential: potential energies of the Hamiltonian there [P], kJ/mol.
        counts: solvent atoms in shells around the atoms there [P,n,b].
        facts: JSON values: which run it is, wall time, QM calls, fallbacks, corrections, an error that ended the run.
        checkpoint: of the Context.
    """

    steps: int
    velocities: NDArray[np.float32]
    positions: NDArray[np.float32]
    frame_velocities: NDArray[np.float32]
    potential: NDArray[np.float64]
    counts: NDArray[np.uint16]
    facts: dict[str, Any] = field(default_factory=dict)
    checkpoint: bytes = b""

    @classmethod
    def empty(cls, atoms: int, bins: int, run: Mapping[str, Any]) -> Recording:
        """Nothing yet of a run, of which some JSON values tell which it is."""
        vectors = np.zeros((0, atoms, 3), dtype=np.float32)
        counts = np.zeros((0, atoms, bins), dtype=np.uint16)
        return cls(0, vectors, vectors, vectors, np.zeros(0), counts, {"run": dict(run)})

    def to_bytes(self) -> bytes:
        """As an npz file."""
        buffer = io.BytesIO()
        head = json.dumps({"steps": self.steps, "facts": self.facts})
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(buffer, head=np.array(head), checkpoint=np.frombuffer(self.checkpoint, dtype=np.uint8), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Recording:
        """From what to_bytes() gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                arrays = {name: file[name] for name in _ARRAYS}
                return cls(head["steps"], **arrays, facts=head["facts"], checkpoint=file["checkpoint"].tobytes())
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"no recording ({error})") from error


class Sampler:
    """Goes on with a trajectory.

    Args:
        context: at the starting point.
        seen: positions at inner steps of the context.
        interests: what is recorded.
        recording: what there is; the context is put where that ended.
    """

    def __init__(
        self, context: openmm.Context, seen: InnerPositions, interests: Interests, recording: Recording
    ) -> None:
        self._context = context
        self._integrator = KStepIntegrator.cast(context.getIntegrator())
        self._seen = seen
        self._interests = interests
        self.recording = recording
        if recording.checkpoint:
            context.loadCheckpoint(recording.checkpoint)

    def advance(self, until: int, progress: Callable[[int], object]) -> None:
        """Sample up to an outer step, and make a checkpoint there.

        A run that breaks down ends, and says why in its facts: that is a result.

        Args:
            until: outer steps from the beginning.
            progress: called with the outer steps that are done.
        """
        interests, begin = self._interests, time.perf_counter()
        k, inner_step = self._integrator.getK(), self._integrator.getInnerStepSize()._value
        new: dict[str, list[Any]] = {name: [] for name in _ARRAYS}
        before, error, step = self._positions(interests.particles), None, self.recording.steps
        while step < until:
            self._seen.forget()
            try:
                self._integrator.step(1)
            except openmm.OpenMMException as exception:
                error = str(exception)
                break
            path = [before, *self._seen.last(k)]
            before = path[-1]
            step += 1
            if step > interests.discard:
                first = (step - 1) * k
                for index in range(1, k + 1):
                    if (first + index) % interests.velocity_every == 0:
                        new["velocities"].append((path[index] - path[index - 1]) / inner_step)
                if (step - interests.discard) % interests.frame_every == 0:
                    new["positions"].append(before)
                    new["frame_velocities"].append((before - path[-2]) / inner_step)
                    new["potential"].append(self._integrator.getStatistics().potentialEnergy)
                    new["counts"].append(self._counts(before))
            progress(step)
        self.recording = self._extended(new, step, error, time.perf_counter() - begin)

    def _positions(self, particles: list[int]) -> NDArray[np.float64]:
        positions = self._context.getState(positions=True).getPositions(asNumpy=True)._value
        return np.asarray(positions, dtype=np.float64)[particles]

    def _counts(self, region: NDArray[np.float64]) -> NDArray[np.int64]:
        interests = self._interests
        if not interests.solvent:
            return np.zeros((len(region), len(interests.edges) - 1), dtype=np.int64)
        box = np.array(self._context.getState().getPeriodicBoxVectors(asNumpy=True)._value)
        return neighbour_counts(region, self._positions(interests.solvent), box, interests.edges)

    def _extended(self, new: dict[str, list[Any]], steps: int, error: str | None, wall_time: float) -> Recording:
        old, statistics = self.recording, self._integrator.getStatistics()
        arrays = {}
        for name in _ARRAYS:
            present = getattr(old, name)
            added = np.array(new[name], dtype=present.dtype).reshape(len(new[name]), *present.shape[1:])
            arrays[name] = np.concatenate([present, added])
        facts = {
            **old.facts,
            "wall_time_s": old.facts.get("wall_time_s", 0.0) + wall_time,
            "qm_calls": statistics.qmCalls,
            "fallbacks": statistics.fallbacks,
            "mean_correction_rms": statistics.meanCorrectionRMS,
            "error": error,
        }
        return Recording(steps, **arrays, facts=facts, checkpoint=self._context.createCheckpoint())
