"""What is loaded when, and another OpenMM or torch that is found first."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from openmmkstep import _libraries, _plugin
from openmmkstep._libraries import IncompatibleLibrariesError, check_libraries, found_first, required_versions
from tests.support.models.springs import write_springs
from tests.support.qmmm.molecules import make_topology

HYDROGEN = ("H2", ["H", "H"], [(0, 1)])
ROOT = Path(__file__).resolve().parents[2]
SITE = Path(_libraries.importlib.metadata.distribution("openmm").locate_file(""))


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a process of its own, with more environment variables."""

    def run(code: str, first: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        path = [str(first)] if first is not None else []
        path += [entry for entry in sys.path if entry]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)

    return run


def test_versions_are_those_of_the_project() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = dict(entry.split("==") for entry in dependencies if "==" in entry)
    assert _libraries._REQUIRED == {name: pinned[name] for name in ("openmm", "torch")} == required_versions()


def test_what_is_installed_here_fits() -> None:
    check_libraries()
    for name in ("openmm", "torch"):
        (found,) = found_first(name)
        assert found.fits and found.path == SITE / name


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import openmmkstep", False),
        ("import openmmkstep.cli", False),
        ("import openmmkstep; openmmkstep.__version__; dir(openmmkstep)", False),
        ("import openmmkstep; assert openmmkstep.pluginLoadFailures == {}", True),
        ("from openmmkstep import QMMMPotential", True),
        ("import openmm, openmmkstep", True),
        ("import openmmkstep.openmmapi", True),
    ],
)
def test_when_the_plugin_is_loaded(
    python: Callable[..., subprocess.CompletedProcess[str]], code: str, loaded: bool
) -> None:
    asked = (
        "import sys; print([name in sys.modules for name in ('openmm', 'torch')], 'libOpenMMKStepReference' in open("
    )
    done = python(f"{code}; {asked}'/proc/self/maps').read())")
    assert done.stdout == f"[{loaded}, {loaded}] {loaded}\n", done.stderr


def test_xml_needs_the_import_only(python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    xml = tmp_path / "integrator.xml"
    written = f"open({str(xml)!r}, 'w').write(openmm.XmlSerializer.serialize(openmmkstep.KStepIntegrator(0.001, 2)))"
    assert python(f"import openmm, openmmkstep; {written}").returncode == 0
    read = f"openmm.XmlSerializer.deserialize(open({str(xml)!r}).read())"
    done = python(f"import openmm, openmmkstep; print({read}.getStepSize())")
    assert done.stdout == "0.002 ps\n", done.stderr


WITHOUT_THE_IMPORT = """
import pickle, sys
import openmm
from openmm import Platform

folder = sys.argv[1]
{load}
with open(folder + "/system.xml") as file:
    system = openmm.XmlSerializer.deserialize(file.read())
with open(folder + "/integrator.xml") as file:
    integrator = openmm.XmlSerializer.deserialize(file.read())
with open(folder + "/system.pickle", "rb") as file:
    assert openmm.XmlSerializer.serialize(pickle.load(file)) == openmm.XmlSerializer.serialize(system)
context = openmm.Context(system, integrator, Platform.getPlatformByName(sys.argv[2]))
context.setPositions([[0, 0, 0], [0.08, 0, 0]])
integrator.step(3)
assert not any(name.split(".")[0] == "openmmkstep" for name in sys.modules)
print(context.getState(positions=True).getPositions(asNumpy=True)._value.tolist())
"""


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
@pytest.mark.parametrize("load", ["loadPluginLibrary", "loadPluginsFromDirectory", None])
def test_files_are_read_and_run_without_the_package(tmp_path: Path, load: str | None, platform: str) -> None:
    """A Python with OpenMM that is told where the plugin is: System, integrator, archive and native engine."""
    import openmm

    from openmmkstep import KStepIntegrator, QMMMForce, TorchScriptForce

    system = openmm.System()
    for _ in range(2):
        system.addParticle(1.0)
    archive = write_springs(tmp_path / "springs.pt", make_topology([HYDROGEN]), [[0, 0, 0], [0.074, 0, 0]])
    for group, force in ((1, TorchScriptForce(archive, [0, 1], [1, 1])), (2, QMMMForce([0, 1], [1, 1]))):
        force.setForceGroup(group)
        system.addForce(force)
    integrator = KStepIntegrator(0.0005, 2)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    (tmp_path / "integrator.xml").write_text(openmm.XmlSerializer.serialize(integrator))
    (tmp_path / "system.pickle").write_bytes(pickle.dumps(system))
    plugins = _plugin.PLUGIN_FOLDER
    lines = {
        "loadPluginLibrary": f"Platform.loadPluginLibrary({str(plugins / 'libOpenMMKStepReference.so')!r})",
        "loadPluginsFromDirectory": f"assert Platform.loadPluginsFromDirectory({str(plugins)!r})",
        None: "",
    }
    code = WITHOUT_THE_IMPORT.format(load=lines[load])
    # With the packages of this Python only: nothing of the project is on its path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, tmp_path, platform]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    if load is None:
        assert "no serialization proxy registered for type 'KStep" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions([[0, 0, 0], [0.08, 0, 0]])
    integrator.step(3)
    expected = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-12)


