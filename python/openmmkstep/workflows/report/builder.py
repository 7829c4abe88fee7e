"""Puts the report together."""

from __future__ import annotations

from pathlib import Path

from kstep_models.files import write_json
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.mixed_system import MixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem

from .figures import plot_run
from .html import write_html
from .run_data import read_run


def build_report(plan: RunPlan, files: RunFolder, molecules: MolecularSystem, mixed: MixedSystem) -> Path:
    """Write report.json, plots and report.html of a finished run; returns the path of the page."""
    data = read_run(plan, files, molecules, mixed)
    files.report.mkdir(exist_ok=True)
    write_json(files.report / "report.json", data.summary)
    plots = plot_run(data, files.report)
    page = files.report / "report.html"
    write_html(page, data.summary, plots)
    return page
