"""Recorded results of NWChem against PySCF: NWChem itself is not needed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from openmmkstep.rttddft.nwchem import (
    NWChemBasisError,
    NWChemShell,
    basis_order,
    field_of,
    parse_shells,
    read_output,
    read_restart,
)
from tests.support.electrons.nwchem_jobs import DATA, JOBS, converged_mean_field, pyscf_molecule

pytest.importorskip("pyscf", reason="PySCF is not installed")

from tests.support.electrons.magnus_reference import MagnusReference

# Largest difference of a density matrix element. Ten digits are recorded; PBE0 adds the difference of the integration
# grids.
TOLERANCES = {"water_hf": 2e-9, "cation_hf": 5e-9, "water_pbe0": 5e-8}


@pytest.fixture(params=sorted(JOBS))
def name(request: pytest.FixtureRequest) -> str:
    """Every recorded calculation."""
    return str(request.param)


def test_reordered_density_has_the_right_electrons_and_dipole(name: str) -> None:
    mol = pyscf_molecule(JOBS[name])
    output = read_output(DATA / f"{name}.out")
    density = basis_order(mol, output.shells).density(read_restart(DATA / f"{name}.rt_restart").spins)
    overlap = mol.intor("int1e_ovlp")
    electrons = np.einsum("sij,ji->s", density, overlap).real
    np.testing.assert_allclose(electrons, mol.nelec, atol=5e-9)
    np.testing.assert_allclose(density @ overlap @ density, density, atol=5e-9)
    nuclei = mol.atom_charges() @ mol.atom_coords()
    dipole = nuclei - np.einsum("xij,sji->x", mol.intor("int1e_r"), density).real
    np.testing.assert_allclose(dipole, output.dipole()[-1], atol=1e-8)


def test_ground_states_agree(name: str) -> None:
    mean_field = converged_mean_field(JOBS[name], grid_level=4)
    output = read_output(DATA / f"{name}.out")
    assert mean_field.e_tot == pytest.approx(output.ground_state_energy, abs=2e-8)
    assert mean_field.energy_nuc() == pytest.approx(output.nuclear_repulsion, abs=1e-9)


def test_propagation_agrees(name: str) -> None:
    job = JOBS[name]
    mean_field = converged_mean_field(job, grid_level=4)
    output = read_output(DATA / f"{name}.out")
    expected = MagnusReference(mean_field).propagate(field_of(job.fields, job.time_step), job.time_step, job.steps)[-1]
    restart = read_restart(DATA / f"{name}.rt_restart")
    density = basis_order(mean_field.mol, output.shells).density(restart.spins)
    assert restart.step == job.steps
    # The response itself is 1e-4: sign, size and shape of the kick matter.
    assert np.abs(expected.imag).max() > 4e-5
    assert np.abs(density - expected).max() < TOLERANCES[name]


def test_shells_are_told_apart_by_their_functions() -> None:
    mol = pyscf_molecule(JOBS["water_hf"])
    shells = parse_shells((DATA / "water_hf.out").read_text(encoding="utf-8"))
    # NWChem: s s p s p; PySCF: s s s p p.
    order = basis_order(mol, shells)
    np.testing.assert_array_equal(order.indices, [0, 1, 5, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    np.testing.assert_array_equal(order.signs, 1.0)
    # Another order and sign of the same functions.
    turned = [dataclasses.replace(s, coefficients=tuple(-c for c in s.coefficients)) for s in reversed(shells["O"])]
    order = basis_order(mol, {**shells, "O": turned})
    np.testing.assert_array_equal(order.indices[:9], [8, 7, 3, 4, 5, 6, 0, 1, 2])
    np.testing.assert_array_equal(order.signs[:9], -1.0)


def test_signs_of_d_functions() -> None:
    mol = pyscf_molecule(JOBS["cation_hf"])
    order = basis_order(mol, read_output(DATA / "cation_hf.out").shells)
    labels = [label for label, sign in zip(mol.ao_labels(), order.signs, strict=True) if sign < 0]
    assert [label.split()[-1] for label in labels] == ["3dxz"]


def _without(shells: Any) -> Any:
    return {**shells, "O": shells["O"][:-1]}


def _added(shells: Any) -> Any:
    return {**shells, "H": [*shells["H"], NWChemShell(1, (1.0,), (1.0,))]}


def _changed(shells: Any) -> Any:
    first = dataclasses.replace(shells["O"][3], exponents=(0.3,))
    return {**shells, "O": [*shells["O"][:3], first, *shells["O"][4:]]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without, r"O \(atom 0\).*p shell.*same basis set"),
        (_added, r"1 shells on H \(atom 1\)"),
        (_changed, "s shell.*0.270006"),
        (lambda shells: {"O": shells["O"]}, "no basis functions for H"),
    ],
)
def test_different_basis_sets_are_refused(change: Any, words: str) -> None:
    shells = change(parse_shells((DATA / "water_hf.out").read_text(encoding="utf-8")))
    with pytest.raises(NWChemBasisError, match=words):
        basis_order(pyscf_molecule(JOBS["water_hf"]), shells)


def test_matrix_of_another_size_is_refused() -> None:
    order = basis_order(pyscf_molecule(JOBS["water_hf"]), read_output(DATA / "water_hf.out").shells)
    with pytest.raises(NWChemBasisError, match="13, 13"):
        order.density(np.eye(12))
