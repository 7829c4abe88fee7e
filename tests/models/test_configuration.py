"""YAML files to checked configurations: keys, numbers, unions, and the one rule for paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from kstep_models.configuration import (
    LARGEST_INTEGER,
    ConfigError,
    FileOrName,
    Section,
    load_config,
    parse_config,
    read_yaml,
)
from kstep_models.quantities import not_negative, positive, quantity_reader

Time = Annotated[float, BeforeValidator(quantity_reader({"fs": 1e-3, "ps": 1.0}, None)), AfterValidator(positive)]
Wait = Annotated[float, BeforeValidator(quantity_reader({"s": 1.0, "h": 3600.0}, "s")), AfterValidator(not_negative)]


class Output(Section):
    folder: Path = Path("output")
    every: Time = 0.001


class Part(Section):
    path: Path
    weight: float = Field(default=1.0, gt=0)


class Whole(Section):
    time: Time = 1.0
    wait: Wait = 0.0
    seed: int = 1
    sizes: tuple[int, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    source: Literal["computed"] | Path | None = None
    tables: tuple[FileOrName, ...] = ("default.xml",)
    output: Output = Output()
    optional: Output | None = None
    parts: list[Annotated[Part, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)]] = Field(
        default_factory=list
    )
    named: dict[str, Part] = Field(default_factory=dict)


def loaded(folder: Path, content: Any, name: str = "whole.yaml") -> Whole:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_config(folder / name, Whole)


def test_every_path_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and outputs, in sections, unions, lists and dictionaries, given or left to their defaults."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.xml").touch()
    content = {
        "source": "a/model.pt",
        "tables": ["mine.xml", "theirs.xml"],
        "parts": ["one.h5", {"path": str(tmp_path / "two.h5")}],
        "named": {"x": {"path": "../three.h5"}},
        "optional": {},
    }
    (folder / "whole.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    config = load_config("project/whole.yaml", Whole)
    assert config.source == folder / "a" / "model.pt"
    assert config.tables == (folder / "mine.xml", "theirs.xml")
    assert [part.path for part in config.parts] == [folder / "one.h5", tmp_path / "two.h5"]
    assert config.named["x"].path == folder / ".." / "three.h5"
    assert config.output.folder == folder / "output"
    assert config.optional is not None and config.optional.folder == folder / "output"


def test_keywords_are_no_paths(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"source": "computed"}).source == "computed"
    assert loaded(tmp_path, {"source": None}).source is None


def test_what_was_written_comes_back_wherever_the_folder_is(tmp_path: Path) -> None:
    content = {"source": "a/model.pt", "parts": ["one.h5"], "time": "2 fs", "tables": ["x.xml"], "sizes": [1, 2]}
    first, second = (loaded(tmp_path / name, content).written(exclude=("seed",)) for name in ("first", "second"))
    assert first == second
    assert first["source"] == "a/model.pt"
    assert first["parts"] == [{"path": "one.h5", "weight": 1.0}]
    assert first["output"] == {"folder": "output", "every": 0.001}
    assert (first["time"], first["sizes"], first["tables"]) == (0.002, [1, 2], ["x.xml"])
    assert "seed" not in first and yaml.safe_dump(first)


def test_a_changed_copy_still_knows_its_folder(tmp_path: Path) -> None:
    changed = loaded(tmp_path, {}).model_copy(update={"source": tmp_path / "b.pt"})
    assert changed.written()["source"] == "b.pt"


def test_without_a_folder_paths_stay() -> None:
    config = parse_config({"source": "model.pt"}, Whole, "test")
    assert config.source == Path("model.pt")
    assert config.written()["source"] == "model.pt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time: 1e400 ps", "time: '1e400 ps' is out of range"),
        ("time: 1e-300 ps", "time: '1e-300 ps' is out of range"),
        ("time: .inf", "time: expected a number with a unit"),
        ("named: {x: {path: p, weight: .inf}}", "named.x.weight: must be a finite number, got inf"),
        ("named: {x: {path: p, weight: 1e999}}", "named.x.weight: must be a finite number, got inf"),
        ("named: {x: {path: p, weight: .nan}}", "named.x.weight: "),
        ("options: {accuracy: .nan}", "options: must be a finite number, got nan"),
        ("options: {deep: [[.inf]]}", "options: must be a finite number, got inf"),
        ("seed: 1099511627776", f"seed: must be a whole number of at most {LARGEST_INTEGER}, got 1099511627776"),
        ("sizes: [1, -99999999999]", "sizes: must be a whole number of at most"),
        ("seed: 1.5", r"seed: .*\(got 1.5\)"),
        ("seed: many", r"seed: .*\(got 'many'\)"),
        ("seed: true", "seed: must be a number, not true or false"),
        ("seed: off", "seed: must be a number, not true or false"),
        ("sizes: [1, yes]", "sizes: must be a number, not true or false"),
        ("named: {x: {path: p, weight: on}}", "named.x.weight: must be a number, not true or false"),
    ],
)
def test_every_number_is_finite_and_in_range(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(tmp_path, text)
    assert str(tmp_path / "whole.yaml") in str(caught.value)


def test_sections_made_in_python_are_checked_too() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Part(path=Path(), weight=float("inf"))
    with pytest.raises(ValidationError, match="frozen"):
        Part(path=Path()).weight = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tmie: 1 ps", "unknown key 'tmie', did you mean time?"),
        ("zzz: 1", "unknown key 'zzz', known here: time, wait"),
        ("1: 2", "unknown key '1'"),
        ("output: {foldr: x}", r"unknown key 'output.foldr', did you mean output.folder\?"),
        ("optional: {foldr: x}", "did you mean optional.folder"),
        ("parts: [a, {pat: b}]", "unknown key 'parts.1.pat', did you mean parts.1.path"),
        ("named: {x: {pth: b}}", "did you mean named.x.path"),
        ("named: {x: {}}", "named.x.path is missing"),
        ("parts: [{}]", "parts.0.path is missing"),
        ("parts: {}", "parts: must be a list"),
        ("source: 3", r"source: must be 'computed' or must be a path \(got 3\)"),
        ("output: 3", r"output: must be a mapping \(got 3\)"),
        ("time: -1 fs\nseed: x", "time: must be positive, got -0.001; seed: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "is not valid YAML"),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice"),
        ("a: {b: 1, b: 1}", "the key 'b' stands twice"),
        ("- 1", r"must hold a mapping \(time, .*\), not list"),
        ("", r"must hold a mapping .*, not NoneType"),
        ("time: 2020-13-45", "has a value that cannot be read"),
        ("seed: " + "9" * 5000, "has a value that cannot be read"),
    ],
)
def test_files_that_hold_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: give the path of a YAML"):
        load_config(tmp_path / "none.yaml", Whole)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_yaml(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("value", "seconds"), [("90 s", 90.0), ("1.5 h", 5400.0), ("2h", 7200.0), (30, 30.0), ("1e2", 100.0), (0, 0.0)]
)
def test_quantities(value: str | float, seconds: float) -> None:
    assert parse_config({"wait": value}, Whole, "test").wait == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"time": 0.5}, "needs a unit: write for example '0.5 fs'"),
        ({"time": "0.5 s"}, "unknown unit 's' in '0.5 s': use one of fs, ps"),
        ({"time": "0 fs"}, "must be positive"),
        ({"wait": "-1 s"}, "must not be negative"),
        ({"time": "soon"}, "expected a number with a unit"),
        ({"time": True}, "expected a number with a unit"),
        ({"time": "nan fs"}, "expected a number"),
    ],
)
def test_what_is_no_quantity(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(content, Whole, "test")
