from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kstep_models.configuration import ConfigError, Section, load_config, read_yaml
from kstep_models.potential import PotentialConfig
from kstep_training.potential.config import PotentialTraining
from kstep_training.rttddft.config import ResponseTraining

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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
    check(PotentialConfig)


def test_times_are_read(configuration: Callable[..., Path]) -> None:
    for text, seconds in (("90 s", 90.0), ("1.5 min", 90.0), ("2h", 7200.0), (30, 30.0)):
        path = configuration(schedule={"max_time": text})
        assert load_config(path, PotentialTraining).schedule.max_time == seconds


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"optimiser": {}}, "unknown key 'optimiser', did you mean optimizer"),
        ({"model": {"chanels": 4}}, "unknown key 'model.chanels', did you mean model.channels"),
        ({"model": {"channels": 0}}, "model.channels"),
        ({"data": {"files": []}}, "data.files"),
        ({"data": {"files": [{"path": "a.h5", "use": "sometimes"}]}}, "data.files.0.use"),
        ({"data": {"files": ["a.h5"], "test_fraction": 0.7}}, "data.test_fraction"),
        ({"method": "magic"}, "method"),
        ({"schedule": {}}, "max_time, max_steps or both"),
        ({"schedule": {"max_time": "soon"}}, r"expected a number with a unit \(s, min, h\)"),
        ({"loss": {"forces": 0, "energy": 0}}, "cannot both have weight 0"),
    ],
)
def test_mistakes_are_named(configuration: Callable[..., Path], sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_config(configuration(**sections), PotentialTraining)


@pytest.mark.parametrize(
    "path",
    sorted(EXAMPLES.rglob("train*.yaml")),
    ids=lambda path: str(path.relative_to(EXAMPLES)),
)
def test_examples_are_valid(path: Path) -> None:
    method = read_yaml(path)["method"]
    config = load_config(path, {"potential": PotentialTraining, "response": ResponseTraining}[method])
    assert config.output.parent == path.parent / "output"
