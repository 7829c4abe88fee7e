"""``kstep generate-responses``: what response networks learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..results import results_file


def generate_responses(
    config: Annotated[Path, typer.Argument(help="YAML file that says of which molecules and how.")],
    output: Annotated[
        Path, typer.Option(help="HDF5 file; what is in it already is kept, what is missing is added.")
    ] = Path("responses.h5"),
) -> None:
    """Compute linear responses of small molecules, for `kstep train` with `method: response`."""
    from kstep_models.configuration import load_config
    from openmmkstep.terminal import CountedProgress
    from openmmkstep.workflows.config.responses import ResponsesConfig
    from openmmkstep.workflows.spectra.responses import prepare_responses

    settings = load_config(config, ResponsesConfig)
    with results_file(output, "responses") as results:
        run = prepare_responses(settings)
        total = settings.geometries * len(run.molecules)
        with CountedProgress("geometries", total, results.console) as progress:
            run.compute(output, progress.update)
