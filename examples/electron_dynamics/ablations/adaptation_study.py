"""A molecule that was not learned from, before and after ten of its true responses are known."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.rttddft.linear_response import agreement, modes
from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseFile, ResponseRecord, ResponseSet
from kstep_training.experimental.adaptation import (
    Shots,
    function_space_update,
    geometry,
    gradient_update,
    last_layer_update,
    meta_learned_rates,
    shots_of,
    visited_directions,
)
from kstep_training.rttddft.checkpoint import load
from kstep_training.rttddft.evaluation import predicted

RealArray = NDArray[np.float64]

SHOTS = 10
RIDGES = (0.1, 0.01, 1e-4)
ITERATIONS = 15
STEPS = (5, 20)


def part(molecule: ResponseSet, index: int) -> ResponseSet:
    """One geometry as a set."""
    record = geometry(molecule, index)
    return ResponseSet(
        molecule.name, molecule.numbers, ResponseRecord(*(np.asarray(value)[None] for value in vars(record).values()))
    )


def meta_task(checkpoint: Path, responses: Path) -> tuple[ResponseNetwork, Shots, Shots]:
    """A molecule that a network has not learned from: ten responses to adapt to, ten others to measure by."""
    trained = load(checkpoint)
    (name,) = set(trained.configuration["data"]["leave_out"]) & set(ResponseFile(responses).molecules) - {"C2H4"}
    molecule, network = ResponseFile(responses).read(name), trained.members[0]
    record = geometry(molecule, 0)
    response = record.fit.T @ predicted(network, part(molecule, 0))[0][0] @ record.fit
    directions = visited_directions(record, response, 2 * SHOTS)
    return (
        network,
        shots_of(molecule, 0, directions[:, :SHOTS]),
        shots_of(molecule, 0, directions[:, SHOTS:]),
    )


def adaptation_study(
    checkpoint: Path, responses: Path, name: str, geometries: list[int], tasks: list[tuple[Path, Path]]
) -> dict[str, Any]:
    """Errors of every method.

    Args:
        checkpoint: of networks that have not learned from the molecule.
        responses: file with it.
        name: of the molecule.
        geometries: which of it.
        tasks: checkpoint and file of each task of meta-learning, see :func:`meta_task`; with none, it is left out.
    """
    begin = time.process_time()
    rates = meta_learned_rates([meta_task(*task) for task in tasks]) if tasks else None
    meta_seconds = time.process_time() - begin
    networks = load(checkpoint).members
    molecule = ResponseFile(responses).read(name)
    rows: dict[str, list[dict[str, float]]] = {}
    for index in geometries:
        record = geometry(molecule, index)
        true = modes(record.sum, record.difference, record.dipole, record.response)

        def score(label: str, response: RealArray, seconds: float = 0.0) -> None:
            found = agreement(true, modes(record.sum, record.difference, record.dipole, response))  # noqa: B023
            error = np.linalg.norm(response - record.response) / np.linalg.norm(record.response)  # noqa: B023
            rows.setdefault(label, []).append({"response": float(error), **vars(found), "seconds": seconds})

        kernels = [predicted(network, part(molecule, index))[0][0] for network in networks]
        prior = record.fit.T @ np.mean(kernels, axis=0) @ record.fit
        score("zero-shot", prior)
        shots = shots_of(molecule, index, visited_directions(record, prior, SHOTS))
        score("function space", function_space_update(prior, shots.directions, shots.potentials))
        adapted = {f"last layer, ridge {ridge:g}": (last_layer_update, (ridge, ITERATIONS)) for ridge in RIDGES}
        if rates is not None:
            adapted |= {f"meta-learned rates, {steps} steps": (gradient_update, (rates, steps)) for steps in STEPS}
        for label, (method, settings) in adapted.items():
            begin = time.process_time()
            kernel = np.mean([method(network, shots, *settings) for network in networks], axis=0)
            seconds = time.process_time() - begin
            response = record.fit.T @ kernel @ record.fit
            score(label, response, seconds)
            both = function_space_update(response, shots.directions, shots.potentials)
            score(f"{label}, then function space", both, seconds)
    summary = {
        label: {
            "response": float(np.mean([row["response"] for row in found])),
            "dipole": float(np.mean([row["dipole"] for row in found])),
            "largest_dipole": max(row["dipole"] for row in found),
            "smallest_overlap": min(row["overlap"] for row in found),
            "largest_peak_shift_ev": max(row["peak"] for row in found),
            "seconds": float(np.mean([row["seconds"] for row in found])),
        }
        for label, found in rows.items()
    }
    return {
        "molecule": name,
        "geometries": geometries,
        "shots": SHOTS,
        "rates": rates,
        "meta_learning_seconds": meta_seconds,
        "methods": summary,
    }
