"""Puts the report together."""

from __future__ import annotations

import json
from pathlib import Path

from openmmkstep.qmmm.region import QMRegion
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.molecular_system import MolecularSystem

from .figures import plotRun
from .html import writeHtml
from .run_data import readRun


def buildReport(config: RunConfig, files: RunFolder, molecules: MolecularSystem, region: QMRegion) -> Path:
    """Write report.json, plots and report.html of a finished run; returns the path of the page."""
    data = readRun(config, files, molecules, region)
    files.report.mkdir(exist_ok=True)
    (files.report / "report.json").write_text(json.dumps(data.summary, indent=1), encoding="utf-8")
    plots = plotRun(data, files.report)
    page = files.report / "report.html"
    writeHtml(page, data.summary, plots)
    return page
