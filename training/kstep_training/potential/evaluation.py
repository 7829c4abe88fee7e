"""Errors of a model on frames files, per kind of data, the way the plugin will use it: through the exported graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kstep_models.contract import ContractError
from kstep_models.files import write_json
from kstep_models.frames import Environment, FrameFile, FrameFileError
from kstep_models.potential.export import compile_graph, load
from kstep_models.units import COULOMB, MEV_PER_ANGSTROM
from kstep_training.potential.checkpoint import load_checkpoint
from kstep_training.potential.data import EMBEDDED, GAS

# Environment charges within this distance (nm) of a region atom count as nearby.
NEARBY = 0.5

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class KindErrors:
    """Errors on one kind of frames; forces in meV/A, energies in kJ/mol, charges in e.

    Attributes:
        frames, trajectories: how many.
        force_rmse, force_mae: over all components on region atoms, at fixed environment charges.
        force_rmse_by_element: per element symbol's atomic number.
        force_rmse_by_temperature: per temperature of the trajectories' thermostat, K.
        force_rms: RMS of the forces themselves, for comparison.
        energy_mae, energy_rmse: of total energies.
        energy_spread_error: standard deviation of the energy error, i.e. without a constant offset.
        charge_rmse: dU/dphi against the QM charges.
        environment_force_rmse: over components on environment charges within 0.5 nm, meV/A; None in the gas phase.
        environment_force_rms: RMS of those forces themselves; None in the gas phase.
    """

    frames: int
    trajectories: int
    force_rmse: float
    force_mae: float
    force_rmse_by_element: dict[str, float]
    force_rmse_by_temperature: dict[str, float]
    force_rms: float
    energy_mae: float
    energy_rmse: float
    energy_spread_error: float
    charge_rmse: float
    environment_force_rmse: float | None = None
    environment_force_rms: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Errors per kind ("gas", "embedded") and which frames they were measured on."""

    subset: str
    kinds: dict[str, KindErrors]
    files: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _Collected:
    """Per-frame predictions and labels of one kind, in kJ/mol and nm."""

    force_error: list[FloatArray]
    force: list[FloatArray]
    energy_error: list[float]
    charge_error: list[FloatArray]
    environment_error: list[FloatArray]
    environment_force: list[FloatArray]
    temperature: list[float]
    trajectories: set[tuple[str, int]]


Model = Callable[..., Any]


def evaluate(
    model: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    subset: str = "test",
) -> Evaluation:
    """See :func:`kstep_training.evaluate`."""
    if not files:
        raise FrameFileError("no frames files given to evaluate on")
    function, numbers, held = _open(Path(model))
    collected: dict[str, _Collected] = {}
    for path in files:
        with FrameFile(path) as file:
            if file.region.numbers.tolist() != numbers:
                raise FrameFileError(f"{path} has frames of another molecule than {model} was trained for")
            kind = EMBEDDED if file.has_environment else GAS
            into = collected.setdefault(kind, _Collected([], [], [], [], [], [], [], set()))
            trajectory = file.frames("trajectory")
            index = np.arange(len(file))
            division = held.get(file.digest())
            if division is not None and subset != "all":
                index = index[np.isin(trajectory, division[subset])]
            _collect(function, file, index, into)
            into.trajectories |= {(str(path), int(k)) for k in trajectory[index]}
    kinds = {kind: _errors(data, np.asarray(numbers)) for kind, data in collected.items() if data.energy_error}
    if not kinds:
        raise FrameFileError(f"the files have no frames with use {subset!r}: evaluate subset 'all'")
    evaluation = Evaluation(subset, kinds, [Path(path).name for path in files])
    if output is not None:
        from kstep_training.potential.plots import plot_errors

        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "evaluation.json", evaluation.to_dict())
        for kind, data in collected.items():
            if data.energy_error:
                plot_errors(
                    folder / f"evaluation_{kind}.png", kind, np.array(data.force), np.array(data.force_error),
                    np.array(data.energy_error),
                )  # fmt: skip
    return evaluation


