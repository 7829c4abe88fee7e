"""Configurations: quantities, unknown keys, contradictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kstep_models.configuration import ConfigError, Section, load_config, parse_config
from openmmkstep.workflows.config.bench import BenchConfig
from openmmkstep.workflows.config.bench_spectrum import SpectrumBenchConfig
from openmmkstep.workflows.config.generate import GenerateConfig
from openmmkstep.workflows.config.quantities import Length, Rate, Temperature, Time
from openmmkstep.workflows.config.responses import ResponsesConfig
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.config.spectrum import SpectrumConfig
from openmmkstep.workflows.config.validate import ValidateConfig

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = EXAMPLES / "alanine_dipeptide"


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


def kind_of(path: Path) -> type[Section]:
    """What an example's name says that it configures."""
    kinds: dict[str, type[Section]] = {
        "bench": SpectrumBenchConfig if "electron" in str(path) else BenchConfig,
        "generate": GenerateConfig,
        "own": RunConfig,
        "responses": ResponsesConfig,
        "run": RunConfig,
        "validate": ValidateConfig,
    }
    return kinds.get(path.stem.split("_")[0], SpectrumConfig)


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(EXAMPLES.rglob("*.yaml")) if not path.stem.startswith("train")],
    ids=lambda path: str(path.relative_to(EXAMPLES)),
)
def test_examples_are_valid(path: Path) -> None:
    load_config(path, kind_of(path))


def test_the_example_run_is_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(EXAMPLE / "run.yaml", RunConfig)
    assert config.surrogate is not None
    assert config.system.structure == EXAMPLE / "alanine_dipeptide.pdb"
    assert config.system.force_field == ("amber14-all.xml", "amber14/tip3p.xml")
    assert config.surrogate.archive == EXAMPLE / "ala2-gfn2.pt"
    assert config.surrogate.base_level == EXAMPLE / "ala2-base.json"
    assert config.output.folder == EXAMPLE / "output"


def test_the_force_field_is_no_file() -> None:
    config = parse_config(changed("surrogate.base_level", "force-field"), RunConfig, "run.yaml", EXAMPLE)
    assert config.surrogate is not None and config.surrogate.base_level == "force-field"


def test_molecules_with_an_ending_are_files(tmp_path: Path) -> None:
    config = parse_config({"molecules": ["H2O", "CH2NH.xyz", "C3H4_D2d"]}, ResponsesConfig, "test", tmp_path)
    assert config.molecules == ("H2O", tmp_path / "CH2NH.xyz", "C3H4_D2d")


def test_seeds_leave_room_for_those_made_of_them() -> None:
    with pytest.raises(ConfigError, match=r"seed: must be less than or equal to 1000000000 \(got 2000000000\)"):
        parse_config(changed("seed", 2000000000), RunConfig, "run.yaml")


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
        ("integrator.k", True, "integrator.k: must be a number, not true or false"),
        ("qm.charge", True, "qm.charge: must be a number, not true or false"),
        ("surrogate.period", True, "surrogate.period: must be a number, not true or false"),
        ("seed", True, "seed: must be a number, not true or false"),
        ("integrator.inerStep", "1 fs", "did you mean integrator.inner_step"),
        ("system.solvent.modle", "tip3p", "did you mean system.solvent.model"),
        ("integrator.k", 0, "integrator.k"),
        ("integrator.k", 8, "nonbonded_period 3 must divide k = 8"),
        ("surrogate.base_level", None, "needs a base level below the surrogate"),
        ("surrogate", None, "needs a surrogate"),
        ("surrogate", {"period": 1}, "give 'archive', the file of an exported potential, or 'method'"),
        ("surrogate", {"archive": "a.pt", "settings": {"accuracy": 1}}, "'settings' are those of 'method'"),
        ("system.structure", None, "either 'structure'"),
        ("qm.multiplicity", 0, "qm.multiplicity"),
        ("integrator.metropolis", "on", "integrator.metropolis"),
        ("integrator.metropolis", True, "integrator.metropolis"),
        ("integrator.thermostat_interval", 0, "integrator.thermostat_interval"),
        ("time", None, "time is missing"),
        ("qm.embedding", "polarized", "qm.embedding"),
        ("qm.far_field", "ewald", "qm.far_field"),
        ("system.switch_distance", "0.9 nm", r"'switch_distance' \(0.9 nm\) must be below 'nonbonded_cutoff'"),
    ],
)
def test_contradictions(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(changed(path, value), RunConfig, "run.yaml")


def test_metropolis_needs_a_thermostat() -> None:
    content = changed("integrator.ensemble", "nve")
    for key, value in (("metropolis", "full"), ("metropolis", "monitor"), ("thermostat_interval", 2)):
        with pytest.raises(ConfigError, match=f"'{key}' needs a thermostat"):
            parse_config({**content, "integrator": {**content["integrator"], key: value}}, RunConfig, "run.yaml")


@pytest.mark.parametrize(("text", "mode"), [("off", "off"), ("'off'", "off"), ("correction", "correction")])
def test_off_is_a_word(text: str, mode: str) -> None:
    """YAML takes it for false."""
    config = parse_config(changed("integrator.metropolis", yaml.safe_load(text)), RunConfig, "run.yaml")
    assert config.integrator.metropolis == mode


def test_unknown_keys_inside_named_sections() -> None:
    content = yaml.safe_load((EXAMPLE / "bench.yaml").read_text())
    content["cases"]["gas"]["sytem"] = content["cases"]["gas"].pop("system")
    with pytest.raises(ConfigError, match=r"did you mean cases.gas.system"):
        parse_config(content, BenchConfig, "bench.yaml")
