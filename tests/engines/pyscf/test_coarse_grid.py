"""Iterations on a coarse grid end where those on the fine one do, with fewer integrations there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kstep_models.units import KJ_MOL_PER_HARTREE, NM_PER_BOHR
from openmmkstep.engines.pyscf.engine import PySCF
from openmmkstep.engines.pyscf.mean_field import converge, create_mean_field
from tests.engines.pyscf.test_properties import FORMALDEHYDE
from tests.engines.pyscf.test_results import CHARGES, PLACES, compute, engine

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")


@pytest.fixture
def integrations(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How often a functional was integrated, by level of the grid."""
    from pyscf.dft import numint

    counts: dict[int, int] = {}
    for name in ("nr_rks", "nr_uks"):
        original = getattr(numint.NumInt, name)

        def counting(self: Any, mol: Any, grids: Any, *rest: Any, original: Any = original, **options: Any) -> Any:
            counts[grids.level] = counts.get(grids.level, 0) + 1
            return original(self, mol, grids, *rest, **options)

        monkeypatch.setattr(numint.NumInt, name, counting)
    return counts


@pytest.mark.parametrize(
    ("settings", "charge", "multiplicity"),
    [
        ({"xc": "b3lyp"}, 0, 1),
        ({"xc": "pbe", "density_fit": False}, 0, 1),
        ({"xc": "pbe0"}, 1, 2),
        ({"xc": "pbe", "reference": "restricted-open"}, 1, 2),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_same_results(settings: dict[str, Any], charge: int, multiplicity: int, integrations: dict[int, int]) -> None:
    settings = {"basis": "6-31g", **settings}
    fine = compute(engine([8, 6, 1, 1], charge, multiplicity, coarse_iterations=False, **settings))
    before = integrations.pop(3)
    assert not integrations
    coarse = compute(engine([8, 6, 1, 1], charge, multiplicity, **settings))
    assert 0 in integrations and integrations[3] < before
    assert coarse.energy / KJ_MOL_PER_HARTREE == pytest.approx(fine.energy / KJ_MOL_PER_HARTREE, abs=1e-10)
    factor = KJ_MOL_PER_HARTREE / NM_PER_BOHR
    np.testing.assert_allclose(coarse.gradient / factor, fine.gradient / factor, atol=2e-7)
    np.testing.assert_allclose(coarse.charge_gradient / factor, fine.charge_gradient / factor, atol=2e-7)


def test_nonlocal_correlation_is_left_to_the_fine_grid(integrations: dict[int, int]) -> None:
    import pyscf

    settings = PySCF("wb97x-v", "6-31g", conv_tol=1e-12)._settings
    mol = pyscf.gto.M(atom="H 0 0 0; H 0 0 0.8", basis="6-31g", verbose=0)
    fine = converge(pyscf, create_mean_field(pyscf, settings, mol, None), None)
    before = integrations.pop(3)
    coarse = converge(pyscf, create_mean_field(pyscf, settings, mol, None), None, coarse=True)
    assert integrations[3] < before < integrations[0] + integrations[3]
    assert coarse.mean_field.e_tot == pytest.approx(fine.mean_field.e_tot, abs=1e-9)
    np.testing.assert_allclose(coarse.density, fine.density, atol=1e-6)


def test_long_steps_cost_little_more_than_short_ones(integrations: dict[int, int]) -> None:
    """At the default threshold, atoms moved by as much as in 8 fs, or a tenth of it."""
    random = np.random.default_rng(3)
    counts = {}
    for length in (0.0005, 0.005):
        made = engine(xc="b3lyp", basis="6-31g*", conv_tol=1e-9)
        compute(made)
        integrations.clear()
        for _ in range(4):
            compute(made, FORMALDEHYDE + random.normal(scale=length, size=FORMALDEHYDE.shape))
        counts[length] = integrations[3] / 4
    assert counts[0.005] <= counts[0.0005] + 1.5 and counts[0.005] <= 7


def test_what_has_no_finer_grid(integrations: dict[int, int]) -> None:
    compute(engine(xc="pbe", basis="sto-3g", grid_level=0), places=PLACES[:2], charges=CHARGES[:2])
    assert set(integrations) == {0}
    first = integrations[0]
    compute(
        engine(xc="pbe", basis="sto-3g", grid_level=0, coarse_iterations=False), places=PLACES[:2], charges=CHARGES[:2]
    )
    assert integrations[0] == 2 * first


def test_iterations_that_fail_leave_the_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    from openmmkstep.engines.pyscf import coarse_grid

    def never(*arguments: Any) -> Any:
        solver = original(*arguments)
        solver.check_convergence = lambda _: False
        return solver

    original = coarse_grid._on_coarse_grid
    monkeypatch.setattr(coarse_grid, "_on_coarse_grid", never)
    made = engine(xc="pbe", basis="sto-3g")
    expected = compute(engine(xc="pbe", basis="sto-3g", coarse_iterations=False))
    assert compute(made).energy == pytest.approx(expected.energy, abs=1e-6)
    assert compute(made).iterations > expected.iterations