def test_unknown_names() -> None:
    import openmmkstep

    with pytest.raises(AttributeError, match="no attribute 'KStepIntegrater'"):
        _ = openmmkstep.KStepIntegrater


def package(folder: Path, name: str, version: str) -> Path:
    """A package that ends the process when it is imported, as symbols that do not fit would."""
    made = folder / name
    made.mkdir(parents=True)
    (made / "__init__.py").write_text("import os; os._exit(127)\n")
    label = "short_version" if name == "openmm" else "__version__"
    (made / "version.py").write_text(f"{label} = '{version}'\n")
    return made


@pytest.mark.parametrize(("name", "version"), [("openmm", "8.2.0"), ("torch", "2.4.1+cu121"), ("openmm", "")])
@pytest.mark.parametrize("code", ["from openmmkstep import QMMMPotential", "import openmmkstep.openmmapi"])
def test_another_package_found_first(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, name: str, version: str, code: str
) -> None:
    made = package(tmp_path, name, version)
    if not version:
        (made / "version.py").unlink()
    done = python(code, tmp_path)
    assert done.returncode == 1, done
    required = required_versions()[name]
    message = done.stderr.splitlines()[-1]
    assert f"built for {name} {required}, but {version or 'unknown'} is found first, in {made}" in message
    assert f"is installed in {SITE / name}): take {tmp_path} out of PYTHONPATH" in message


def library(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"no library")
    return folder / name


def test_another_torch_library_found_first(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """As of a torch for C++, whose version lies beside its libraries."""
    found = library(tmp_path / "libtorch" / "lib", "libtorch_cpu.so")
    for version, message in (("2.4.1", "2.4.1"), (None, "unknown")):
        if version is not None:
            (tmp_path / "libtorch" / "build-version").write_text(f"{version}\n")
        else:
            (tmp_path / "libtorch" / "build-version").unlink()
        done = python("from openmmkstep import QMMMPotential", LD_LIBRARY_PATH=f"/nowhere:{found.parent}")
        installed = f"{_libraries.importlib.metadata.version('torch')} is installed in {SITE / 'torch'}"
        assert f"but {message} is found first, in {found} ({installed}): take {found.parent} out of LD" in done.stderr


def test_the_same_library_by_another_name_is_no_other(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "lib").symlink_to(SITE / "torch" / "lib")
    done = python("import openmmkstep; print(openmmkstep.pluginLoadFailures)", LD_LIBRARY_PATH=str(tmp_path / "lib"))
    assert done.stdout == "{}\n", done.stderr


def test_another_openmm_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It matters where the extension module of OpenMM does not name the folder of its own library."""
    own = SITE / "OpenMM.libs" / "lib" / "libOpenMM.so"
    other = tmp_path / "other" / "lib"
    other.mkdir(parents=True)
    shutil.copy(own, other / "libOpenMM.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(other))
    assert len(list(found_first("openmm"))) == 1  # the wheel's own goes first
    monkeypatch.setattr(_libraries, "_searches_its_own_folders_first", lambda _: False)
    copied = list(found_first("openmm"))[1]
    # A copy of the same version is asked in a process of its own, and does no harm.
    assert (copied.version, copied.path) == (required_versions()["openmm"], other / "libOpenMM.so")
    check_libraries()
    (other / "libOpenMM.so").write_bytes(b"no library")
    message = rf"but unknown is found first, in {other}.*: take {other} out"
    with pytest.raises(IncompatibleLibrariesError, match=message):
        check_libraries()


def test_folders_of_shared_libraries(tmp_path: Path) -> None:
    """DT_RPATH of the wheel of OpenMM, DT_RUNPATH of that of torch; neither in other files."""
    (openmm_module,) = (SITE / "openmm").glob("_openmm*.so")
    (torch_module,) = (SITE / "torch").glob("_C.*.so")
    assert _libraries._searches_its_own_folders_first(openmm_module)
    assert not _libraries._searches_its_own_folders_first(torch_module)
    content = openmm_module.read_bytes()
    for size in (0, 10, 64, 200):
        (tmp_path / "x.so").write_bytes(content[:size])
        assert not _libraries._searches_its_own_folders_first(tmp_path / "x.so")
