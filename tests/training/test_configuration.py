from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kstep_training.configuration import ConfigurationError, Section, load_configuration
from kstep_training.potential.config import PotentialTraining


def test_every_option_is_documented() -> None:
    def check(section: type[Section]) -> None:
        for name, field in section.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                assert kind.__doc__, name
                check(kind)
            else:
                assert field.description or section.__name__ == "PotentialTraining", f"{section.__name__}.{name}"

    check(PotentialTraining)


def test_times_are_read(configuration: Callable[..., Path]) -> None:
    for text, seconds in (("90 s", 90.0), ("1.5 min", 90.0), ("2h", 7200.0), (30, 30.0)):
        path = configuration(schedule={"max_time": text})
        assert load_configuration(path, PotentialTraining).schedule.max_time == seconds


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"optimiser": {}}, "unknown key optimiser, did you mean optimizer"),
        ({"model": {"chanels": 4}}, "unknown key model.chanels, did you mean model.channels"),
        ({"model": {"channels": 0}}, "model.channels"),
        ({"data": {"files": []}}, "data.files"),
        ({"data": {"files": [{"path": "a.h5", "use": "sometimes"}]}}, "data.files.0.use"),
        ({"data": {"files": ["a.h5"], "test_fraction": 0.7}}, "data.test_fraction"),
        ({"method": "magic"}, "method"),
        ({"schedule": {}}, "max_time, max_steps or both"),
        ({"schedule": {"max_time": "soon"}}, "a time is written like"),
        ({"loss": {"forces": 0, "energy": 0}}, "cannot both have weight 0"),
    ],
)
def test_mistakes_are_named(configuration: Callable[..., Path], sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        load_configuration(configuration(**sections), PotentialTraining)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_configuration(tmp_path / "none.yaml", PotentialTraining)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load_configuration(tmp_path / "bad.yaml", PotentialTraining)
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(ConfigurationError, match="must hold a mapping"):
        load_configuration(tmp_path / "list.yaml", PotentialTraining)
    (tmp_path / "short.yaml").write_text("method: potential")
    with pytest.raises(ConfigurationError, match="data is missing"):
        load_configuration(tmp_path / "short.yaml", PotentialTraining)
