"""Training, evaluation and export of surrogates from labelled frames, and of response networks from linear responses.

One package per method: ``potential``, and ``rttddft`` for response networks (:mod:`kstep_training.methods`). The three
functions below are the whole interface; methods are imported when called, so that importing the package does not load
torch and Lightning.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstep_training.potential.evaluation import Evaluation
    from kstep_training.potential.exporting import ExportedModel
    from kstep_training.potential.training import TrainingResult
    from kstep_training.rttddft.evaluation import ResponseEvaluation
    from kstep_training.rttddft.exporting import ExportedResponseModel
    from kstep_training.rttddft.training import ResponseResult

__all__ = ["SUBSETS", "evaluate", "export", "train"]

SUBSETS = ("test", "validation", "train", "all")
"""What a model may be evaluated on."""

Path = str | os.PathLike[str]


def train(config_path: Path, output: Path | None = None, resume: bool = False) -> TrainingResult | ResponseResult:
    """Train a model as a YAML file says.

    Every option is documented in :mod:`kstep_training.potential.config` (``method: potential``) and
    :mod:`kstep_training.rttddft.config` (``method: response``).

    Args:
        config_path: the YAML file; paths in it are relative to its folder.
        output: folder for checkpoints and metrics, instead of the one in the file.
        resume: continue from the last checkpoint in the output folder.

    Raises:
        kstep_models.configuration.ConfigError: the file is not a valid configuration.
        kstep_models.frames.FrameFileError: a frames file is missing, damaged or of another molecule.
        kstep_models.rttddft.response_file.ResponseFileError: likewise for a file of responses.
        kstep_training.checkpoints.CheckpointError: nothing to resume, or a run is in the way.
        kstep_models.locks.InUseError: another program is writing the output folder.
    """
    from kstep_training.methods import method_of_configuration

    result: TrainingResult | ResponseResult = (
        method_of_configuration(config_path).load().train(config_path, output, resume)
    )
    return result


def evaluate(
    model: Path, files: Sequence[Path], output: Path | None = None, subset: str = "test"
) -> Evaluation | ResponseEvaluation:
    """Errors of a checkpoint (``.ckpt``) or an archive (``.pt``) on frames files, per kind of data.

    Of a response network's checkpoint, errors for each molecule of files of responses, all geometries.

    Args:
        model: checkpoint or archive.
        files: frames files.
        output: folder for ``evaluation.json`` and plots; none are written without it.
        subset: one of :data:`SUBSETS`. Of a file that the model was not trained with, all frames count.

    Raises:
        kstep_models.frames.FrameFileError, kstep_models.contract.ContractError,
        kstep_training.checkpoints.CheckpointError: an input cannot be used.
    """
    from kstep_training.methods import method_of_model

    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}, got {subset!r}")
    evaluation: Evaluation | ResponseEvaluation = method_of_model(model).load().evaluate(model, files, output, subset)
    return evaluation


def export(
    checkpoint: Path, path: Path, dtype: str = "float32", files: Sequence[Path] | None = None
) -> ExportedModel | ExportedResponseModel:
    """Write the archive that the plugin loads, with its model card (``.md`` and ``.json``) beside it.

    Args:
        checkpoint: from :func:`train`.
        path: the archive, usually ``*.pt``.
        dtype: precision the network computes in, "float32" or "float64".
        files: frames files for the errors stated in contract and card; those of the training run if None. Of response
            networks, the errors are those measured in training.

    Raises:
        kstep_models.archive.ExportError: the exported forces are not the derivative of the energy, or a setting is not
            possible; nothing is written.
        kstep_training.checkpoints.CheckpointError, kstep_models.frames.FrameFileError: an input is unusable.
    """
    from kstep_models.archive import check_target
    from kstep_training.methods import method_of_checkpoint

    check_target(path, dtype)
    exported: ExportedModel | ExportedResponseModel = (
        method_of_checkpoint(checkpoint).load().export(checkpoint, path, dtype, files)
    )
    return exported
