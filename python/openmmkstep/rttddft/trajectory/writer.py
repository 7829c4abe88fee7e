"""Writing trajectories so that a run can be killed at any moment and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kstep_models.files import replaced_atomically
from kstep_models.hdf5 import PATIENCE, open_patiently
from kstep_models.hdf5_changes import changed, created
from openmmkstep.rttddft.errors import TrajectoryError
from openmmkstep.rttddft.propagation.propagators import GUESS_POINTS, State

from .reader import TrajectoryFile
from .schema import (
    ACCURACY_DESCRIPTION,
    BASIS_FIELDS,
    CONVENTIONS,
    SCHEMA,
    SERIES,
    SPIN_CONVENTIONS,
    Frame,
    TrajectoryHeader,
    densities_up_to,
)

# Rows that are copied at once.
_ROWS = 256


class TrajectoryWriter:
    """Appends frames to a file, with the state that the next step depends on.

    Frames are collected in memory and reach the disk with :meth:`flush`.

    Args:
        path: of a file that :meth:`create` made.
        frames: complete frames in it.
        density_interval: as in its header.
        earlier_error: estimate of the dipole's error for those frames, where there is one.

    Attributes:
        estimated_error: the same for the frames that are appended; goes to the file with them, the larger of both.
    """

    def __init__(self, path: Path, frames: int, density_interval: int, earlier_error: float | None = None) -> None:
        self.path = path
        self.estimated_error: float | None = None
        self._earlier_error = earlier_error
        self._density_interval = density_interval
        self._written = frames
        self._pending: list[Frame] = []

    @property
    def pending(self) -> int:
        """Frames that are not on disk yet."""
        return len(self._pending)

    @classmethod
    def create(cls, path: Path, header: TrajectoryHeader, start: State, first: Frame) -> TrajectoryWriter:
        """Start a file with its first frame.

        Args:
            path: must not exist yet; its folder must.
            header: what all frames have in common.
            start: state of the first frame.
            first: the frame.

        Raises:
            TrajectoryError: the file exists, or its folder does not.
        """
        refuse_existing(path)
        # Under another name first, so that a file with the right name can always be continued. Room for all steps is
        # reserved now: a run does not have to find it half-way.
        with replaced_atomically(path) as partial:
            with created(partial) as file:
                _write_header(file, header)
                _create_dynamics(file, header)
                _create_restart(file, header, start)
                if header.promised_error is not None:
                    _create_accuracy(file, header.promised_error)
                _allocate(file, "progress", (2,), "<i8")[:] = (0, 0)
            writer = cls(partial, 0, header.density_interval)
            writer.append(first)
            writer.close(start)
        writer.path = path
        return writer

    @staticmethod
    def extend(path: Path, steps: int) -> None:
        """Make room for more steps than a file was planned for, by copying it."""
        with replaced_atomically(path) as partial, open_patiently(path) as old:
            frames, interval = int(old["progress"][0]), int(old.attrs["density_interval"])
            kept = {True: densities_up_to(frames, interval), False: frames}
            sizes = {True: densities_up_to(steps + 1, interval), False: steps + 1}
            with created(partial) as new:
                for name, value in old.attrs.items():
                    new.attrs[name] = value
                new.attrs["n_steps"] = steps
                for name in old:
                    if name != "dynamics":
                        old.copy(name, new)
                group = new.create_group("dynamics")
                for name, data in old["dynamics"].items():
                    _allocate(group, name, (sizes[name.startswith("density")], *data.shape[1:]), data.dtype)
            for name, data in old["dynamics"].items():
                last = kept[name.startswith("density")]
                for row in range(0, last, _ROWS):
                    part = slice(row, min(row + _ROWS, last))
                    with changed(partial) as new:
                        new["dynamics"][name][part] = data[part]

    def append(self, frame: Frame) -> None:
        """Take one frame.

        Raises:
            TrajectoryError: a value is not finite.
        """
        values = [frame.energy, *frame.field, *frame.dipole]
        if not np.all(np.isfinite(values)):
            raise TrajectoryError(f"frame {self._written + len(self._pending)} has values that are not finite")
        self._pending.append(frame)

    def flush(self, state: State, patience: float = 0.0) -> bool:
        """Write the collected frames, the last of which must be that of ``state``.

        Args:
            state: to continue from.
            patience: how long to wait for a program that reads the file, seconds.

        Returns:
            Whether it was done; false where a reader was in the way. Nothing is lost then, call it again later.

        Raises:
            OSError: there is no room; the frames are kept, and the file is as it was.
        """
        if not self._pending:
            return True
        start, stop = self._written, self._written + len(self._pending)
        if state.step != stop - 1:
            raise TrajectoryError(f"the state of step {state.step} does not belong to frame {stop - 1}")
        try:
            with changed(self.path, patience) as file:
                slot = 1 - int(file["progress"][1])
                self._write_frames(file["dynamics"], start, stop)
                _write_state(file["restart"], slot, state)
                errors = [error for error in (self._earlier_error, self.estimated_error) if error is not None]
                if errors and "accuracy" in file:
                    file["accuracy/estimated_dipole_error"][()] = max(errors)
                file["progress"][:] = (stop, slot)
        except BlockingIOError:
            return False
        self._written = stop
        self._pending.clear()
        return True

    def close(self, state: State) -> None:
        """Write what is left; the writer must not be used afterwards.

        Raises:
            TrajectoryError: someone kept the file open for a minute, so the last frames could not be written.
        """
        if not self.flush(state, PATIENCE):
            raise TrajectoryError(
                f"{self.path} is kept open by another program: {len(self._pending)} frames could not be written. "
                "Close whatever reads it, and continue the run"
            )

    def _write_frames(self, group: h5py.Group, start: int, stop: int) -> None:
        columns = {
            "time": [frame.time for frame in self._pending],
            "field": [frame.field for frame in self._pending],
            "energy": [frame.energy for frame in self._pending],
            "dipole": [frame.dipole for frame in self._pending],
            "fock_builds": [frame.fock_builds for frame in self._pending],
        }
        for name, values in columns.items():
            group[name][start:stop] = np.array(values)
        if self._density_interval == 0:
            return
        first, last = densities_up_to(start, self._density_interval), densities_up_to(stop, self._density_interval)
        deviations = [frame.deviation for frame in self._pending if frame.deviation is not None]
        if len(deviations) != last - first:
            raise TrajectoryError(f"{len(deviations)} densities came with the frames, expected {last - first}")
        if deviations:
            stacked = np.stack(deviations).reshape(-1, *group["density_real"].shape[1:])
            group["density_real"][first:last] = stacked.real
            group["density_imag"][first:last] = stacked.imag
            group["density_step"][first:last] = self._density_interval * np.arange(first, last)


def refuse_existing(path: Path) -> None:
    """Raise TrajectoryError where a new trajectory cannot be written."""
    if not path.parent.is_dir():
        raise TrajectoryError(f"{path.parent} is not a folder: create it before writing {path.name}")
    if path.exists():
        raise TrajectoryError(f"{path} exists already: pass resume=True to continue it, or remove it")


def read_state(path: Path) -> State:
    """The state to continue from.

    Raises:
        TrajectoryError: the file is no trajectory, or has no frame yet.
    """
    with TrajectoryFile(path) as trajectory:
        frames, time_step = len(trajectory), trajectory.time_step
    if frames == 0:
        raise TrajectoryError(f"{path} has no frame to continue from: remove it and start anew")
    with open_patiently(path) as file:
        try:
            slot = int(file["progress"][1])
            group = file["restart"]
            orbitals = tuple(
                part[:, :count] for part, count in zip(group["orbitals"][slot], group["occupied"][:], strict=True)
            )
            history = tuple(group["history"][slot, : int(group["history_length"][slot])])
            step, energy = int(group["step"][slot]), float(group["energy"][slot])
        except (KeyError, ValueError, IndexError) as error:
            raise TrajectoryError(f"{path} cannot be continued, its restart data are damaged ({error})") from error
    if step != frames - 1:
        raise TrajectoryError(f"{path} is damaged: its restart data belong to step {step}, not {frames - 1}")
    return State(step, step * time_step, orbitals, history, energy)


def _write_header(file: h5py.File, header: TrajectoryHeader) -> None:
    molecule = header.molecule
    attributes: dict[str, Any] = {
        "molecule": molecule.name,
        "n_atoms": len(molecule.numbers),
        "n_electrons": molecule.electrons,
        "n_basis": header.size,
        "n_spin": header.spins,
        "n_steps": header.steps,
        "dt": header.time_step,
        "charge": molecule.charge,
        "multiplicity": molecule.multiplicity,
        "method": header.level["method"],
        "basis": header.level["basis"],
        "functional": header.level["functional"],
        "ground_state_energy": header.ground_energy,
        "density_interval": header.density_interval,
        "level_of_theory": json.dumps(dict(header.level)),
        "propagator": json.dumps(dict(header.propagator)),
        "kick": json.dumps(None if header.kick is None else dict(header.kick)),
        "field": json.dumps(dict(header.field)),
        "software": json.dumps(dict(header.software)),
        "spin_convention": SPIN_CONVENTIONS[header.spins],
        **CONVENTIONS,
    }
    SCHEMA.write_head(file)
    for name, value in attributes.items():
        file.attrs[name] = value
    file["geometry/positions"] = molecule.positions
    file["geometry/atomic_numbers"] = molecule.numbers
    for stored, name in BASIS_FIELDS.items():
        file[f"basis/{stored}"] = getattr(header.basis, name)
    file["matrices/overlap"] = header.overlap
    file["matrices/core_hamiltonian"] = header.core
    file["matrices/position"] = header.position
    file["matrices/ground_state_density"] = header.ground_density if header.spins == 2 else header.ground_density[0]


def _create_dynamics(file: h5py.File, header: TrajectoryHeader) -> None:
    group = file.create_group("dynamics")
    for name, shape in SERIES.items():
        _allocate(group, name, (header.steps + 1, *shape), "<i8" if name == "fock_builds" else "<f8")
    matrix = (header.size, header.size) if header.spins == 1 else (2, header.size, header.size)
    _allocate(group, "density_step", (header.stored_densities,), "<i8")
    for name in ("density_real", "density_imag"):
        _allocate(group, name, (header.stored_densities, *matrix), "<f8")


def _create_accuracy(file: h5py.File, promised: float) -> None:
    group = file.create_group("accuracy")
    group.attrs["description"] = ACCURACY_DESCRIPTION
    group["estimated_dipole_error"], group["promised_dipole_error"] = np.nan, promised


def _create_restart(file: h5py.File, header: TrajectoryHeader, start: State) -> None:
    group = file.create_group("restart")
    group["occupied"] = np.array([part.shape[1] for part in start.orbitals])
    widest = max(part.shape[1] for part in start.orbitals)
    _allocate(group, "orbitals", (2, header.spins, header.size, widest), np.complex128)
    # Real where the method has no exact exchange: stays real, so that a continued run does the same arithmetic.
    shape = (2, GUESS_POINTS, header.spins, header.size, header.size)
    _allocate(group, "history", shape, start.history[-1].dtype)
    for name, kind in (("history_length", "<i8"), ("step", "<i8"), ("energy", "<f8")):
        _allocate(group, name, (2,), kind)


def _write_state(group: h5py.Group, slot: int, state: State) -> None:
    for spin, part in enumerate(state.orbitals):
        group["orbitals"][slot, spin, :, : part.shape[1]] = part
    group["history"][slot, : len(state.history)] = np.stack(state.history)
    group["history_length"][slot] = len(state.history)
    group["step"][slot] = state.step
    group["energy"][slot] = state.energy


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...], kind: Any) -> h5py.Dataset:
    """A dataset in one piece that has its place in the file at once, without writing zeros to it."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    stored = h5py.h5t.py_create(np.dtype(kind), logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), stored, space, properties))
