"""``kstep generate-responses``: what response networks learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import table_console
from .errors import report_errors


def generate_responses(
    config: Annotated[Path, typer.Argument(help="YAML file that says of which molecules and how.")],
    output: Annotated[
        Path, typer.Option(help="HDF5 file; what is in it already is kept, what is missing is added.")
    ] = Path("responses.h5"),
) -> None:
    """Compute linear responses of small molecules, for `kstep train` with `method: response`."""
    with report_errors():
        from kstep_models.configuration import load_config
        from openmmkstep.terminal import CountedProgress
        from openmmkstep.workflows.config.responses import ResponsesConfig
        from openmmkstep.workflows.spectra.responses import prepare_responses

        settings = load_config(config, ResponsesConfig)
        if not output.parent.is_dir():
            raise ValueError(f"{output.parent} is not a folder: create it, or choose another --output")
        run = prepare_responses(settings)
        console = table_console()
        total = settings.geometries * len(run.molecules)
        with CountedProgress("geometries", total, console) as progress:
            run.compute(output, progress.update)
        console.print(f"responses: {output.resolve()}", soft_wrap=True)
