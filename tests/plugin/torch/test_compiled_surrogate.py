"""Archives compiled ahead of time: the same numbers as interpreted ones, the cache, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest

from kstep_models.contract import ContractError
from kstep_models.potential import compilation
from kstep_models.potential.compilation import CompilationError, cached_package, compile_archive
from openmmkstep import TorchScriptForce
from openmmkstep.qmmm.system_copy import copy_without
from openmmkstep.surrogates.compilation import compiled_package
from tests.plugin.torch.test_torchscript_force import NUMBERS, PARTICLES, context_of, energy_of, environment
from tests.support.finite_differences import derivative
from tests.support.models.archives import COUPLED, Coupled, PairEnergyAndForces, Raises, archive, contract
from tests.support.platforms import accuracy

COMPLETE = {"level_of_theory": {"method": "springs"}, "training_data": {"digest": "none"}}
MODULES = {"uncoupled": (PairEnergyAndForces(), {}), "coupled": (Coupled(), COUPLED)}


def write(folder: Path, module, changes) -> Path:
    path = folder / "model.pt"
    path.write_bytes(archive(module, contract(**changes, **COMPLETE)))
    return path


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.compile) for name in MODULES])
def compiled(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """What it is, an archive and its package; in double precision."""
    folder = tmp_path_factory.mktemp("compiled")
    path = write(folder, *MODULES[request.param])
    package = folder / "model.pt2"
    assert compile_archive(path, len(NUMBERS), package) < 1e-12
    assert sorted(file.name for file in folder.iterdir()) == ["model.pt", "model.pt2"]
    return request.param, path, package


def test_same_energies_and_forces(compiled, force_platform):
    """In vacuum, and on the embedding charges too where there are any."""
    kind, path, package = compiled
    for in_charges in (False, True) if kind == "coupled" else (False,):
        results = []
        for name in ("", package):
            system, positions, every, _ = environment()
            force = TorchScriptForce(path, PARTICLES, NUMBERS)
            force.setCompiledPackage(name)
            assert force.getCompiledPackage() == str(name)
            if in_charges:
                force.setEmbeddingCharges(every)
            context = context_of(system, force, force_platform, positions)
            state = context.getState(energy=True, forces=True)
            results.append((state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value))
        (energy, forces), (compiled_energy, compiled_forces) = results
        tolerance = accuracy(force_platform)
        assert compiled_energy == pytest.approx(energy, rel=tolerance.energy)
        np.testing.assert_allclose(compiled_forces, forces, atol=tolerance.forces * abs(forces).max())


def test_forces_are_derivatives(compiled, reference):
    kind, path, package = compiled
    system, positions, _, cut = environment()
    force = TorchScriptForce(path, PARTICLES, NUMBERS)
    force.setCompiledPackage(package)
    if kind == "coupled":
        force.setEmbeddingCharges(cut)
    context = context_of(system, force, reference, positions)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    numerical = -derivative(lambda x: energy_of(context, x), positions, 1e-4)
    assert abs(forces - numerical).max() < 1e-7 * abs(forces).max()


def test_no_part_of_the_xml_form(compiled):
    """XML is data: it must not name code that a later reader would run."""
    _, path, package = compiled
    force = TorchScriptForce(path, PARTICLES, NUMBERS)
    force.setCompiledPackage(package)
    xml = openmm.XmlSerializer.serialize(force)
    assert package.name not in xml
    assert TorchScriptForce.cast(openmm.XmlSerializer.deserialize(xml)).getCompiledPackage() == ""


def test_copies_of_a_mixed_system_stay_compiled(compiled):
    _, path, package = compiled
    system, *_ = environment()
    force = TorchScriptForce(path, PARTICLES, NUMBERS)
    force.setCompiledPackage(package)
    force.setForceGroup(1)
    system.addForce(openmm.CMMotionRemover())
    system.addForce(force)
    copy = copy_without(system, lambda other: isinstance(other, openmm.CMMotionRemover))
    assert copy.getNumForces() == 1
    assert TorchScriptForce.cast(copy.getForce(0)).getCompiledPackage() == str(package)


def test_refuses_the_package_of_another_archive(compiled, reference, tmp_path):
    kind, _, package = compiled
    original, changes = MODULES[kind]
    module = type(original)(stiffness=1100.0)
    system, positions, *_ = environment()
    force = TorchScriptForce(write(tmp_path, module, changes), PARTICLES, NUMBERS)
    force.setCompiledPackage(package)
    with pytest.raises(openmm.OpenMMException, match=r"was made from another one.*kstep compile"):
        context_of(system, force, reference, positions)


@pytest.mark.parametrize("content", [None, b"not a package"])
def test_refuses_what_is_no_package(reference, tmp_path, content):
    path = write(tmp_path, *MODULES["uncoupled"])
    package = tmp_path / "broken.pt2"
    if content is not None:
        package.write_bytes(content)
    system, positions, *_ = environment()
    force = TorchScriptForce(path, PARTICLES, NUMBERS)
    force.setCompiledPackage(package)
    with pytest.raises(openmm.OpenMMException, match=r"broken\.pt2 (does not exist|cannot be loaded).*kstep compile"):
        context_of(system, force, reference, positions)


def test_cache(compiled, tmp_path, monkeypatch):
    """Found again without compiling; another archive, number of atoms or processor has a package of its own."""
    _, path, package = compiled
    monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / "cache"))
    place = cached_package(path, len(NUMBERS))
    assert place.parent == tmp_path / "cache"
    place.parent.mkdir()
    place.write_bytes(package.read_bytes())
    monkeypatch.setattr(compilation, "compile_archive", None)
    assert compiled_package(path, len(NUMBERS)) == place
    assert cached_package(path, 5) != place
    monkeypatch.setattr(compilation, "_processor", lambda: "another")
    assert cached_package(path, len(NUMBERS)) != place


def test_interpreted_where_there_is_no_compiler(tmp_path, monkeypatch):
    path = write(tmp_path, *MODULES["uncoupled"])
    monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compilation, "find_compiler", lambda: None)
    with pytest.warns(UserWarning, match=r"interpreted instead of compiled: .*install g\+\+"):
        assert compiled_package(path, len(NUMBERS)) is None


@pytest.mark.compile
def test_what_cannot_be_compiled(tmp_path):
    package = tmp_path / "model.pt2"
    with pytest.raises(CompilationError, match="could not be compiled"):
        compile_archive(write(tmp_path, Raises(), {}), 4, package)
    with pytest.raises(ContractError, match="molecule of 4 atoms, not 5"):
        compile_archive(write(tmp_path, PairEnergyAndForces(), {"atomic_numbers": NUMBERS}), 5, package)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
