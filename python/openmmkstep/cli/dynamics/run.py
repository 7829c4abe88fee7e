"""``kstep run``: a QM/MM k-step run with a report at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.")],
    fresh: Annotated[bool, typer.Option(help="Throw away an earlier run in the output folder.")] = False,
) -> None:
    """Build, equilibrate and run a QM/MM system, and write a report. An interrupted run is taken up exactly."""
    from rich.console import Console

    from kstep_models.configuration import load_config
    from openmmkstep.workflows.config.run import RunConfig
    from openmmkstep.workflows.plan import RunPlan
    from openmmkstep.workflows.run.runner import Runner

    console = Console()
    plan = RunPlan.of(load_config(config, RunConfig))
    report = Runner(plan, " ".join(sys.argv), console).run(fresh)
    console.print(f"report: {report.resolve()}", soft_wrap=True)
