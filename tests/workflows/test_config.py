"""Configurations: quantities, unknown keys, contradictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from openmmkstep.workflows.config.bench import BenchConfig
from openmmkstep.workflows.config.generate import GenerateConfig
from openmmkstep.workflows.config.loading import ConfigError, Section, load_config, parse_config
from openmmkstep.workflows.config.quantities import Length, Rate, Temperature, Time
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.config.validate import ValidateConfig

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "alanine_dipeptide"


class Sample(Section):
    time: Time = 1.0
    length: Length = 1.0
    temperature: Temperature = 1.0
    rate: Rate = 1.0


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ({"time": "0.5 fs"}, 0.0005),
        ({"time": "2 ps"}, 2.0),
        ({"time": "1e-3 ns"}, 1.0),
        ({"length": "8.5 angstrom"}, 0.85),
        ({"temperature": 300}, 300.0),
        ({"temperature": "300 K"}, 300.0),
        ({"rate": "2 /ps"}, 2.0),
        ({"rate": 0}, 0.0),
    ],
)
def test_quantities(content: dict[str, Any], value: float) -> None:
    assert getattr(parse_config(content, Sample, "test"), next(iter(content))) == pytest.approx(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"time": 0.5}, "needs a unit"),
        ({"time": "0.5 s"}, "unknown unit 's'"),
        ({"time": "-1 fs"}, "must be positive"),
        ({"time": "soon"}, "expected a number with a unit"),
        ({"time": True}, "expected a number with a unit"),
        ({"length": "nan nm"}, "expected a number"),
        ({"tmie": "1 fs"}, "unknown key 'tmie', did you mean time?"),
        ({"zzz": 1}, "known here: time, length"),
    ],
)
def test_bad_values_are_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(content, Sample, "test")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run", RunConfig),
        ("generate_gas", GenerateConfig),
        ("generate_water", GenerateConfig),
        ("bench", BenchConfig),
        ("validate", ValidateConfig),
    ],
)
def test_examples_are_valid(name: str, kind: type[Section]) -> None:
    load_config(EXAMPLE / f"{name}.yaml", kind)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example run with one key set, given by its dotted path."""
    content: dict[str, Any] = yaml.safe_load((EXAMPLE / "run.yaml").read_text())
    *sections, key = path.split(".")
    place = content
    for section in sections:
        place = place[section]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("integrator.inerStep", "1 fs", "did you mean integrator.inner_step"),
        ("system.solvent.modle", "tip3p", "did you mean system.solvent.model"),
        ("integrator.k", 0, "integrator.k"),
        ("integrator.k", 6, "nonbonded_period 4 must divide k = 6"),
        ("surrogate.base_level", None, "needs a base level below the network"),
        ("surrogate", None, "needs a surrogate"),
        ("system.structure", None, "either 'structure'"),
        ("qm.multiplicity", 0, "qm.multiplicity"),
        ("time", None, "time is missing"),
        ("qm.embedding", "polarized", "qm.embedding"),
    ],
)
def test_contradictions(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(changed(path, value), RunConfig, "run.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "no.yaml", RunConfig)
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(broken, RunConfig)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        load_config(broken, RunConfig)


def test_unknown_keys_inside_named_sections() -> None:
    content = yaml.safe_load((EXAMPLE / "bench.yaml").read_text())
    content["cases"]["gas"]["sytem"] = content["cases"]["gas"].pop("system")
    with pytest.raises(ConfigError, match=r"did you mean cases.gas.system"):
        parse_config(content, BenchConfig, "bench.yaml")
