"""The cache of QM results that a configuration asks for: what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmmkstep.workflows.config.sections import CacheSection
from openmmkstep.workflows.setup.complete_files import PreparationError
from openmmkstep.workflows.setup.qm_cache import cache_of


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    section = CacheSection(folder=tmp_path / place)
    with (
        pytest.raises(PreparationError, match=r"cache.folder: .*file.* cannot be made"),
        cache_of(section, "pyscf", print),
    ):
        pass


def test_errors_of_what_uses_it_come_through(tmp_path: Path) -> None:
    section = CacheSection(folder=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="something else"), cache_of(section, "pyscf", print):
        raise FileNotFoundError("something else")
