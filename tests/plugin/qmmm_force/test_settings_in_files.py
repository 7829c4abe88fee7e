"""Settings of engines through XML, pickle and copies; and what a file can and cannot make a process do."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openmm
import pytest

from openmmkstep import QMMMForce, TorchScriptForce
from tests.support.models.springs import write_springs
from tests.support.qmmm.molecules import make_topology

SETTINGS: dict[str, dict[str, Any]] = {
    "a text at the end": {"accuracy": 0.01, "basis": "def2-SVP"},
    "a quotation mark at the end": {"comment": 'called "this"'},
    "nothing but a quotation mark": {"comment": '"'},
    "one in a name": {'a"b': 1},
    "an empty text": {"comment": ""},
    "spaces at the end": {"comment": "text   "},
    "nothing but spaces": {"comment": "  "},
    "other alphabets": {"comment": "ünïcödé ✓ 漢字 \U0001f600 \u2028"},
    "marks of XML": {"comment": "<tag a='1'> &amp; ]]> --> \\"},
    "control characters": {"comment": "\t\n\r\x00\x7f"},
    "nested": {"scf": {"steps": [1, 2.5, None, True, "x"], "deep": {"z": 'q"'}}},
    "numbers": {"large": 10**30, "small": 5e-324, "third": 1 / 3},
    "a path": {"library": "/usr/lib"},
    "none": {},
}


def in_a_system(force: openmm.Force, change: Callable[[openmm.System], openmm.System]) -> openmm.Force:
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(copy.copy(force))
    changed = change(system)
    # A force that is handed out by a System ends with it.
    return copy.copy(QMMMForce.cast(changed.getForce(0)))


ROUND_TRIPS: dict[str, Callable[[openmm.Force], openmm.Force]] = {
    "xml": lambda force: openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force)),
    "pickle": lambda force: pickle.loads(pickle.dumps(force)),
    "copy": copy.deepcopy,
    "xml of a system": lambda force: in_a_system(
        force, lambda s: openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(s))
    ),
    "pickle of a system": lambda force: in_a_system(force, lambda s: pickle.loads(pickle.dumps(s))),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("way", ROUND_TRIPS)
def test_settings_come_back(name: str, way: str) -> None:
    force = QMMMForce([0], [17], "any-engine", charge=-1, settings=SETTINGS[name])
    for _ in range(3):
        force = QMMMForce.cast(ROUND_TRIPS[way](force))
        assert force.getEngineSettings() == SETTINGS[name]


def context_of(force: openmm.Force) -> openmm.Context:
    system = openmm.System()
    system.addParticle(35.0)
    system.addForce(force)
    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


@pytest.mark.parametrize("setting", ["library", "path", "LD_PRELOAD"])
@pytest.mark.parametrize("engine", ["gfn2-xtb", "gfn1-xtb", "test-analytic"])
def test_no_path_of_a_library_in_settings(engine: str, setting: str) -> None:
    force = QMMMForce([0], [17], engine, charge=-1, settings={setting: "/tmp/libxtb.so"})
    read = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force))
    with pytest.raises(openmm.OpenMMException, match=f"setting '{setting}' is not known"):
        context_of(read)


@pytest.mark.parametrize("engine", ["dftb+", "orca", "gfn3-xtb"])
def test_files_that_name_an_unknown_engine(engine: str) -> None:
    """They can be read, looked at and written again; a Context needs the engine, and says what there is."""
    force = QMMMForce([0], [17], engine, charge=-1, settings={"basis": "x"})
    text = openmm.XmlSerializer.serialize(force)
    read = QMMMForce.cast(openmm.XmlSerializer.deserialize(text))
    assert (read.getEngine(), read.getEngineSettings()) == (engine, {"basis": "x"})
    assert openmm.XmlSerializer.serialize(read) == text
    there_are = "there are .*gfn1-xtb"
    with pytest.raises(openmm.OpenMMException, match=rf"no QM engine '{engine.replace('+', '.')}'; {there_are}"):
        context_of(read)


HOSTILE = """
import os, sys
import openmm, openmmkstep

def mapped():
    return {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}

# What the engines themselves need is loaded first.
helium = openmm.System()
helium.addParticle(4.0)
helium.addForce(openmmkstep.QMMMForce([0], [2]))
openmm.Context(helium, openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference"))
before, modules = mapped(), set(sys.modules)
for file in sys.argv[1:]:
    system = openmm.XmlSerializer.deserialize(open(file).read())
    try:
        openmm.Context(system, openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference"))
        print("a Context")
    except openmm.OpenMMException as error:
        print(error)
print(sorted(mapped() - before), sorted(name for name in set(sys.modules) - modules if "hostile" in name))
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a module and a shared library that say so if they are loaded."""
    (tmp_path / "hostile_module.py").write_text("print('LOADED', flush=True)\nclass Engine: pass\n")
    source = tmp_path / "hostile.c"
    source.write_text('#include <stdio.h>\n__attribute__((constructor)) void f(void) { puts("LOADED"); fflush(0); }\n')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libhostile.so", source], check=True)
    return tmp_path


def run_on(hostile: Path, texts: list[str]) -> list[str]:
    """Lines of a process that makes a Context of each file: what came of them, and what has been loaded."""
    files = []
    for number, text in enumerate(texts):
        files.append(hostile / f"system{number}.xml")
        files[-1].write_text(text)
    path = os.pathsep.join([str(hostile), *filter(None, sys.path)])
    command = [sys.executable, "-c", HOSTILE, *files]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=hostile, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_name_of_an_engine_loads_nothing(hostile: Path) -> None:
    names = ["hostile_module", "hostile_module:Engine", "hostile_module.Engine", f"{hostile}/libhostile.so"]
    texts = []
    for engine in [*names, "libhostile.so", "../libhostile"]:
        system = openmm.System()
        system.addParticle(4.0)
        system.addForce(QMMMForce([0], [2], engine))
        texts.append(openmm.XmlSerializer.serialize(system))
    *lines, last = run_on(hostile, texts)
    assert len(lines) == 6 and all("There is no QM engine" in line for line in lines)
    assert last == "[] []"


def test_an_archive_brings_no_library_along(hostile: Path) -> None:
    """The compiled form of a surrogate is one; its path is no part of the file, and is not read from one."""
    topology = make_topology([("H2", ["H", "H"], [(0, 1)])])
    write_springs(hostile / "springs.pt", topology, [[0, 0, 0], [0.1, 0, 0]])
    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    system.addForce(TorchScriptForce(str(hostile / "springs.pt"), [0, 1], [1, 1]))
    text = openmm.XmlSerializer.serialize(system)
    library = hostile / "libhostile.so"
    names = ("compiled", "compiledPackage", "package", "library", "path")
    added = " ".join(f'{name}="{library}"' for name in names)
    changed = text.replace('type="KStepTorchScriptForce"', f'type="KStepTorchScriptForce" {added}')
    assert changed != text
    first, last = run_on(hostile, [changed])
    assert first == "a Context" and "hostile" not in last
