"""Response networks learn what a teacher of the same kind says."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from kstep_models.rttddft.linear_response import agreement, modes
from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseSet
from kstep_training.rttddft.config import RefinementSection
from kstep_training.rttddft.evaluation import molecule_errors, predicted, response_error
from kstep_training.rttddft.last_layer_ridge import LastLayer
from kstep_training.rttddft.refinement import refine
from kstep_training.rttddft.targets import effective_kernels
from tests.support.models import teacher

NAMES = ("H2", "H2O", "H2O2")


def unsymmetrised(network: ResponseNetwork, molecule: ResponseSet) -> Tensor:
    """Blocks as the readouts give them [T,M,M], before the mean with the transpose."""
    numbers = torch.as_tensor(molecule.numbers)
    sites, pairs = network.features(numbers, torch.as_tensor(molecule.records.positions))
    elements = network.element_index[numbers].tolist()
    first, second = (part.tolist() for part in network.ordered_pairs(len(numbers)))
    rows = []
    for one in range(len(numbers)):
        row = []
        for other in range(len(numbers)):
            if one == other:
                readout, features = network.site_blocks[elements[one]], sites[:, one]
            else:
                pair = next(i for i, both in enumerate(zip(first, second, strict=True)) if both == (one, other))
                readout = network.pair_blocks[elements[one] * len(network.elements) + elements[other]]
                features = pairs[:, pair]
            row.append(readout(features.unsqueeze(1))[:, 0])
        rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


@torch.no_grad()
def test_last_layer_of_the_teachers_encoder_is_found_again(teaching: ResponseNetwork) -> None:
    """A student with the teacher's encoder gives its responses and densities, also of geometries that it has not
    seen. The labels are what the teacher's readouts gave."""
    own = copy.deepcopy(teaching)
    for part in (own.site_blocks, own.pair_blocks, own.densities):
        for parameter in part.parameters():
            parameter.zero_()
    sets = [teacher.responses(teaching, name, 40, 20, displacement=0.3) for name in NAMES]
    held = [teacher.responses(teaching, name, 5, 30, displacement=0.15) for name in NAMES]
    assert response_error(predicted(own, held[1])[0], held[1].records) > 0.1
    LastLayer(own, sets, [unsymmetrised(teaching, each).numpy() for each in sets]).solve(1e-14)
    for each in held:
        kernels, densities = predicted(own, each)
        assert response_error(kernels, each.records) < 1e-6
        assert np.linalg.norm(densities - each.records.density) < 1e-6 * np.linalg.norm(each.records.density)


def test_the_ridge_beats_the_mean(teaching: ResponseNetwork, student: ResponseNetwork) -> None:
    """With an encoder that knows nothing of the teacher's, on held-out geometries: better than the mean response by
    far, and better with more geometries."""
    held = teacher.responses(teaching, "H2", 8, 8)
    errors = []
    for count in (4, 40):
        learned = teacher.responses(teaching, "H2", count, 9)
        labels = effective_kernels(learned.records, 0.01)
        mean = response_error(np.broadcast_to(labels.mean(0), held.records.kernel.shape), held.records)
        own = copy.deepcopy(student)
        LastLayer(own, [learned], [labels]).solve(1e-8)
        errors.append(response_error(predicted(own, held)[0], held.records) / mean)
    assert errors[1] < 0.1 and errors[1] < errors[0]


def test_what_symmetry_forbids_is_not_learned_from_round_off(
    teaching: ResponseNetwork, student: ResponseNetwork
) -> None:
    """In a linear molecule most features and blocks are zero but for round-off. Regressions among them had weights of
    1e20, and nonsense for any other molecule."""
    hydrogen = teacher.responses(teaching, "H2", 20, 9)
    own = copy.deepcopy(student)
    LastLayer(own, [hydrogen], [effective_kernels(hydrogen.records, 0.01)]).solve(1e-8)
    weights = [part.detach() for readouts in (own.site_blocks, own.pair_blocks) for part in readouts.parameters()]
    assert max(float(part.abs().max()) for part in weights) < 1e6
    peroxide = teacher.responses(teaching, "H2O2", 2, 1)
    assert np.abs(predicted(own, peroxide)[0]).max() < 1e3 * np.abs(hydrogen.records.kernel).max()


def test_errors_are_those_of_dipole_traces(teaching: ResponseNetwork) -> None:
    """Of an ensemble of two: its mean and its spread, in the terms of the module of linear response."""

    class Changed(torch.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def batched(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
            response, density = teaching.batched(numbers, positions)
            return self.factor * response, self.factor * density

    water = teacher.responses(teaching, "H2O", 2, 6)
    errors = molecule_errors([Changed(1.0), Changed(1.2)], water)  # type: ignore[list-item]
    assert errors.response == pytest.approx(0.1, rel=1e-9) and errors.spread == pytest.approx(0.1 / 1.1, rel=1e-9)
    assert errors.density == pytest.approx(0.1, rel=1e-9)
    records, single = water.records, []
    for index in range(2):
        known = (records.sum[index], records.difference[index], records.dipole[index])
        true, other = (modes(*known, factor * records.response[index]) for factor in (1.0, 1.1))
        single.append(agreement(true, other))
    assert errors.dipole == pytest.approx(np.mean([each.dipole for each in single]), rel=1e-6)
    assert errors.largest_dipole == pytest.approx(max(each.dipole for each in single), rel=1e-6)
    unstable = molecule_errors([Changed(-1e4), Changed(-1e4)], water)  # type: ignore[list-item]
    assert unstable.largest_dipole == np.inf and unstable.smallest_overlap == 0.0


def test_refinement_decreases_the_loss(teaching: ResponseNetwork, student: ResponseNetwork) -> None:
    water = teacher.responses(teaching, "H2O", 8, 12)
    network = copy.deepcopy(student)
    LastLayer(network, [water], [effective_kernels(water.records, 0.01)]).solve(1e-2)
    before = response_error(predicted(network, water)[0], water.records)
    encoder = network.embedding.weight.detach().clone()
    losses: list[float] = []
    section = RefinementSection(steps=30, learning_rate=3e-3, batch_size=8)
    refine(network, [water], section, 1, lambda _, loss: losses.append(loss))
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert response_error(predicted(network, water)[0], water.records) < 0.8 * before
    assert not torch.equal(network.embedding.weight, encoder) and not network.training
