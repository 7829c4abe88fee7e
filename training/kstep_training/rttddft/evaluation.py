"""Errors of predicted responses: of the matrices, and of the dipole traces and spectra that they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kstep_models.rttddft.linear_response import Agreement, UnstableResponseError, agreement, modes
from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet

RealArray = NDArray[np.float64]


@dataclass(frozen=True)
class MoleculeErrors:
    """Errors for one molecule, over its geometries.

    Attributes:
        geometries: how many.
        response: of the response between density changes, norm, relative; mean.
        spread: of the ensemble's members around their mean, measured alike; mean.
        density: of the ground state's density, Coulomb norm relative to that of the density; mean.
        dipole: of dipole traces over 200 atomic units after weak kicks, relative; mean and largest.
        overlap: cosine of spectra; mean and smallest.
        peak: shift of the brightest line, eV; largest.
        static: dipole error with no response of exchange and correlation at all; mean.
    """

    geometries: int
    response: float
    spread: float
    density: float
    dipole: float
    largest_dipole: float
    overlap: float
    smallest_overlap: float
    peak: float
    static: float


@torch.no_grad()
def predicted(network: ResponseNetwork, molecule: ResponseSet) -> tuple[RealArray, RealArray]:
    """Responses [T,M,M] and densities [T,M] of one network."""
    numbers = torch.as_tensor(molecule.numbers)
    results = [network.batched(numbers, part) for part in torch.as_tensor(molecule.records.positions).split(4)]
    return torch.cat([each[0] for each in results]).numpy(), torch.cat([each[1] for each in results]).numpy()


def response_error(kernels: RealArray, records: ResponseRecord) -> float:
    """Mean relative error of the response between density changes."""
    errors = [
        np.linalg.norm(fit.T @ kernel @ fit - response) / np.linalg.norm(response)
        for fit, kernel, response in zip(records.fit, kernels, records.response, strict=True)
    ]
    return float(np.mean(errors))


def molecule_errors(networks: Sequence[ResponseNetwork], molecule: ResponseSet) -> MoleculeErrors:
    """Errors of an ensemble's mean.

    A response whose modes are unstable counts as a dipole error and a shift of infinity and an overlap of zero.
    """
    members = [predicted(network, molecule) for network in networks]
    kernels, densities = (np.mean([member[part] for member in members], axis=0) for part in (0, 1))
    records = molecule.records
    rows: dict[str, list[float]] = {name: [] for name in ("spread", "density", "dipole", "overlap", "peak", "static")}
    for index in range(len(molecule)):
        fit, metric = records.fit[index], records.metric[index]
        response = fit.T @ kernels[index] @ fit
        parts = [fit.T @ member[0][index] @ fit - response for member in members]
        rows["spread"].append(float(np.sqrt(np.mean(np.square(parts)) / np.mean(np.square(response)))))
        difference, density = densities[index] - records.density[index], records.density[index]
        rows["density"].append(float(np.sqrt((difference @ metric @ difference) / (density @ metric @ density))))
        known = (records.sum[index], records.difference[index], records.dipole[index])
        true = modes(*known, records.response[index])
        rows["static"].append(agreement(true, modes(*known, np.zeros_like(response))).dipole)
        try:
            found = agreement(true, modes(*known, response))
        except UnstableResponseError:
            found = Agreement(dipole=np.inf, overlap=0.0, peak=np.inf)
        for name, value in asdict(found).items():
            rows[name].append(value)
    return MoleculeErrors(
        geometries=len(molecule),
        response=response_error(kernels, records),
        spread=float(np.mean(rows["spread"])),
        density=float(np.mean(rows["density"])),
        dipole=float(np.mean(rows["dipole"])),
        largest_dipole=max(rows["dipole"]),
        overlap=float(np.mean(rows["overlap"])),
        smallest_overlap=min(rows["overlap"]),
        peak=max(rows["peak"]),
        static=float(np.mean(rows["static"])),
    )


@dataclass(frozen=True)
class ResponseEvaluation:
    """Errors on geometries that were not learned from.

    Attributes:
        subset: which they are.
        molecules: name -> errors.
        left_out: molecules of which no geometry was learned from.
    """

    subset: str
    molecules: dict[str, MoleculeErrors]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
