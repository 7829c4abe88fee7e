"""Ethanol by GFN2-xTB at k = 16: Metropolis gives the same distributions with a good surrogate and with a spoiled one.

The surrogates are GFN2-xTB with springs on top, so that what is wrong with them is known: the spoiled one pulls all
bonds out of their places, by corrections of 92 kJ/mol/nm, a hundred meV/A.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import openmm
import pytest
from ase.neighborlist import natural_cutoffs, neighbor_list
from numpy.typing import NDArray
from scipy import stats

from openmmkstep import KStepIntegrator, KStepStatistics, QMMMForce
from tests.support.ase.systems import ethanol

Array = NDArray[np.float64]
TEMPERATURE, FRICTION, STEP, K = 300.0, 5.0, 0.0005, 16
SPOILED = {"hydrogen": 10_000.0, "heavy": 30_000.0}
"""Stiffnesses, kJ/mol/nm2; the good surrogate has a tenth."""
OUTER_STEPS = 5000
BLOCKS = 25


def bonds() -> list[tuple[int, int]]:
    atoms = ethanol()
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.25))
    pairs = [(int(i), int(j)) for i, j in zip(first, second, strict=True) if i < j]
    assert len(pairs) == 8
    return pairs


def system(spoil: float | None) -> openmm.System:
    """GFN2-xTB in group 2 and, but for None, in group 1 with the springs, times a factor."""
    atoms = ethanol()
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    for group in (2,) if spoil is None else (1, 2):
        force = QMMMForce(range(9), [int(z) for z in atoms.numbers], "gfn2-xtb", settings={"accuracy": 0.01})
        force.setForceGroup(group)
        system.addForce(force)
    if spoil is not None:
        springs = openmm.HarmonicBondForce()
        springs.setForceGroup(1)
        for i, j in bonds():
            if 1 in (atoms.numbers[i], atoms.numbers[j]):
                springs.addBond(i, j, 0.115, spoil * SPOILED["hydrogen"])
            else:
                springs.addBond(i, j, 0.16, spoil * SPOILED["heavy"])
        system.addForce(springs)
    return system


def lengths(x: Array) -> Array:
    """Of all bonds, nm."""
    return np.array([np.linalg.norm(x[i] - x[j]) for i, j in bonds()])


@cache
def sample(spoil: float | None, mode: str) -> tuple[Array, KStepStatistics]:
    """Lengths of bonds [samples,8], 8 fs apart, over 40 ps; without a surrogate by plain dynamics at 0.5 fs."""
    k = 1 if spoil is None else K
    integrator = KStepIntegrator(TEMPERATURE, FRICTION, STEP, k)
    integrator.setRandomNumberSeed(11)
    context = openmm.Context(system(spoil), integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ethanol().positions / 10)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    integrator.step(200 * K // k)
    integrator.setMetropolis(mode)
    found = np.empty((OUTER_STEPS, len(bonds())))
    for index in range(OUTER_STEPS):
        integrator.step(K // k)
        found[index] = lengths(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return found, integrator.getStatistics()


def variances(found: Array) -> tuple[Array, Array]:
    """Of the lengths, averaged over bonds to hydrogen and over the others [2] (pm^2), and their standard errors."""
    numbers = ethanol().numbers
    hydrogen = np.array([1 in (numbers[i], numbers[j]) for i, j in bonds()])
    squares = 1e6 * (found - found.mean(axis=0)) ** 2
    kinds = np.stack([squares[:, hydrogen].mean(axis=1), squares[:, ~hydrogen].mean(axis=1)], axis=1)
    blocks = kinds.reshape(BLOCKS, -1, 2).mean(axis=1)
    return kinds.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(BLOCKS)


def difference(found: Array, expected: Array) -> tuple[Array, Array]:
    """Of the mean lengths [8] (pm), and its standard errors [8]."""
    mine, theirs = (1000 * lengths.reshape(BLOCKS, -1, lengths.shape[1]).mean(axis=1) for lengths in (found, expected))
    errors = np.sqrt((mine.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / BLOCKS)
    return mine.mean(axis=0) - theirs.mean(axis=0), errors


def assert_same(found: Array, expected: Array) -> None:
    """Means and variances within 3 standard errors of the difference; distributions by Kolmogorov and Smirnov."""
    change, error = difference(found, expected)
    assert (np.abs(change) < 3 * error).all()
    (mine, my_error), (theirs, their_error) = variances(found), variances(expected)
    assert (np.abs(mine - theirs) < 3 * np.hypot(my_error, their_error)).all()
    # Every 40th, 0.3 ps apart.
    values = [stats.ks_2samp(a, b).pvalue for a, b in zip(found[::40].T, expected[::40].T, strict=True)]
    assert stats.combine_pvalues(values).pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["correction", "full"])
@pytest.mark.parametrize("spoil", [0.1, 1.0], ids=["good", "spoiled"])
def test_the_surrogate_does_not_matter(spoil: float, mode: str, record_property: pytest.RecordProperty) -> None:
    found, statistics = sample(spoil, mode)
    expected, _ = sample(None, "off")
    record_property("variances", [variances(found), variances(expected)])
    record_property("acceptance", statistics.acceptance)
    assert statistics.acceptance is not None
    assert statistics.acceptance > 0.5
    assert statistics.fallbacks == 0
    assert_same(found, expected)


@pytest.mark.slow
def test_without_metropolis_it_does(record_property: pytest.RecordProperty) -> None:
    """The control: six bonds are too long by 5 standard errors and more, that of the hydroxyl by 2.4 pm."""
    found, _ = sample(1.0, "off")
    expected, _ = sample(None, "off")
    change, error = difference(found, expected)
    record_property("change", [change, error])
    hydroxyl = bonds().index((2, 3))
    assert change[hydroxyl] > max(2.0, 50 * error[hydroxyl])
    assert np.sum(np.abs(change) > 5 * error) >= 5
