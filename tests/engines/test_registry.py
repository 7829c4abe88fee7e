"""Engines by name: what is there, what is checked, and that a name in a file imports nothing by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmmkstep import QMMMPotential
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError, QMOutput
from openmmkstep.openmmapi.qmmm_force import QMMMForce


class Nothing:
    """No energy, whatever it is asked; ``spoiled`` names an output of a wrong shape."""

    def __init__(self, spoiled: str = "", *, level: float = 1.0) -> None:
        self.spoiled = spoiled

    def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
        if 2 in list(numbers):
            raise EngineError("helium is beyond this engine")

    def describe(self) -> dict[str, Any]:
        return {}

    def reset(self) -> None:
        pass

    def compute(self, positions: Any, charge_positions: Any, charges: Any, needs_potential: Any) -> Any:
        if self.spoiled == "type":
            return 0.0
        n, m = len(positions), len(charges)
        shapes = {
            "gradient": (n, 3),
            "charge_gradient": (m, 3),
            "potential_at_charges": (m,),
            "atomic_charges": (n,),
            "dipole": (3,),
        }
        arrays = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
        if self.spoiled:
            arrays[self.spoiled] = np.zeros((7, 2))
        return QMOutput(energy=0, **arrays)


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    # Those of this package and of others that are installed here.
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    yield


def created(settings: str = "{}", numbers: tuple[int, ...] = (1,)) -> Any:
    return registry.create_engine("nothing", settings, numbers, 0, 1)


@pytest.mark.usefixtures("clean_registry")
def test_registered_engines_are_listed_and_made() -> None:
    ours = {"gfn1-xtb", "gfn2-xtb"}
    assert ours <= set(registry.names()) and "nothing" not in registry.names()
    registry.register("Nothing", Nothing)
    assert "nothing" in registry.names() and ours.isdisjoint(registry.names_in_python())
    output = created('{"level": 2}').compute(np.zeros((1, 3)), np.zeros((2, 3)), np.zeros(2), np.zeros(2, dtype=bool))
    assert output.gradient.dtype == np.float64 and output.charge_gradient.shape == (2, 3)
    assert registry.specification("NOTHING", {}).settings == {"spoiled": "", "level": 1.0}
    with pytest.raises(EngineError, match="nothing: helium is beyond"):
        created(numbers=(1, 2))


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    "name", ["gradient", "charge_gradient", "potential_at_charges", "atomic_charges", "dipole", "type"]
)
def test_answers_of_a_wrong_form_are_named(name: str) -> None:
    registry.register("nothing", Nothing)
    engine = created(f'{{"spoiled": "{name}"}}')
    with pytest.raises(EngineError, match="must return a QMOutput, got float" if name == "type" else f": {name} must"):
        engine.compute(np.zeros((1, 3)), np.zeros((2, 3)), np.zeros(2), np.zeros(2, dtype=bool))


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gfn3-xtb", {}, r"unknown QM method 'gfn3-xtb': did you mean 'gfn2-xtb'\? There are: .*gfn1-xtb, gfn2-xtb"),
        ("b3lyp", {}, r"unknown QM method 'b3lyp'\. There are: .*gfn1-xtb, gfn2-xtb"),
        ("", {}, "must be a text"),
        ("gfn2-xtb", {"acuracy": 1.0}, r"no setting 'acuracy': did you mean 'accuracy'\? There are: accuracy, max_it"),
        ("gfn2-xtb", {"library": "/tmp/libxtb.so"}, "no setting 'library'. There are"),
        ("gfn2-xtb", {"accuracy": -1.0}, "accuracy must be a number from 0.0001 to 1000"),
        ("gfn2-xtb", {"accuracy": float("nan")}, "plain JSON data"),
        ("gfn1-xtb", {"threads": 0}, "threads must be a positive integer"),
        ("gfn1-xtb", {"max_iterations": 2.5}, "max_iterations must be a positive integer"),
        ("gfn2-xtb", {"electronic_temperature": -3}, "electronic_temperature must be"),
        ("test-analytic", {"charges": object()}, "plain JSON data"),
    ],
)
def test_unknown_methods_and_settings(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        QMMMPotential(name, **settings)


@pytest.mark.usefixtures("clean_registry")
def test_registrations_that_make_no_sense() -> None:
    with pytest.raises(EngineError, match="is an engine of the plugin"):
        registry.register("GFN2-xTB", Nothing)
    with pytest.raises(EngineError, match="must be a class or function"):
        registry.register("nothing", 3)  # type: ignore[arg-type]
    for settings, message in (
        ("[1]", "must be a JSON object"),
        ("{", "not valid JSON"),
        ('{"x": 1}', "no setting 'x'"),
    ):
        registry.register("nothing", Nothing)
        with pytest.raises(EngineError, match=message):
            created(settings)
    with pytest.raises(EngineError, match=r"no engine 'gfn2-xtb' is registered in this process\. There are: .*nothing"):
        registry.create_engine("gfn2-xtb", "{}", [1], 0, 1)


@pytest.mark.usefixtures("clean_registry")
def test_entry_points_are_loaded_only_when_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "offered_engine.py").write_text("from tests.engines.test_registry import Nothing\n")
    points = [
        EntryPoint("Offered", "offered_engine:Nothing", registry.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no_such_module:Engine", registry.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.names_in_python() == ["broken", "offered"]
    assert "offered_engine" not in sys.modules
    registry.create_engine("offered", "{}", [1], 0, 1)
    assert sys.modules.pop("offered_engine")
    with pytest.raises(
        EngineError, match=r"'broken' of the package no_such_module .* cannot be loaded \(ModuleNotFound"
    ):
        registry.specification("broken", {})


@pytest.mark.usefixtures("clean_registry")
def test_a_name_in_a_file_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("hostile", "hostile:Engine", "hostile.Engine"):
        with pytest.raises(EngineError, match="is registered in this process"):
            registry.create_engine(name, "{}", [1], 0, 1)


def test_elements_beyond_radon_are_refused() -> None:
    xtb = registry.specification("gfn2-xtb", {})
    xtb.check([1, 86], 0, 1)
    with pytest.raises(EngineError, match=r"gfn2-xtb: xTB covers .* up to Z = 86, the molecule has \[87, 92\]"):
        xtb.check([92, 8, 87], 0, 1)


def test_all_settings_are_written_into_the_force_and_describe_the_level_of_theory() -> None:
    xtb = QMMMPotential("GFN2-xTB", accuracy=0.1, threads=2).engine
    force = QMMMForce([0], [2], xtb.name, settings=xtb.settings)
    assert force.getEngineSettings() == {
        "accuracy": 0.1,
        "max_iterations": 250,
        "electronic_temperature": 300.0,
        "threads": 2,
    }
    assert xtb.describe() == {"method": "gfn2-xtb", "accuracy": 0.1, "electronic_temperature": 300.0}
    assert registry.specification("gfn2-xtb", force.getEngineSettings()).describe() == xtb.describe()


def test_engines_that_only_the_plugin_knows_keep_their_settings() -> None:
    other = registry.specification("Native", {"depth": (1, 2)}, others=["native"])
    assert (other.name, other.settings) == ("native", {"depth": [1, 2]})
    assert other.describe() == {"method": "native", "depth": [1, 2]}
    other.check([118], 0, 1)


def test_the_analytic_engine_counts_its_charges() -> None:
    analytic = registry.specification("test-analytic", {"charges": [0.5, -0.5]})
    analytic.check([1, 1], 0, 1)
    with pytest.raises(EngineError, match="charges has 2 values for 3 atoms"):
        analytic.check([8, 1, 1], 0, 1)
