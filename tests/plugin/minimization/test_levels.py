"""Surrogates first: what they spare, and what happens where levels fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import KStepIntegrator, QMMMForce, minimize
from tests.support.engines.troublesome import TroubledSprings
from tests.support.qmmm.chain import bond_force
from tests.support.qmmm.minimizing import (
    STRETCHED,
    context_of,
    lengths,
    positions_of,
    qm_calls,
    root_mean_square_force,
    system_of,
)
from tests.support.qmmm.systems import ETHANOL, ETHANOL_NUMBERS


def test_surrogates_first(reference):
    """GFN1-xTB leads ethanol that was shaken by 0.02 nm to where GFN2-xTB needs less than half of the calls."""
    positions = ETHANOL + np.random.default_rng(3).normal(scale=0.02, size=ETHANOL.shape)
    results = {}
    for engines in ({1: "gfn1-xtb", 2: "gfn2-xtb"}, {2: "gfn2-xtb"}):
        system = openmm.System()
        for _ in positions:
            system.addParticle(12.0)
        for group, engine in engines.items():
            force = QMMMForce(range(9), ETHANOL_NUMBERS, engine)
            force.setForceGroup(group)
            system.addForce(force)
        context = openmm.Context(system, KStepIntegrator(0.0005, 4 if 1 in engines else 1), reference)
        context.setPositions(positions)
        results[len(engines)] = minimize(context)
        assert root_mean_square_force(context) < 10
        # Calls of a surrogate that is a QM method itself are none of the QM level.
        assert results[len(engines)].qmCalls == qm_calls(context)
    assert results[2].qmCalls < 0.5 * results[1].qmCalls
    assert results[2].energyBefore == results[1].energyBefore
    # Within what is left at 10 kJ/mol/nm.
    assert results[2].energyAfter._value == pytest.approx(results[1].energyAfter._value, abs=0.05)


@pytest.mark.parametrize("levels", [None, {1: 1}])
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "compound"])
def test_levels_are_found(platform, wrapped, levels):
    """By default or by name, and in a CompoundIntegrator."""
    integrator: openmm.Integrator = KStepIntegrator(0.0005, 4, surrogateLevels=levels)
    if wrapped:
        compound = openmm.CompoundIntegrator()
        compound.addIntegrator(openmm.VerletIntegrator(0.001))
        compound.addIntegrator(integrator)
        compound.setCurrentIntegrator(1)
        integrator = compound
    context = context_of(system_of({}, {"length": 0.121}), platform, integrator)
    result = minimize(context)
    assert qm_calls(context, 1) > 3
    assert result.qmCalls == qm_calls(context)
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)
    assert integrator.getIntegrationForceGroups() == 0b101


def test_a_surrogate_that_leads_away(reference):
    context = context_of(system_of({}, {"length": 0.3}), reference)
    result = minimize(context)
    assert result.energyAfter < result.energyBefore
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)


@pytest.mark.parametrize("how", ["minimize", "Simulation"])
def test_where_only_the_surrogate_works(reference, how):
    """A structure that was drawn: the QM level converges nowhere near it."""
    system = system_of({"fails_beyond": 0.15}, {"length": 0.13})
    if how == "Simulation":
        simulation = app.Simulation(app.Topology(), system, KStepIntegrator(0.0005, 4), reference)
        simulation.context.setPositions(STRETCHED)
        simulation.minimizeEnergy()
        context = simulation.context
    else:
        context = context_of(system, reference)
        result = minimize(context)
        assert result.energyBefore is None
        assert result.energyAfter._value < 1e-2
        # The start counts, twice: once before, once by the minimiser.
        assert result.qmCalls == qm_calls(context)
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)


@pytest.mark.parametrize("beyond", [0.0, 0.17])
def test_where_only_the_qm_level_works(reference, beyond):
    """A surrogate that fails everywhere, or only where it is led to."""
    context = context_of(system_of({}, {"fails_beyond": beyond}), reference)
    result = minimize(context)
    assert result.energyBefore._value > 1
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)


@pytest.mark.parametrize("surrogate", [None, {"fails_beyond": 0.0}, {"length": 0.2}])
def test_where_nothing_works(reference, surrogate):
    context = context_of(system_of({"fails_beyond": 0.15}, surrogate), reference)
    with pytest.raises(openmm.OpenMMException, match=r"no geometry at which the QM level.*did not converge"):
        minimize(context)
    np.testing.assert_array_equal(positions_of(context), STRETCHED)


@pytest.mark.parametrize("surrogate", [None, {"length": 0.125}])
def test_trial_geometries_that_fail(reference, surrogate):
    """From a start at the very edge of what converges: the first trial step leads beyond it, or far away."""
    edge = float(lengths(STRETCHED).max()) + 1e-9
    context = context_of(system_of({"fails_beyond": edge}, surrogate), reference)
    minimize(context)
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)


def test_derivatives_that_are_wrong(reference):
    """There is no way down, and the minimiser ends at a trial: back to the start, not to what it tried."""
    context = context_of(system_of({"sign": -1.0}), reference)
    result = minimize(context)
    assert result.energyAfter == result.energyBefore
    np.testing.assert_array_equal(positions_of(context), STRETCHED)


def test_few_iterations(reference):
    context = context_of(system_of({}), reference)
    energies = [minimize(context, maxIterations=1).energyAfter._value for _ in range(4)]
    assert energies == sorted(energies, reverse=True)
    assert energies[0] < 0.5 * 1e5 * float(((lengths(STRETCHED) - 0.12) ** 2).sum())


def test_a_force_that_counts_nothing_as_the_qm_level(reference):
    """The surrogates come first there too."""
    order = []

    def spring(level: str, length: float) -> Any:
        def force(state: openmm.State) -> tuple[float, np.ndarray]:
            order.append(level)
            x = state.getPositions(asNumpy=True)._value
            output = TroubledSprings(length).compute(x, np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=bool))
            return output.energy, -output.gradient

        return force

    system = openmm.System()
    for _ in STRETCHED:
        system.addParticle(12.0)
    for group, level, length in ((1, "surrogate", 0.121), (2, "QM", 0.12)):
        force = openmm.PythonForce(spring(level, length))
        force.setForceGroup(group)
        system.addForce(force)
    context = context_of(system, reference)
    result = minimize(context)
    assert result.qmCalls == 0
    assert order[:2] == ["QM", "QM"] and "surrogate" in order and order[-1] == "QM"
    assert order.index("surrogate") < order.index("QM", 2)
    np.testing.assert_allclose(lengths(positions_of(context)), 0.12, atol=1e-4)


def test_without_a_qm_level_all_is_as_ever(platform):
    system = openmm.System()
    for _ in range(5):
        system.addParticle(12.0)
    system.addForce(bond_force(5, 1e5, 0.0, 0))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(np.random.default_rng(1).normal(scale=0.3, size=(5, 3)))
    result = minimize(context)
    assert result.qmCalls == 0
    assert result.energyAfter._value < 1e-2
