"""The house rules that a reader relies on: imports point one way, and a folder can be taken in at a glance."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = {"openmmkstep": "python", "kstep_models": "torchscript_models", "kstep_training": "training"}
MAX_MODULES = 12

FLOORS = (
    ("kstep_models",),
    (
        "openmmkstep.units",
        "openmmkstep.terminal",
        "openmmkstep.provenance",
        "openmmkstep.offers",
        "openmmkstep.analysis",
    ),
    # The face loads lazily what stands above it.
    ("openmmkstep", "openmmkstep._libraries", "openmmkstep._plugin"),
    ("openmmkstep.openmmapi", "openmmkstep.surrogates", "openmmkstep.engines"),
    ("openmmkstep.qmmm",),
    ("openmmkstep.io",),
    (
        "openmmkstep.reporters",
        "openmmkstep.rttddft",
        "openmmkstep.ase",
        "openmmkstep.openmm_ml",
        "openmmkstep.learning",
        "kstep_training",
    ),
    ("openmmkstep.workflows",),
    ("openmmkstep.cli",),
)
"""From the ground up. A package may import what is on its own floor or below; `kstep_training` alone nothing of
`openmmkstep`."""


def _modules() -> dict[str, Path]:
    modules = {}
    for package, root in PACKAGES.items():
        for file in (PROJECT / root / package).rglob("*.py"):
            name = ".".join(file.relative_to(PROJECT / root).with_suffix("").parts)
            modules[name.removesuffix(".__init__")] = file
    return modules


MODULES = _modules()


def _imports(module: str) -> Iterator[str]:
    """Modules of the project that one imports, wherever it does."""
    file = MODULES[module]
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else base for name in names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


IMPORTS = {module: sorted(set(_imports(module))) for module in MODULES}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("openmmkstep.") else module.split(".")[0]


FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def test_every_room_has_a_floor() -> None:
    assert {_room(module) for module in MODULES} == set(FLOOR)


def test_imports_point_down() -> None:
    upward = [
        f"{module} -> {target}"
        for module, targets in IMPORTS.items()
        for target in targets
        if module != "openmmkstep" and FLOOR[_room(target)] > FLOOR[_room(module)]
    ]
    assert not upward


@pytest.mark.parametrize("package", ["kstep_models", "kstep_training"])
def test_networks_and_training_know_nothing_of_the_plugin(package: str) -> None:
    known = {
        target.split(".")[0] for module, targets in IMPORTS.items() if _room(module) == package for target in targets
    }
    assert known <= {"kstep_models", package}


def test_rttddft_needs_neither_the_plugin_nor_configurations() -> None:
    rooms = {
        _room(target) for module in MODULES if _room(module) == "openmmkstep.rttddft" for target in IMPORTS[module]
    }
    assert rooms <= {"openmmkstep.rttddft", "openmmkstep.units", "kstep_models"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A package's face imports its modules; that they stand in it is no import.
    graph = {
        module: {target for target in targets if target in MODULES and not f"{module}.".startswith(f"{target}.")}
        for module, targets in IMPORTS.items()
        if module != "openmmkstep"
    }
    _assert_no_circle(graph)


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda path: path.name)
def test_folders_stand_on_each_other(folder: Path) -> None:
    """Side by side in a folder, modules and folders depend on each other in one direction."""
    prefix = next(name for name, path in MODULES.items() if path == folder / "__init__.py")

    def child(module: str) -> str | None:
        rest = module.removeprefix(prefix + ".")
        return rest.split(".")[0] if module.startswith(prefix + ".") else None

    graph: dict[str, set[str]] = {}
    for module, targets in IMPORTS.items():
        own = child(module)
        if own is not None:
            others = {child(target) for target in targets} - {None, own}
            graph.setdefault(own, set()).update(name for name in others if name is not None)
    _assert_no_circle(graph)


def _assert_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def _source_folders() -> Iterator[tuple[Path, list[Path]]]:
    suffixes = {".py", ".cpp"}
    for top in ("plugin", "python", "torchscript_models", "training", "tests", "examples"):
        files = [
            file for file in (PROJECT / top).rglob("*") if file.suffix in suffixes and "__pycache__" not in file.parts
        ]
        for folder in sorted({file.parent for file in files}):
            yield folder, [file for file in files if file.parent == folder and not file.name.startswith("__")]


def test_no_folder_has_more_modules_than_one_takes_in() -> None:
    crowded = {
        str(folder.relative_to(PROJECT)): len(files) for folder, files in _source_folders() if len(files) > MAX_MODULES
    }
    assert not crowded


def test_modules_have_snake_case_names() -> None:
    names = [file for _, files in _source_folders() for file in files if file.suffix == ".py"]
    assert not [str(file) for file in names if not re.fullmatch(r"_?[a-z][a-z0-9_]*", file.stem)]
