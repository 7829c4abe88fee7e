"""Engines of installed packages, whatever is wrong with them: one line that names package, engine and what happened."""

from __future__ import annotations

import re
import sys
from typing import Any

import openmm
import pytest

from openmmkstep import QMMMForce, QMMMPotential
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import EngineError
from tests.engines.test_registry import Nothing
from tests.support.packages import Install

GROUP = registry.ENTRY_POINT_GROUP
ENGINE = "from tests.engines.test_registry import Nothing\n"
MAIN = "\nclass Engine(Nothing):\n"


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def refusal(name: str, **settings: Any) -> str:
    with pytest.raises(EngineError) as caught:
        QMMMPotential(name, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
        ("raise SystemExit", "SystemExit)"),
        ("raise SystemExit(3)", "SystemExit: 3)"),
        ("raise RuntimeError", "RuntimeError)"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("Motor = 1", "AttributeError: module 'bad_import' has no attribute 'Engine'"),
    ],
)
def test_modules_that_fail(install: Install, monkeypatch: pytest.MonkeyPatch, module: str, what: str) -> None:
    install("bad-import", {"Bad": "bad_import:Engine"}, module, GROUP)
    monkeypatch.delitem(sys.modules, "bad_import", raising=False)
    message = refusal("BAD")
    assert message.startswith("the engine 'bad' of the package bad-import (bad_import:Engine) cannot be loaded (")
    assert what in message
    assert registry.problems() == {"bad": message}


def test_an_interruption_while_it_is_loaded_is_none_of_its_failures(install: Install) -> None:
    install("slow-import", {"slow": "slow_import:Engine"}, "raise KeyboardInterrupt", GROUP)
    with pytest.raises(KeyboardInterrupt):
        QMMMPotential("slow")


def test_two_packages_with_one_name(install: Install) -> None:
    for name, offered in (("first-one", "Springs"), ("second-one", "springs")):
        install(name, {offered: f"{name.replace('-', '_')}:Nothing"}, ENGINE, GROUP)
    message = refusal("springs")
    assert "is offered by several packages" in message
    assert "first-one (first_one:Nothing)" in message and "second-one (second_one:Nothing)" in message
    assert registry.problems() == {"springs": message}
    with pytest.raises(EngineError, match="offered by several packages"):
        registry.create_engine("springs", "{}", [1], 0, 1)


def test_a_script_decides_for_itself(install: Install) -> None:
    install("first-one", {"springs": "first_one:Engine"}, "1 / 0", GROUP)
    registry.register("Springs", Nothing)
    assert QMMMPotential("springs").engine.name == "springs"


def test_a_package_with_the_name_of_an_engine_of_ours(install: Install) -> None:
    install("better-xtb", {"GFN2-xTB": "better_xtb:Nothing"}, ENGINE, GROUP)
    message = refusal("gfn2-xtb")
    assert "openmm-kstep" in message and "better-xtb (better_xtb:Nothing)" in message
    assert QMMMPotential("gfn1-xtb").engine.name == "gfn1-xtb"


def test_what_is_offered_is_neither_a_class_nor_a_function(install: Install) -> None:
    install("no-factory", {"none": "no_factory:Engine"}, "Engine = 3", GROUP)
    assert "no-factory (no_factory:Engine) is neither a class nor a function, but 3" in refusal("none")


@pytest.mark.parametrize("missing", ["check", "describe", "compute", "reset"])
def test_a_method_is_missing(install: Install, missing: str) -> None:
    stem = f"no_{missing}"
    install(stem, {"part": f"{stem}:Engine"}, f"{ENGINE}{MAIN}    {missing} = None\n", GROUP)
    assert refusal("part") == f"part: Engine has no method {missing}"


@pytest.mark.parametrize(
    ("body", "settings", "message"),
    [
        ("def __init__(self, level): self.level = level + 1.0", {"level": "high"}, "TypeError: can only concatenate"),
        ("def __init__(self, level): self.level = float(level)", {"level": "high"}, "ValueError: could not convert"),
        ("def __init__(self, level): self.level = level[1]", {"level": [1]}, "IndexError: list index out of range"),
        ("def __init__(self, level): raise ValueError", {"level": 1}, "ValueError without a message"),
        ("def __init__(self, level): raise EngineError", {"level": 1}, "EngineError without a message"),
        ("def __init__(self, level): raise EngineError('too high')", {"level": 1}, "too high"),
        ("def describe(self): return {'table': {1, 2}}", {}, r"describe\(\) must return plain JSON data: .*set is not"),
        ("def describe(self): return {'x': float('nan')}", {}, r"describe\(\) must return plain JSON data: Out of"),
        ("def describe(self): return [1]", {}, r"describe\(\) must return a dict, got list"),
        ("def describe(self): return {'method': 'b3lyp'}", {}, r"describe\(\) must not use the key 'method'"),
        ("def describe(self): return {'x': self.y}", {}, "AttributeError: 'Engine' object has no attribute 'y'"),
    ],
)
def test_settings_and_descriptions_that_fail(body: str, settings: dict[str, Any], message: str) -> None:
    names: dict[str, Any] = {}
    exec(f"from openmmkstep.engines.protocol import EngineError\n{ENGINE}{MAIN}    {body}\n", names)
    registry.register("Odd", names["Engine"])
    assert re.fullmatch(f"odd: {message}.*", refusal("odd", **settings))


def test_a_check_that_fails_names_the_engine() -> None:
    class Failing(Nothing):
        def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
            raise KeyError(numbers[0])

    registry.register("failing", Failing)
    with pytest.raises(EngineError, match=r"^failing: KeyError: 1$"):
        QMMMPotential("failing").engine.check([1], 0, 1)


def test_upper_and_lower_case_are_the_same_everywhere(reference: openmm.Platform) -> None:
    assert QMMMForce([0], [1], " Springs ").getEngine() == "springs"
    registry.register("SPRINGS", Nothing)
    assert QMMMPotential("Springs").engine.describe() == {"method": "springs"}
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(QMMMForce([0], [2], "GFN2-xTB"))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions([[0, 0, 0]])
    assert context.getState(energy=True).getPotentialEnergy()._value < -4000


def test_near_misses_are_guessed() -> None:
    registry.register("springs", Nothing)
    message = refusal("Spring")
    assert message.startswith("unknown QM method 'Spring': did you mean 'springs'? There are: ")
    assert "gfn1-xtb" in message
    with pytest.raises(EngineError, match=r"no engine 'sprongs' is registered .*: did you mean 'springs'"):
        registry.create_engine("sprongs", "{}", [1], 0, 1)
