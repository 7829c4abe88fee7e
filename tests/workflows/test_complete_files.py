"""Files of CHARMM and GROMACS in configurations, against the systems that OpenMM makes of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_models.configuration import ConfigError, parse_config
from openmmkstep.workflows.config.sections import SystemSection
from openmmkstep.workflows.setup.molecular_system import PreparationError, SystemBuilder
from tests.qmmm.test_force_fields import FORMALDEHYDE, PRM, PSF, TOP, two_of_them


def _gro(points: np.ndarray, box: str) -> str:
    lines = [
        f"{1 + i // 4:5d}{'FRM':5s}{'A':>5s}{i + 1:5d}{x:8.3f}{y:8.3f}{z:8.3f}" for i, (x, y, z) in enumerate(points)
    ]
    return "\n".join(["frm", f"{len(points):5d}", *lines, box, ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("frm.psf", PSF), ("frm.prm", PRM), ("frm.top", TOP)):
        (tmp_path / name).write_text(text)
    (tmp_path / "one.gro").write_text(_gro(FORMALDEHYDE, "0 0 0"))
    (tmp_path / "two.gro").write_text(_gro(two_of_them(0.5), "0 0 0"))
    (tmp_path / "boxed.gro").write_text(_gro(two_of_them(0.5), "2.5 2.6 2.7"))
    return tmp_path


CHARMM: dict[str, Any] = {"psf": "frm.psf", "parameters": ["frm.prm"], "coordinates": "one.gro"}
GROMACS: dict[str, Any] = {"top": "frm.top", "coordinates": "two.gro"}


def _section(folder: Path, content: dict[str, Any]) -> SystemSection:
    return parse_config(content, SystemSection, "test", folder)


def _forces(system: openmm.System, positions: Any) -> tuple[float, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize("box", [None, [2.5, 2.6, 2.7]], ids=["cluster", "box"])
@pytest.mark.parametrize("source", ["charmm", "gromacs"])
def test_energies_are_those_of_the_same_files_in_openmm(folder: Path, source: str, box: list[float] | None) -> None:
    settings = dict(CHARMM if source == "charmm" else GROMACS)
    if box is not None:
        settings["box"] = [f"{width} nm" for width in box]
    molecules = SystemBuilder(_section(folder, settings)).build()
    method = {"nonbondedMethod": app.NoCutoff if box is None else app.PME, "nonbondedCutoff": 0.9 * unit.nanometer}
    lengths = None if box is None else openmm.Vec3(*box) * unit.nanometer
    if source == "charmm":
        psf = app.CharmmPsfFile(str(folder / "frm.psf"), unitCellDimensions=lengths)
        expected = psf.createSystem(app.CharmmParameterSet(str(folder / "frm.prm")), **method)
    else:
        expected = app.GromacsTopFile(str(folder / "frm.top"), unitCellDimensions=lengths).createSystem(**method)
    points = FORMALDEHYDE if source == "charmm" else two_of_them(0.5)
    np.testing.assert_allclose(molecules.positions, points, atol=5.1e-4)
    energy, forces = _forces(molecules.system, molecules.positions)
    expected_energy, expected_forces = _forces(expected, molecules.positions)
    assert energy == pytest.approx(expected_energy, rel=1e-12)
    np.testing.assert_allclose(forces, expected_forces, rtol=1e-10, atol=1e-9)
    assert molecules.system.usesPeriodicBoundaryConditions() == (box is not None)


def test_the_box_of_the_coordinates_is_used(folder: Path) -> None:
    system = SystemBuilder(_section(folder, {**GROMACS, "coordinates": "boxed.gro"})).build().system
    assert system.usesPeriodicBoundaryConditions()
    assert [system.getDefaultPeriodicBoxVectors()[i][i]._value for i in range(3)] == [2.5, 2.6, 2.7]


def _crd(points: np.ndarray) -> str:
    """The extended form of a CHARMM card file."""
    lines = [
        f"{i + 1:10d}{1:10d}  {'FRM':8s}  {f'A{i + 1}':8s}"
        f"{x:20.10f}{y:20.10f}{z:20.10f}  {'FRM':8s}  {'1':8s}{0:20.10f}"
        for i, (x, y, z) in enumerate(10 * points)
    ]
    return "\n".join(["* FORMALDEHYDE", "*", f"{len(points):10d}  EXT", *lines, ""])


@pytest.mark.parametrize("ending", ["crd", "cor", "pdb", "cif", "mmcif", "PDB"])
def test_coordinates_in_other_formats(folder: Path, ending: str) -> None:
    """Of the same atoms: the topology is that of the PSF file, whatever residues and bonds the coordinates name."""
    file = folder / f"frm.{ending}"
    if ending in ("crd", "cor"):
        file.write_text(_crd(FORMALDEHYDE))
    else:
        psf = app.CharmmPsfFile(str(folder / "frm.psf"))
        format_of = app.PDBxFile if "cif" in ending else app.PDBFile
        with file.open("w") as stream:
            format_of.writeFile(psf.topology, FORMALDEHYDE * unit.nanometer, stream)
    molecules = SystemBuilder(_section(folder, {**CHARMM, "coordinates": file.name})).build()
    np.testing.assert_allclose(molecules.positions, FORMALDEHYDE, atol=5.1e-5)
    assert molecules.topology.getNumAtoms() == 4 and not molecules.system.usesPeriodicBoundaryConditions()


def test_the_box_of_a_pdb_file_is_used(folder: Path) -> None:
    psf = app.CharmmPsfFile(str(folder / "frm.psf"), unitCellDimensions=openmm.Vec3(2.5, 2.6, 2.7) * unit.nanometer)
    with (folder / "frm.pdb").open("w") as stream:
        app.PDBFile.writeFile(psf.topology, FORMALDEHYDE * unit.nanometer, stream)
    system = SystemBuilder(_section(folder, {**CHARMM, "coordinates": "frm.pdb"})).build().system
    assert [system.getDefaultPeriodicBoxVectors()[i][i]._value for i in range(3)] == pytest.approx([2.5, 2.6, 2.7])


def test_files_that_a_gromacs_topology_includes(folder: Path) -> None:
    """They are beside it, or in the folder that is named."""
    whole = SystemBuilder(_section(folder, GROMACS)).build()
    start = TOP.index("[ moleculetype ]")
    end = TOP.index("[ system ]")
    (folder / "parts").mkdir()
    (folder / "parts" / "frm.itp").write_text(TOP[start:end])
    (folder / "frm.top").write_text(f'{TOP[:start]}#include "frm.itp"\n{TOP[end:]}')
    with pytest.raises(PreparationError, match=r"frm.top cannot be read.*frm.itp"):
        SystemBuilder(_section(folder, GROMACS))
    divided = SystemBuilder(_section(folder, {**GROMACS, "include_folder": "parts"})).build()
    energies = [_forces(molecules.system, molecules.positions)[0] for molecules in (whole, divided)]
    assert energies[0] == energies[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**GROMACS, "coordinates": "one.gro"}, r"frm.top has 8 atoms, and system.coordinates: .*one.gro has 4"),
        ({**GROMACS, "coordinates": "boxed.gro", "box": ["3 nm"] * 3}, "boxed.gro has a box already"),
        ({**GROMACS, "top": "no.top"}, r"system.top: .*no.top does not exist"),
        ({**GROMACS, "include_folder": "nowhere"}, "nowhere is no folder"),
        ({**GROMACS, "coordinates": "frm.top"}, r"system.coordinates: .*frm.top cannot be read"),
        ({**CHARMM, "parameters": ["no.prm"]}, r"system.parameters: .*no.prm does not exist"),
        ({**CHARMM, "psf": "frm.top"}, r"system.psf: .*frm.top cannot be read"),
    ],
)
def test_files_that_do_not_fit(folder: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(PreparationError, match=message):
        SystemBuilder(_section(folder, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**GROMACS, **CHARMM}, "give either 'structure'"),
        ({"top": "frm.top"}, "'coordinates' and one of"),
        ({"psf": "frm.psf", "coordinates": "one.gro"}, "'psf' and 'parameters' belong together"),
        ({**CHARMM, "include_folder": "."}, "'include_folder' is for 'top'"),
        ({**CHARMM, "force_field": ["amber14-all.xml"]}, "'force_field' is for 'structure'"),
        ({**GROMACS, "solvent": {"box_size": "2 nm"}}, "'solvent' needs 'structure'"),
    ],
)
def test_keys_that_contradict_each_other(folder: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _section(folder, content)
