"""Gradient descent on a whole response network, encoder included; an option that is off by default.

The loss is the relative error of the response between true density changes, the quantity that dipoles depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from kstep_models.rttddft.network import ResponseNetwork
from kstep_models.rttddft.response_file import ResponseSet
from kstep_training.rttddft.config import RefinementSection


def refine(
    network: ResponseNetwork,
    sets: Sequence[ResponseSet],
    section: RefinementSection,
    seed: int,
    log: Callable[[int, float], None],
) -> None:
    """Train all weights, from where they are.

    Args:
        network: in double precision.
        sets: molecules to learn from.
        section: steps, rate and batch.
        seed: of the order of the batches.
        log: called with every step and its loss.
    """
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=section.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(section.steps, 1))
    network.train()
    for step in range(section.steps):
        molecule = sets[int(generator.integers(len(sets)))]
        chosen = generator.integers(len(molecule), size=section.batch_size)
        fit, response, positions = (
            torch.as_tensor(part[chosen])
            for part in (molecule.records.fit, molecule.records.response, molecule.records.positions)
        )
        kernels, _ = network.batched(torch.as_tensor(molecule.numbers), positions)
        error = fit.transpose(1, 2) @ kernels @ fit - response
        loss = (error.square().sum((1, 2)) / response.square().sum((1, 2))).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        log(step, float(loss.detach().sqrt()))
    network.eval()
