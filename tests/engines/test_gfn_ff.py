"""GFN-FF of libxtb: a function of the geometry, which leaves no files and says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep import EmbeddingCharges, QMMMForce, QMMMPotential, SinglePoint
from openmmkstep.engines.protocol import EngineError
from tests.support.finite_differences import derivative
from tests.support.platforms import reference
from tests.support.qmmm.fixtures import solvated_ala2, solvated_parts
from tests.support.qmmm.molecules import Molecule

__all__ = ["reference", "solvated_ala2", "solvated_parts"]

Array = NDArray[np.float64]

ETHANOL = [6, 6, 8, 1, 1, 1, 1, 1, 1]
# In nm, off the minimum.
POSITIONS = np.array(
    [
        [0.118, -0.040, 0.003],
        [0.002, 0.057, -0.004],
        [-0.119, -0.021, 0.006],
        [0.214, 0.011, 0.002],
        [0.112, -0.104, 0.092],
        [0.115, -0.103, -0.088],
        [0.001, 0.121, 0.087],
        [-0.002, 0.119, -0.092],
        [-0.194, 0.037, -0.003],
    ]
)


@pytest.fixture(autouse=True)
def folders_of_threads() -> None:
    try:
        SinglePoint("gfn-ff", [8, 1, 1]).compute([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
    except EngineError as error:
        if "unshare" not in str(error):
            raise
        pytest.skip(str(error))


XTB_ITSELF = """
import json, sys
import numpy as np
from xtb.interface import Calculator, Param
result = Calculator(Param.GFNFF, *(np.array(each) for each in json.loads(sys.argv[1]))).singlepoint()
print(json.dumps([result.get_energy(), result.get_gradient().tolist()]), file=sys.stderr)
"""


def test_energy_is_that_of_the_python_package_of_xtb(tmp_path: Path) -> None:
    pytest.importorskip("xtb.interface", reason="pip install xtb==22.1")
    # It leaves its files where it is called, and a protocol behind whatever else is printed.
    molecule = json.dumps([ETHANOL, (POSITIONS / 0.0529177210903).tolist()])
    done = subprocess.run(
        [sys.executable, "-c", XTB_ITSELF, molecule], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gfnff_adjacency", "gfnff_topo"]
    energy, gradient = json.loads(done.stderr.splitlines()[-1])
    result = SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS)
    hartree = 2625.4996394798254
    assert result.energy == pytest.approx(energy * hartree, rel=1e-10)
    forces = -np.array(gradient) * hartree / 0.0529177210903
    np.testing.assert_allclose(result.forces, forces, rtol=0, atol=1e-6)
    assert np.isnan(result.atomic_charges).all() and np.isnan(result.dipole).all() and result.orbitals is None


def test_forces_are_derivatives() -> None:
    ethanol = SinglePoint("gfn-ff", ETHANOL)
    expected = -derivative(lambda moved: ethanol.compute(moved).energy, POSITIONS, 1e-4)
    forces = ethanol.compute(POSITIONS).forces
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-6 * np.abs(forces).max())


def test_the_energy_has_no_memory() -> None:
    """Neither of other geometries, nor of other molecules, nor of where the force field was made."""
    ethanol, water = SinglePoint("gfn-ff", ETHANOL), SinglePoint("gfn-ff", [8, 1, 1])
    random = np.random.default_rng(1)
    moved = POSITIONS + random.normal(scale=0.004, size=POSITIONS.shape)
    first = ethanol.compute(POSITIONS)
    ethanol.compute(moved)
    water.compute([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
    again = ethanol.compute(POSITIONS)
    ethanol.reset()
    after = ethanol.compute(POSITIONS)
    for result in (again, after):
        assert result.energy == first.energy
        np.testing.assert_array_equal(result.forces, first.forces)
    other = SinglePoint("gfn-ff", ETHANOL)
    other.compute(moved)
    assert other.compute(POSITIONS).energy == pytest.approx(first.energy, abs=1e-9)


def test_nothing_is_said() -> None:
    """Nor at the end of a process, when Fortran writes what it has kept."""
    code = (
        "from openmmkstep import SinglePoint\n"
        f"ethanol = SinglePoint('gfn-ff', {ETHANOL})\n"
        f"ethanol.compute({POSITIONS.tolist()}), ethanol.reset(), ethanol.compute({POSITIONS.tolist()})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.chdir(tmp_path)
    seen = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.update((Path.cwd(), *Path.cwd().iterdir()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(20):
            SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS)
    finally:
        over.set()
        watcher.join()
    # The folder of the other threads was the same all the time, with nothing in it but the scratch folder.
    assert seen == {tmp_path, scratch} and not any(scratch.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the process if libxtb wrote there itself."""
    monkeypatch.setenv("TMPDIR", "/proc")
    with pytest.raises(EngineError, match="no temporary folder can be made as '/proc/kstep-"):
        SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS)


def test_a_program_in_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    assert np.isfinite(SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS).energy)


def test_in_a_context(reference: openmm.Platform) -> None:
    system = openmm.System()
    for _ in ETHANOL:
        system.addParticle(1.0)
    force = QMMMForce(range(9), ETHANOL, "GFN-FF")
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(POSITIONS)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS).energy, rel=1e-12)
    assert np.isnan(force.getLastResult(context).charges).all()


def test_point_charges_are_refused(solvated_ala2: Molecule, reference: openmm.Platform) -> None:
    system = solvated_ala2.create_system()
    potential = QMMMPotential("gfn-ff")
    potential.createMixedSystem(solvated_ala2.topology, system, range(22), embedding="mechanical")
    with pytest.raises(EngineError, match="takes no point charges with GFN-FF: use embedding='mechanical'"):
        potential.createMixedSystem(solvated_ala2.topology, system, range(22))
    with pytest.raises(EngineError, match="takes no point charges: use mechanical embedding"):
        SinglePoint("gfn-ff", ETHANOL).compute(POSITIONS, [[1, 1, 1]], [0.5])
    by_hand = openmm.System()
    for _ in range(10):
        by_hand.addParticle(1.0)
    by_hand.addForce(QMMMForce(range(9), ETHANOL, "gfn-ff", embeddingCharges=EmbeddingCharges([9], [0.5])))
    context = openmm.Context(by_hand, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(np.concatenate([POSITIONS, [[1, 1, 1]]]))
    with pytest.raises(openmm.OpenMMException, match="takes no point charges: use mechanical embedding"):
        context.getState(energy=True)


def test_other_refusals() -> None:
    with pytest.raises(EngineError, match="GFN-FF covers the elements up to Z = 86"):
        SinglePoint("gfn-ff", [92])
    with pytest.raises(EngineError, match="threads must be a positive integer"):
        SinglePoint("gfn-ff", ETHANOL, threads=0)
    with pytest.raises(EngineError, match="has no setting 'accuracy'"):
        SinglePoint("gfn-ff", ETHANOL, accuracy=0.1)
