"""Checkpoints of response networks: weights and plain values only, so that loading one runs no code."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import torch

from kstep_models.files import replaced_atomically
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.network import ResponseNetwork, ResponseNetworkConfig
from kstep_training.checkpoints import CheckpointError, read_checkpoint
from kstep_training.methods import RESPONSE

VERSION = 2
NAME = "last.ckpt"


@dataclasses.dataclass(frozen=True)
class ResponseCheckpoint:
    """Trained networks and where they come from.

    Attributes:
        members: the ensemble, double precision.
        configuration: of the run, as in the YAML file.
        level_of_theory: of the responses.
        digest: over all training data.
        geometries: molecule -> number of geometries learned from.
        regularisation: of each member's last layer.
        evaluation: errors on held-out geometries, JSON values; empty until all members are there.
        seconds: of training.
    """

    members: tuple[ResponseNetwork, ...]
    configuration: dict[str, Any]
    level_of_theory: dict[str, Any]
    digest: str
    geometries: dict[str, int]
    regularisation: tuple[float, ...]
    evaluation: dict[str, Any]
    seconds: float


def new_network(basis: AuxiliaryBasis, config: ResponseNetworkConfig, seed: int) -> ResponseNetwork:
    """A network with random weights, in double precision throughout, its constants included."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return ResponseNetwork(basis, config).eval()
    finally:
        torch.set_default_dtype(previous)


def save(path: str | os.PathLike[str], checkpoint: ResponseCheckpoint) -> None:
    """Write a checkpoint, atomically."""
    content = {
        "format": RESPONSE.checkpoint_format,
        "version": VERSION,
        "basis": checkpoint.members[0].basis.to_json(),
        "model": checkpoint.members[0].config.written(),
        "members": [_learned(member) for member in checkpoint.members],
        **{
            entry.name: getattr(checkpoint, entry.name)
            for entry in dataclasses.fields(checkpoint)
            if entry.name != "members"
        },
    }
    with replaced_atomically(path) as partial:
        torch.save(content, partial)


def load(path: str | os.PathLike[str]) -> ResponseCheckpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: no such file, or not a checkpoint of this method and version.
    """
    content = read_checkpoint(path, RESPONSE.checkpoint_format, VERSION)
    basis = AuxiliaryBasis.from_json(content["basis"])
    config = ResponseNetworkConfig.model_validate(content["model"])
    members = tuple(_restored(new_network(basis, config, 0), state) for state in content["members"])
    rest = {entry.name: content[entry.name] for entry in dataclasses.fields(ResponseCheckpoint)}
    return ResponseCheckpoint(**{**rest, "members": members})


def _learned(network: ResponseNetwork) -> dict[str, torch.Tensor]:
    """Weights and statistics; constants are made anew, in full precision."""
    statistics = {name: value for name, value in network.named_buffers() if name.endswith((".mean", ".scale"))}
    return {name: value.detach().clone() for name, value in (*network.named_parameters(), *statistics.items())}


def _restored(network: ResponseNetwork, state: dict[str, torch.Tensor]) -> ResponseNetwork:
    own = dict(_tensors(network))
    if set(state) != set(_learned(network)):
        raise CheckpointError("the checkpoint's weights are not those of this version's network: train again")
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
    return network.eval()


def _tensors(network: ResponseNetwork) -> Sequence[tuple[str, torch.Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]
