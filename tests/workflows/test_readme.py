"""The README shows the script that is in the examples."""

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
