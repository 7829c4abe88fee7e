"""The notebook of the examples: as it is shipped, and executed anew."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "electron_dynamics"
NOTEBOOK = EXAMPLES / "water_kick_and_pulse.ipynb"


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check_results(notebook: Any) -> None:
    """What the notebook shows: reduced propagations within one per cent, lines where linear response has them."""
    text = "\n".join(printed(cell) for cell in code_cells(notebook))
    errors = [float(value) for value in re.findall(r": dipole error ([\d.]+) %", text)]
    savings = [float(value) for value in re.findall(r"(\d+) times fewer", text)]
    assert len(errors) == len(savings) == 2
    assert max(errors) < 1.0 and min(savings) > 50
    (difference,) = re.findall(r"Pade and linear response: ([\d.]+) eV", text)
    assert float(difference) < 0.05
    (total,) = re.findall(r"sum of occupations ([\d.]+)", text)
    assert float(total) == pytest.approx(10.0, abs=1e-9)


def test_notebook_is_shipped_with_its_results() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    # Executed once from top to bottom, and not a burden to the repository.
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert NOTEBOOK.stat().st_size < 400_000
    check_results(notebook)


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    shutil.copy(EXAMPLES / "water.xyz", tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    check_results(notebook)
