"""Packages with entry points, where Python finds them as if pip had installed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Call it with a package's name, its entry points {name: target}, the text of its one module, and their group."""

    def install(name: str, offers: Mapping[str, str], module: str = "", group: str = "openmmkstep.commands") -> None:
        stem = name.replace("-", "_")
        site = tmp_path / name
        metadata = site / f"{stem}-0.1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        lines = [f"{offer} = {target}" for offer, target in offers.items()]
        (metadata / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(lines) + "\n")
        (site / f"{stem}.py").write_text(module)
        monkeypatch.syspath_prepend(site)

    return install
