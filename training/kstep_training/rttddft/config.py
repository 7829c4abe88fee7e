"""Every option of training a response network, documented field by field. Paths are relative to the file's folder.

A minimal file::

    method: response
    data:
      files: [responses.h5]
    output: runs/small_molecules
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kstep_models.configuration import Section
from kstep_models.rttddft.network import ResponseNetworkConfig


class ResponseData(Section):
    """What is learned from."""

    files: list[Path] = Field(min_length=1, description="HDF5 files of responses")
    leave_out: list[str] = Field(default=[], description="molecules to test on and never to learn from")
    validation_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="fraction of each molecule's geometries held out, at least one"
    )
    limit: int | None = Field(default=None, ge=2, description="use this many geometries of each molecule at most")


class RefinementSection(Section):
    """Gradient descent on the encoder after its last layer was solved; off by default, see the documentation."""

    steps: int = Field(default=0, ge=0, description="of the optimiser; after them the last layer is solved anew")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    batch_size: int = Field(default=4, ge=1, description="geometries of one molecule per step")


class ResponseTraining(Section):
    """The whole file."""

    method: Literal["response"] = Field(description="what is trained")
    data: ResponseData
    model: ResponseNetworkConfig = ResponseNetworkConfig()
    members: int = Field(default=3, ge=1, description="networks of the ensemble, whose spread is the uncertainty")
    damping: float = Field(
        default=0.01, gt=0, description="of targets: fits of density changes smaller than this, relative, do not count"
    )
    regularisation: list[float] = Field(
        default=[1e-10, 1e-8, 1e-6, 1e-4],
        min_length=1,
        description="of the last layer, relative; the one with the smallest error on held-out geometries is taken",
    )
    refinement: RefinementSection = RefinementSection()
    seed: int = Field(default=0, description="of the encoders' weights")
    output: Path = Field(description="folder for checkpoint and results")
