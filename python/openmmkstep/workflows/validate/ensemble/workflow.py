"""``kstep validate ensemble`` from a configuration to its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from openmmkstep.workflows.config.validate import ValidateConfig

from .check import EnsembleCheck
from .figures import plot_ensemble
from .page import write_page
from .summary import to_json


def validate_ensemble(
    config: ValidateConfig, folder: Path, fresh: bool, console: Console, log: Callable[[str], None]
) -> dict[str, Any]:
    """Sample what is not there yet, and write plots and the page into the folder.

    Args:
        config: what to run.
        folder: of trajectories, plots and the page.
        fresh: throw away what is there.
        console: for progress.
        log: called with what is being done.

    Returns:
        JSON values: verdicts, and the numbers of all runs.
    """
    results = EnsembleCheck(config, folder, fresh, console, log).run()
    write_page(results, folder, plot_ensemble(results, folder))
    return to_json(results)
