"""The reference propagator of this package against recorded results of NWChem, at every step."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.rttddft.nwchem import basis_order, field_of, read_output, read_restart
from tests.support.electrons.nwchem_jobs import DATA, JOBS, pyscf_molecule

pytest.importorskip("pyscf", reason="PySCF is not installed")
pytest.importorskip("openmmkstep.rttddft.simulation", reason="the reference propagator is not installed")

import openmmkstep.rttddft as rt

# Density and dipole; of PBE0 also the difference between the integration grids.
TOLERANCES = {"water_hf": 2e-9, "cation_hf": 5e-9, "water_pbe0": 1e-7}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_reference_propagator_agrees(name: str) -> None:
    job, output = JOBS[name], read_output(DATA / f"{name}.out")
    method = ("u" if job.is_open_shell else "r") + ("hf" if job.functional == "hf" else "ks")
    functional = "" if job.functional == "hf" else job.functional
    dynamics = rt.ElectronDynamics(
        rt.Molecule(job.numbers, job.positions, job.charge, job.multiplicity),
        rt.LevelOfTheory(method, job.basis, functional, grid_level=4),
        rt.Magnus2(time_step=job.time_step, tolerance=1e-11),
        field=rt.UserField(field_of(job.fields, job.time_step), "as in NWChem"),
    )
    states = []
    series = dynamics.run(job.steps, progress=states.append)
    tolerance = TOLERANCES[name]
    np.testing.assert_allclose(series.time, output.times, atol=1e-9)
    np.testing.assert_allclose(series.field, output.field(), atol=1e-12)
    np.testing.assert_allclose(series.energy, output.energies(), atol=2e-8)
    np.testing.assert_allclose(series.dipole, output.dipole(), atol=10 * tolerance)
    density = dynamics.hamiltonian.density(states[-1].orbitals)
    recorded = read_restart(DATA / f"{name}.rt_restart")
    order = basis_order(pyscf_molecule(job), output.shells)
    expected = order.density(recorded.matrices)
    np.testing.assert_allclose(density, expected, atol=2 * tolerance)
