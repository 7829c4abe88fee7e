"""What learning starts beside itself: training and export of a network, taken up where they were interrupted.

``python -m openmmkstep.cli.surrogates.unattended TRAIN.yaml [ARCHIVE DONE.json]``; the configuration alone is checked.
The process ends when its standard input does, so that it does not outlive whoever started it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import typer

from openmmkstep.cli.errors import report_errors

from .extra import training_extra

_NICENESS = 10
# Of a process that was started before and is about to end, seconds.
_PATIENCE = 30.0


def _end_with_input() -> None:
    # Not sys.stdin, whose lock the interpreter wants at its end.
    while os.read(0, 1024):
        pass
    os._exit(1)


def check(training: Path) -> None:
    """Read a configuration, and the checkpoint that it starts from.

    Raises:
        ConfigError, CheckpointError: As training would.
    """
    with training_extra():
        from kstep_models.configuration import load_config
        from kstep_training.potential.checkpoint import load_checkpoint, refuse_other_size
        from kstep_training.potential.config import PotentialTraining

        config = load_config(training, PotentialTraining)
        if config.start_from is not None:
            refuse_other_size(config.start_from, load_checkpoint(config.start_from).model, config.model)


def train(training: Path, archive: Path, done: Path) -> None:
    """Train and export, or what is left of it; then write how many seconds the training took, atomically."""
    with training_extra():
        import kstep_training
        from kstep_models.configuration import load_config
        from kstep_models.files import write_json
        from kstep_training.potential.checkpoint import NAME, load_checkpoint
        from kstep_training.potential.config import PotentialTraining

        folder = load_config(training, PotentialTraining).output
        checkpoint = folder / NAME
        # Written when training is over.
        if not (folder / "evaluation.json").exists():
            _train(training, checkpoint)
        kstep_training.export(checkpoint, archive)
        write_json(done, {"seconds": load_checkpoint(checkpoint).elapsed})


def _train(training: Path, checkpoint: Path) -> None:
    import kstep_training
    from kstep_models.locks import InUseError

    end = time.monotonic() + _PATIENCE
    while True:
        try:
            kstep_training.train(training, resume=checkpoint.exists())
            return
        except InUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def main(arguments: list[str]) -> None:
    """Check with one argument, train with three."""
    with report_errors():
        if len(arguments) == 1:
            check(Path(arguments[0]))
        else:
            os.nice(_NICENESS)
            threading.Thread(target=_end_with_input, daemon=True).start()
            training, archive, done = (Path(argument) for argument in arguments)
            train(training, archive, done)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
