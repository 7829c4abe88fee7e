"""``kstep generate``: QM-labelled frames for training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def generate(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to generate.")],
    output: Annotated[Path | None, typer.Option(help="HDF5 file, instead of the one in the configuration.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue the output file if it exists.")] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=1, max=10**9, help="Instead of the one in the configuration: for several files side by side."),
    ] = None,
) -> None:
    """Run QM or QM/MM dynamics and write frames with energies, forces, charges and environment to HDF5."""
    from rich.console import Console

    from kstep_models.configuration import load_config
    from openmmkstep.terminal import CountedProgress
    from openmmkstep.workflows.config.generate import GenerateConfig
    from openmmkstep.workflows.generate.generator import Generator, Progress
    from openmmkstep.workflows.setup.qm_cache import cache_of

    settings = load_config(config, GenerateConfig)
    given = {"output": output, "seed": seed}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    console = Console()
    with CountedProgress("starting", None, console, label_width=34) as shown:

        def report(progress: Progress) -> None:
            where = f"trajectory {progress.trajectory + 1}: {progress.stage}"
            shown.update(progress.frames, progress.total, where)

        generator = Generator(settings, " ".join(sys.argv), report)
        said: list[str] = []
        with cache_of(settings.cache, settings.qm.method, said.append):
            result = generator.run(resume)
    console.print("\n".join([*said, f"{result.frames} frames in {result.path}"]))
    for trajectory, error in result.failures.items():
        console.print(f"[yellow]trajectory {trajectory + 1} was given up:[/yellow] {error}")
    if len(result.failures) == settings.sampling.trajectories:
        # An engine with a fault, not a molecule that fell apart now and then.
        raise typer.Exit(1)