def _open(path: Path) -> tuple[Model, list[int], dict[str, dict[str, list[int]]]]:
    """The model as a function, its atoms, and per file digest which trajectories had which use."""
    if path.suffix == ".ckpt":
        checkpoint = load_checkpoint(path)
        held = {record.digest: dict(record.trajectories) for record in checkpoint.files}
        return compile_graph(checkpoint.model, torch.float32), checkpoint.model.numbers.tolist(), held
    module, contract = load(path)
    if contract.atomic_numbers is None:
        raise ContractError(f"{path} is not for one molecule: evaluation needs its atomic_numbers")
    recorded = contract.training_data.get("files", [])
    held = {record["digest"]: record["trajectories"] for record in recorded if "trajectories" in record}
    return module, list(contract.atomic_numbers), held


def _collect(function: Model, file: FrameFile, index: NDArray[np.int64], into: _Collected) -> None:
    positions, forces = file.frames("positions"), file.frames("forces")
    energies, charges = file.frames("energy"), file.frames("charges")
    temperatures = file.frames("temperature")
    embedded = file.has_environment
    potentials = file.sites("potential") if embedded else None
    gradients = file.sites("potential_gradient") if embedded else None
    for k in index.tolist():
        x = torch.as_tensor(positions[k])
        phi = torch.as_tensor(potentials[k]) if potentials is not None else None
        with torch.no_grad():
            energy, force, charge = function(x, phi)
        predicted, q = force.numpy(), charge.numpy()
        if gradients is not None:
            predicted = predicted - q[:, None] * gradients[k]
            error, label = _environment_forces(q, positions[k], file.environment(k))
            into.environment_error.append(error)
            into.environment_force.append(label)
        into.force.append(forces[k])
        into.force_error.append(predicted - forces[k])
        into.energy_error.append(float(energy) - float(energies[k]))
        into.charge_error.append(q - charges[k])
        into.temperature.append(float(temperatures[k]))


def _environment_forces(
    charge: FloatArray, positions: FloatArray, environment: Environment
) -> tuple[FloatArray, FloatArray]:
    """Errors and labels [m,3] of the forces on environment charges near the region."""
    d = np.asarray(environment.positions)[:, None] - positions[None]
    r = np.linalg.norm(d, axis=-1)
    near = r.min(1) < NEARBY
    d, r = d[near], r[near]
    force = (
        COULOMB * np.asarray(environment.charges)[near, None] * (charge[None, :, None] * d / r[..., None] ** 3).sum(1)
    )
    label = np.asarray(environment.forces)[near]
    return force - label, label


def _errors(data: _Collected, numbers: NDArray[np.int64]) -> KindErrors:
    error, force = np.array(data.force_error), np.array(data.force)
    energy = np.array(data.energy_error)
    charge = np.array(data.charge_error)
    temperature = np.array(data.temperature)
    environment = np.concatenate(data.environment_error) if data.environment_error else np.empty((0, 3))
    labels = np.concatenate(data.environment_force) if data.environment_force else np.empty((0, 3))
    return KindErrors(
        frames=len(energy),
        trajectories=len(data.trajectories),
        force_rmse=_rms(error) * MEV_PER_ANGSTROM,
        force_mae=float(np.abs(error).mean()) * MEV_PER_ANGSTROM,
        force_rmse_by_element={
            str(z): _rms(error[:, numbers == z]) * MEV_PER_ANGSTROM for z in sorted(set(numbers.tolist()))
        },
        force_rmse_by_temperature={
            f"{t:g}": _rms(error[temperature == t]) * MEV_PER_ANGSTROM for t in sorted(set(data.temperature))
        },
        force_rms=_rms(force) * MEV_PER_ANGSTROM,
        energy_mae=float(np.abs(energy).mean()),
        energy_rmse=_rms(energy),
        energy_spread_error=float(energy.std()),
        charge_rmse=_rms(charge),
        environment_force_rmse=_rms(environment) * MEV_PER_ANGSTROM if len(environment) else None,
        environment_force_rms=_rms(labels) * MEV_PER_ANGSTROM if len(labels) else None,
    )


def _rms(array: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(array))))
