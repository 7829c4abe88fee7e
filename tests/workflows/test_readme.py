"""The README shows the script that is in the examples; setup.py names files that are there."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_readme_and_example_script_are_the_same() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("```python\n", 1)[1].split("```", 1)[0]
    script = (ROOT / "examples" / "alanine_dipeptide" / "script.py").read_text(encoding="utf-8")
    first, second = (ast.parse(text) for text in (shown, script))
    # The script has a docstring that the README does without.
    second.body = second.body[1:]
    assert ast.dump(first) == ast.dump(second)


def test_data_files_of_the_package_are_there() -> None:
    """Every pattern in setup.py finds something, and the report's template is among it."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.keyword)]
    (patterns,) = [ast.literal_eval(node.value) for node in calls if node.arg == "package_data"]
    package = ROOT / "python" / "openmmkstep"
    found = {pattern: list(package.glob(pattern)) for pattern in patterns["openmmkstep"]}
    assert all(found.values()), found
    assert package / "workflows" / "report" / "templates" / "report.html" in [
        p for paths in found.values() for p in paths
    ]
