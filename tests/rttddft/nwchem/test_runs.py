"""NWChem itself: that it takes the input, does what is said about it, and that its failures are reported."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from openmmkstep.rttddft.nwchem import (
    NWChemDelta,
    NWChemGaussian,
    NWChemInput,
    NWChemMissingError,
    NWChemRunError,
    basis_order,
    delta_for_impulse,
    field_of,
    find_nwchem,
    read_output,
    read_restart,
    read_snapshot,
    run_nwchem,
)
from tests.support.electrons.nwchem_jobs import DATA, FAILING_JOB, JOBS, converged_mean_field

needs_nwchem = pytest.mark.skipif(
    shutil.which("nwchem") is None, reason="NWChem is not installed (apt-get install nwchem)"
)


def _program(path: Path, script: str) -> str:
    path.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(NWChemMissingError, match="apt-get install nwchem"):
        find_nwchem(program=str(tmp_path / "nwchem"))
    program = _program(tmp_path / "nwchem", "exit 0\n")
    assert find_nwchem(program=program) == [program]
    with pytest.raises(NWChemMissingError, match="2 processes need"):
        find_nwchem(2, program, launcher=str(tmp_path / "mpirun"))
    with pytest.raises(NWChemRunError, match="processes"):
        find_nwchem(0, program)


def test_failure_without_a_word(tmp_path: Path) -> None:
    program = _program(tmp_path / "nwchem", "echo all is lost\nexit 3\n")
    with pytest.raises(NWChemRunError, match=r"status 3(?s:.*)all is lost"):
        run_nwchem(JOBS["water_hf"], tmp_path / "run", program=program)


def test_timeout_ends_all_processes(tmp_path: Path) -> None:
    program = _program(tmp_path / "nwchem", "sleep 600 & echo $! > child\nwait\n")
    with pytest.raises(NWChemRunError, match=r"ended after 0\.5 s"):
        run_nwchem(JOBS["water_hf"], tmp_path / "run", timeout=0.5, program=program)
    child = int((tmp_path / "run" / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split(")")[1].split()[0] == "Z"
    assert not list((tmp_path / "run" / "permanent").iterdir())


def test_passing_failure_is_tried_again(tmp_path: Path) -> None:
    # Fails like NWChem at first, then leaves what NWChem leaves.
    rule = "-" * 72
    message = (
        f"{rule}\\n rt_tddft_field_rtdb_get: Read failed for name rtdb  0\\n{rule}\\n{rule}\\n current input line :"
    )
    script = (
        f"if [ ! -e tried ]; then touch tried; printf ' {message}\\n'; exit 255; fi\n"
        f"cat '{DATA / 'water_hf.out'}'\ncat '{DATA / 'water_hf.rt_restart'}' > permanent/water_hf.rt_restart\n"
    )
    job = dataclasses.replace(JOBS["water_hf"], all_densities=False)
    run = run_nwchem(job, tmp_path, program=_program(tmp_path / "nwchem", script))
    assert len(run.densities) == 1


def test_folder_without_named_pipes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.mkfifo", refuse)
    with pytest.raises(NWChemRunError, match="local disk"):
        run_nwchem(JOBS["water_hf"], tmp_path, program=_program(tmp_path / "nwchem", "exit 0\n"))


def test_missing_densities_are_noticed(tmp_path: Path) -> None:
    script = f"cat '{DATA / 'water_hf.out'}'\ncat '{DATA / 'water_hf.rt_restart'}' > permanent/water_hf.rt_restart\n"
    with pytest.raises(NWChemRunError, match="1 density matrices came, expected 21"):
        run_nwchem(JOBS["water_hf"], tmp_path, program=_program(tmp_path / "nwchem", script))


@needs_nwchem
@pytest.mark.parametrize("name", ["water_hf", "cation_hf"])
def test_results_are_the_recorded_ones(name: str, tmp_path: Path) -> None:
    job = JOBS[name]
    run = run_nwchem(job, tmp_path, timeout=300)
    recorded = read_output(DATA / f"{name}.out")
    assert run.output.ground_state_energy == pytest.approx(recorded.ground_state_energy, abs=1e-9)
    np.testing.assert_allclose(run.output.dipole(), recorded.dipole(), atol=1e-7)
    np.testing.assert_allclose([density.time for density in run.densities], job.times, atol=1e-9)
    assert [density.step for density in run.densities] == list(range(job.steps + 1))
    last = read_restart(DATA / f"{name}.rt_restart")
    np.testing.assert_allclose(run.densities[-1].matrices, last.matrices, atol=1e-7)
    if job.snapshots:
        size = run.densities[0].matrices.shape[-1]
        for density in run.densities:
            path = tmp_path / "permanent" / f"{name}.ptot_ao_re.{density.step + 1:010d}"
            np.testing.assert_allclose(read_snapshot(path, size), density.total.real, atol=1e-9)


@needs_nwchem
def test_without_all_densities_that_of_the_ground_state_is_left(tmp_path: Path) -> None:
    job = dataclasses.replace(JOBS["water_hf"], all_densities=False, snapshots=False, steps=3)
    run = run_nwchem(job, tmp_path, timeout=300)
    assert [density.step for density in run.densities] == [0]
    np.testing.assert_allclose(run.output.times, job.times)


@needs_nwchem
def test_densities_wait_for_a_slow_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # More data than a pipe holds, read in small pieces.
    monkeypatch.setattr("openmmkstep.rttddft.nwchem.density_stream._CHUNK", 512)
    job = dataclasses.replace(JOBS["cation_hf"], steps=15)
    run = run_nwchem(job, tmp_path, timeout=300)
    assert len(run.densities) == 16


@needs_nwchem
def test_failure_in_the_words_of_nwchem(tmp_path: Path) -> None:
    with pytest.raises(NWChemRunError, match="no-such-basis"):
        run_nwchem(FAILING_JOB, tmp_path)
    with pytest.raises(NWChemRunError, match=r"nonsense|xc"):
        run_nwchem(dataclasses.replace(JOBS["water_hf"], functional="nonsense"), tmp_path)


@needs_nwchem
@pytest.mark.skipif(shutil.which("mpirun") is None or (os.cpu_count() or 1) < 2, reason="no mpirun, or one core only")
def test_two_processes(tmp_path: Path) -> None:
    job = dataclasses.replace(JOBS["water_hf"], steps=2, snapshots=False)
    run = run_nwchem(job, tmp_path, timeout=300, processes=2)
    np.testing.assert_allclose(run.output.dipole(), read_output(DATA / "water_hf.out").dipole()[:3], atol=1e-7)
    assert len(run.densities) == 3


@needs_nwchem
@pytest.mark.parametrize(
    "fields",
    [
        delta_for_impulse([0.02, 0.03, -0.05], 0.2),
        delta_for_impulse([-0.02, -0.03, 0.05], 0.2),
        (
            NWChemGaussian(0.05, "z", center=2.0, width=0.7, frequency=0.3, phase=0.5),
            NWChemDelta(0.01, "x", center=1.0),
        ),
    ],
    ids=["kick", "opposite kick", "pulse and late kick"],
)
def test_strong_fields_agree_with_pyscf_at_every_step(fields: tuple[NWChemDelta, ...], tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    from tests.support.electrons.magnus_reference import MagnusReference

    job = dataclasses.replace(JOBS["water_hf"], fields=fields, snapshots=False, steps=30)
    run = run_nwchem(job, tmp_path, timeout=300)
    mean_field = converged_mean_field(job)
    order = basis_order(mean_field.mol, run.output.shells)
    expected = MagnusReference(mean_field).propagate(field_of(fields, job.time_step), job.time_step, job.steps)
    assert max(np.abs(one - expected[0]).max() for one in expected) > 0.01
    for density, reference in zip(run.densities, expected, strict=True):
        assert np.abs(order.density(density.spins) - reference).max() < 5e-9


@pytest.mark.slow
@needs_nwchem
@pytest.mark.parametrize(("grid", "grid_level", "tolerance"), [("fine", 4, 1e-7), ("xfine", 7, 1e-8)])
def test_hybrid_functional_agrees_with_pyscf(grid: str, grid_level: int, tolerance: float, tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    from tests.support.electrons.magnus_reference import MagnusReference

    job = dataclasses.replace(JOBS["water_pbe0"], grid=grid, steps=40)
    run = run_nwchem(job, tmp_path, timeout=550)
    mean_field = converged_mean_field(job, grid_level)
    order = basis_order(mean_field.mol, run.output.shells)
    expected = MagnusReference(mean_field).propagate(field_of(job.fields, job.time_step), job.time_step, job.steps)
    for density, reference in zip(run.densities, expected, strict=True):
        found = order.density(density.spins)
        assert np.abs(found - reference).max() < tolerance
        # Of the response the grid is no part.
        change = order.density(density.spins - run.densities[0].spins)
        assert np.abs(change - (reference - expected[0])).max() < 2e-9


@needs_nwchem
def test_spins_apart_give_the_closed_shell(tmp_path: Path) -> None:
    job = dataclasses.replace(JOBS["water_hf"], open_shell=True, steps=3, snapshots=False)
    run = run_nwchem(job, tmp_path, timeout=300)
    assert run.output.is_open_shell
    np.testing.assert_allclose(run.densities[-1].matrices[0], run.densities[-1].matrices[1], atol=1e-9)
    np.testing.assert_allclose(run.output.dipole(), read_output(DATA / "water_hf.out").dipole()[:4], atol=1e-7)


MOLECULES = {
    "H2+": ([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]], "6-31G", 1, 2),
    "LiH": ([3, 1], [[0.0, 0.0, 0.0], [0.1, 0.3, 3.0]], "6-31G*", 0, 1),
    "O2": ([8, 8], [[0.0, 0.0, 0.0], [0.5, 0.3, 2.2]], "6-31G", 0, 3),
    "C2H4": (
        [6, 6, 1, 1, 1, 1],
        [[0, 0, 1.26], [0, 0, -1.26], [0, 1.74, 2.33], [0, -1.74, 2.33], [0, 1.74, -2.33], [0, -1.74, -2.33]],
        "6-31G*",
        0,
        1,
    ),
}


@needs_nwchem
@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_agree_with_pyscf_at_every_step(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    from tests.support.electrons.magnus_reference import MagnusReference

    numbers, positions, basis, charge, multiplicity = MOLECULES[name]
    job = NWChemInput(
        numbers=np.array(numbers),
        positions=np.array(positions),
        basis=basis,
        functional="hf",
        charge=charge,
        multiplicity=multiplicity,
        steps=5,
        time_step=0.2,
        fields=delta_for_impulse([0.0, 1e-4, 2e-4], 0.2),
        density_convergence=1e-10,
        all_densities=True,
    )
    run = run_nwchem(job, tmp_path, timeout=300)
    mean_field = converged_mean_field(job)
    order = basis_order(mean_field.mol, run.output.shells)
    expected = MagnusReference(mean_field).propagate(field_of(job.fields, job.time_step), job.time_step, job.steps)
    for density, reference in zip(run.densities, expected, strict=True):
        assert np.abs(order.density(density.spins) - reference).max() < 1e-8


@pytest.mark.slow
@needs_nwchem
def test_order_of_g_functions(tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    job = NWChemInput(
        numbers=np.array([9, 1]),
        positions=np.array([[0.1, 0.2, -0.1], [0.5, 1.0, 1.4]]),
        basis="cc-pvqz",
        functional="hf",
        steps=1,
        time_step=0.2,
    )
    run = run_nwchem(job, tmp_path, timeout=300)
    mean_field = converged_mean_field(job)
    density = basis_order(mean_field.mol, run.output.shells).density(run.densities[0].total)
    np.testing.assert_allclose(density, mean_field.make_rdm1(), atol=1e-6)


@needs_nwchem
@pytest.mark.parametrize("basis", ["sto-3g", "cc-pvdz", "def2-svp", "cc-pvtz"])
def test_order_of_many_basis_sets(basis: str, tmp_path: Path) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    job = dataclasses.replace(
        JOBS["water_hf"],
        basis=basis,
        steps=1,
        fields=(),
        all_densities=False,
        snapshots=False,
        density_convergence=1e-10,
    )
    run = run_nwchem(job, tmp_path, timeout=300)
    mean_field = converged_mean_field(job)
    density = basis_order(mean_field.mol, run.output.shells).density(run.densities[0].total)
    np.testing.assert_allclose(density, mean_field.make_rdm1(), atol=1e-6)
    assert mean_field.energy_tot(density.real) == pytest.approx(run.output.ground_state_energy, abs=5e-8)
