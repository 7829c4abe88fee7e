"""Torch's steps with a linear Fock matrix: the same as the reference propagator's, and what must be conserved."""

from __future__ import annotations

import copy
import io
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kstep_models.rttddft.linear_system import prepare_system
from kstep_models.rttddft.propagation import Steps
from kstep_models.rttddft.time_steps import TimeSteps
from openmmkstep.rttddft.electronic_structure.exchange_correlation import ExchangeCorrelation
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.propagation.fields import DeltaKick, ElectricField, GaussianEnvelope, NoField, Pulse, UserField
from openmmkstep.rttddft.propagation.linear_dynamics import create_linear_system, pair_response, sampled_field
from openmmkstep.rttddft.propagation.propagators import CFM4, Magnus2, Propagator
from tests.support.electrons.systems import Prepared, prepared

SCHEMES = [Magnus2, CFM4]
RealArray = NDArray[np.float64]
WATER = ("WATER", "rks", "6-31g", "pbe0", 0)
# Without exact exchange, and without a functional.
OTHERS = [("SKEWED_WATER", "rks", "sto-3g", "pbe", 0), ("SKEWED_WATER", "rhf", "6-31g")]


class LinearFunctional(ExchangeCorrelation):
    """A functional of the second order in the density's change, with matrices over pairs of AO functions."""

    def __init__(self, exact: ExchangeCorrelation, ground: RealArray, kernel: RealArray) -> None:
        self.energy, self.potential = exact.evaluate(ground)
        self.ground, self.kernel = ground, kernel

    def evaluate(self, densities: RealArray) -> tuple[float, RealArray]:
        change = densities - self.ground
        response = np.einsum("pqrs,krs->kpq", self.kernel, change)
        energy = self.energy + float(np.sum(change * (self.potential + 0.5 * response)))
        return energy, self.potential + response


class Linearised:
    """A molecule with the exact linear response of its functional, by finite differences."""

    def __init__(self, system: Prepared) -> None:
        self.system = system
        full = system.hamiltonian
        self.hamiltonian = copy.copy(full)
        self.kernel: RealArray | None = None
        n = full.size
        if full._exchange_correlation is not None:
            atomic = np.zeros((n, n, n, n))
            for p, q in zip(*np.triu_indices(n), strict=True):
                unit = np.zeros((1, n, n))
                unit[0, p, q] = unit[0, q, p] = 1.0 if p == q else 0.5
                step = 1e-4
                plus, minus = (
                    full._exchange_correlation.evaluate(system.ground.density + sign * step * unit)[1][0]
                    for sign in (1, -1)
                )
                atomic[:, :, p, q] = atomic[:, :, q, p] = (plus - minus) / (2 * step)
            atomic = 0.5 * (atomic + atomic.transpose(2, 3, 0, 1))
            self.hamiltonian._exchange_correlation = LinearFunctional(
                full._exchange_correlation, system.ground.density, atomic
            )
            root = full._inverse_root
            loewdin = np.einsum("pqrs,pa,qb,rc,sd->abcd", atomic, root, root, root, root, optimize=True)
            rows, columns = np.triu_indices(n)
            factors = np.where(rows == columns, 1.0, np.sqrt(2.0))
            self.kernel = loewdin[rows, columns][:, rows, columns] * factors * factors[:, None]
        self.linear = create_linear_system(full, system.ground, self.kernel)
        self.scripted = torch.jit.script(TimeSteps())

    def start(self, kick: DeltaKick | None = None) -> Steps:
        orbitals = self.system.ground.orbitals
        if kick is not None:
            orbitals = kick.apply(self.hamiltonian, orbitals)
        return self.scripted.start(self.linear, torch.from_numpy(orbitals[0].copy()))

    def run(self, propagator: Propagator, steps: int, start: Steps, field: ElectricField, first: int = 0) -> Steps:
        fields = sampled_field(field, propagator.name, propagator.time_step, steps, first)
        settings = (propagator.time_step, propagator.tolerance, propagator.max_iterations)
        return self.advance(propagator.name, start, fields, *settings)

    def advance(
        self,
        scheme: str,
        start: Steps,
        fields: torch.Tensor,
        time_step: float = 0.2,
        tolerance: float = 1e-9,
        max_iterations: int = 30,
        steps: Any = None,
    ) -> Steps:
        """Many steps, by the scripted module unless told otherwise."""
        module = steps or self.scripted
        return module.advance(
            self.linear, scheme, start.orbitals, start.history, fields, time_step, tolerance, max_iterations
        )


@lru_cache(maxsize=8)
def linearised(*arguments: Any) -> Linearised:
    return Linearised(prepared(*arguments))


PULSE = Pulse(0.03, GaussianEnvelope(4.0, 2.0), (1, 0.5, -2), frequency=0.4)
KICK = DeltaKick(0.01, (1, 2, 3))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("arguments", [WATER, *OTHERS])
def test_equals_the_reference_propagator(arguments: tuple[Any, ...], scheme: type[Propagator]) -> None:
    system = linearised(*arguments)
    propagator = scheme(0.2)
    state = propagator.start(system.hamiltonian, KICK.apply(system.hamiltonian, system.system.ground.orbitals))
    steps = 60
    dipoles, energies, builds = [], [], []
    for _ in range(steps):
        before = system.hamiltonian.fock_builds
        state = propagator.advance(system.hamiltonian, PULSE, state)
        dipoles.append(system.hamiltonian.dipole(state.orbitals))
        energies.append(state.energy)
        builds.append(system.hamiltonian.fock_builds - before)
    own = system.run(propagator, steps, system.start(KICK), PULSE)
    assert np.ptp(dipoles, axis=0).max() > 1e-2
    np.testing.assert_allclose(own.orbitals.numpy(), state.orbitals[0], atol=1e-10)
    np.testing.assert_allclose(own.dipoles.numpy(), dipoles, atol=1e-10)
    np.testing.assert_allclose(own.energies.numpy(), energies, atol=1e-10)
    np.testing.assert_allclose(own.history.numpy(), np.concatenate(state.history), atol=1e-10)
    assert own.fock_builds.tolist() == builds


def test_first_state_is_the_ground_state() -> None:
    system = linearised(*WATER)
    state = system.start()
    assert float(state.energies[0]) == pytest.approx(system.system.ground.energy, abs=1e-11)
    expected = system.hamiltonian.dipole(system.system.ground.orbitals)
    np.testing.assert_allclose(state.dipoles[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_in_pieces_bit_by_bit(scheme: type[Propagator]) -> None:
    system = linearised(*WATER)
    propagator = scheme(0.2)
    whole = system.run(propagator, 12, system.start(KICK), PULSE)
    piece, dipoles = system.start(KICK), []
    for first, count in ((0, 1), (1, 4), (5, 0), (5, 7)):
        piece = system.run(propagator, count, piece, PULSE, first)
        dipoles.append(piece.dipoles)
    assert torch.equal(piece.orbitals, whole.orbitals)
    assert torch.equal(piece.history, whole.history)
    assert torch.equal(torch.cat(dipoles), whole.dipoles)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_eager_scripted_and_saved_steps_agree(scheme: type[Propagator]) -> None:
    system = linearised(*WATER)
    stream = io.BytesIO()
    torch.jit.save(system.scripted, stream)
    stream.seek(0)
    loaded = torch.jit.load(stream)
    start = system.start(KICK)
    fields = sampled_field(PULSE, scheme.name, 0.2, 5)
    eager = system.advance(scheme.name, start, fields, steps=TimeSteps())
    for module in (system.scripted, loaded):
        for a, b in zip(eager, system.advance(scheme.name, start, fields, steps=module), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_energy_is_conserved_after_a_kick(scheme: type[Propagator]) -> None:
    system = linearised(*WATER)
    start = system.start(KICK)
    energies = system.run(scheme(0.1), 500, start, NoField()).energies
    assert float(start.energies[0]) > system.system.ground.energy + 1e-5
    assert float((energies - start.energies[0]).abs().max()) < 1e-8


@pytest.mark.parametrize("scheme", [Magnus2, pytest.param(CFM4, marks=pytest.mark.slow)])
def test_trace_and_idempotency_over_ten_thousand_steps(scheme: type[Propagator]) -> None:
    system = linearised("WATER", "rks", "sto-3g", "pbe0", 0)
    end = system.run(scheme(0.2), 10_000, system.start(DeltaKick(0.05, (1, 1, 1))), PULSE)
    overlap = end.orbitals.mH @ end.orbitals
    assert float((overlap - torch.eye(5)).abs().max()) < 1e-13
    assert bool(torch.isfinite(end.dipoles).all()) and bool(torch.isfinite(end.energies).all())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dipoles_may_be_differentiated_with_respect_to_the_response(scheme: type[Propagator]) -> None:
    """For training on short rollouts: against central differences along a random change of the response."""
    system = linearised("SKEWED_WATER", "rhf", "6-31g")
    hamiltonian, ground = system.hamiltonian, system.system.ground
    real, imaginary = (torch.from_numpy(matrix) for matrix in pair_response(hamiltonian, None))
    change = torch.randn(real.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    change = 0.01 * (change + change.T)
    fields = sampled_field(PULSE, scheme.name, 0.2, 5)

    def outcome(amount: torch.Tensor, steps: Any) -> torch.Tensor:
        linear = steps.prepare(
            torch.from_numpy(hamiltonian.evaluate(ground.orbitals).fock[0].real.copy()),
            torch.from_numpy(ground.orbitals[0]),
            torch.from_numpy(np.stack([hamiltonian.coupling(axis) for axis in np.eye(3)])),
            real + amount * change,
            imaginary,
            torch.tensor(ground.energy, dtype=torch.float64),
            torch.from_numpy(hamiltonian.dipole(ground.orbitals)),
        )
        first = steps.start(linear, torch.from_numpy(KICK.apply(hamiltonian, ground.orbitals)[0]))
        end = steps.advance(linear, scheme.name, first.orbitals, first.history, fields, 0.2, 1e-13, 50)
        return end.dipoles[-1, 2] + 0.1 * end.energies[2]

    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(outcome(amount, TimeSteps()), amount)
    step = 1e-3
    with torch.no_grad():
        plus, minus = (outcome(torch.tensor(sign * step), TimeSteps()) for sign in (1, -1))
        expected = (plus - minus) / (2 * step)
    assert abs(float(expected)) > 1e-4
    assert float(derivative) == pytest.approx(float(expected), rel=1e-5)
    scripted = torch.jit.script(TimeSteps())
    with torch.no_grad():
        assert float(outcome(amount, scripted)) == pytest.approx(float(outcome(amount, TimeSteps())), abs=1e-12)
    with pytest.raises(torch.jit.Error, match="cannot be differentiated"):
        outcome(amount, scripted)


def test_exponentials_are_unitary() -> None:
    """Without the correction that follows: one step changes the overlaps of orbitals by round-off."""
    from kstep_models.rttddft.propagation import _exponential

    system = linearised(*WATER)
    start = system.start(KICK)
    moved = _exponential(*torch.linalg.eigh(start.history[0]), 0.4, start.orbitals)
    assert float((moved.mH @ moved - torch.eye(5)).abs().max()) < 1e-13


@pytest.mark.parametrize("scheme", SCHEMES)
def test_time_reversal_through_a_pulse(scheme: type[Propagator]) -> None:
    system = linearised(*WATER)
    propagator, steps = scheme(0.2, tolerance=1e-13), 50
    begin = system.start(KICK)
    there = system.run(propagator, steps, begin, PULSE)
    mirrored = UserField(lambda time: PULSE.at(0.2 * steps - time), "mirrored")
    turned = system.scripted.start(system.linear, there.orbitals.conj().resolve_conj())
    back = system.run(propagator, steps, turned, mirrored).orbitals.conj()
    error = back @ back.mH - begin.orbitals @ begin.orbitals.mH
    assert float((there.orbitals - begin.orbitals).abs().max()) > 0.1
    assert float(error.abs().max()) < 1e-10


@pytest.mark.parametrize("scheme", SCHEMES)
def test_opposite_kicks(scheme: type[Propagator]) -> None:
    """Exactly opposite across the molecular plane; otherwise odd and even in the kick, to the next order."""
    system = linearised(*WATER)
    ground = system.start().dipoles.numpy()
    propagator = scheme(0.2, tolerance=1e-13)

    def response(strength: float, direction: tuple[float, ...]) -> RealArray:
        start = system.start(DeltaKick(strength, direction))
        return system.run(propagator, 40, start, NoField()).dipoles.numpy() - ground

    plus, minus = response(0.05, (1, 0, 0)), response(-0.05, (1, 0, 0))
    assert np.abs(plus[:, 0]).max() > 5e-4
    np.testing.assert_allclose(plus[:, 0], -minus[:, 0], atol=1e-10)
    odd, even = ([response(k, (1, 1, 1)) + sign * response(-k, (1, 1, 1)) for k in (0.002, 0.004)] for sign in (-1, 1))
    assert np.linalg.norm(odd[1] - 2 * odd[0]) < 1e-4 * np.linalg.norm(odd[1])
    assert np.linalg.norm(even[1] - 4 * even[0]) < 1e-3 * np.linalg.norm(even[1])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_step_that_does_not_converge_is_reported(scheme: type[Propagator]) -> None:
    system = linearised(*WATER)
    with pytest.raises(torch.jit.Error, match="step 1 did not become self-consistent"):
        system.run(scheme(0.2, max_iterations=1), 3, system.start(KICK), PULSE)


def test_fields_that_are_not_numbers_are_reported() -> None:
    system = linearised(*WATER)
    start = system.start(KICK)
    with pytest.raises(torch.jit.Error, match="fields must be finite"):
        system.advance("magnus2", start, torch.full((2, 1, 3), torch.nan))


def test_what_does_not_fit_is_refused() -> None:
    system = linearised(*WATER)
    full: Hamiltonian = system.system.hamiltonian
    ground = system.system.ground
    start = system.start()
    with pytest.raises(ElectronDynamicsError, match=r"must be \[91,91\]"):
        create_linear_system(full, ground, np.zeros((90, 90)))
    with pytest.raises(ElectronDynamicsError, match="not finite"):
        create_linear_system(full, ground, np.full((91, 91), np.nan))
    with pytest.raises(ElectronDynamicsError, match="not symmetric"):
        create_linear_system(full, ground, np.arange(91.0)[:, None] * np.ones(91))
    open_shell = prepared("HYDROXYL", "uhf", "sto-3g")
    with pytest.raises(ElectronDynamicsError, match="closed shells"):
        create_linear_system(open_shell.hamiltonian, open_shell.ground, None)
    with pytest.raises(ElectronDynamicsError, match="unknown scheme leapfrog"):
        sampled_field(NoField(), "leapfrog", 0.1, 1)
    with pytest.raises(torch.jit.Error, match="unknown scheme leapfrog"):
        system.advance("leapfrog", start, torch.zeros(1, 1, 3))
    with pytest.raises(torch.jit.Error, match=r"fields must be \[steps,4,3\]"):
        system.advance("cfm4", start, torch.zeros(1, 1, 3))
    with pytest.raises(torch.jit.Error, match="history"):
        system.advance("cfm4", start._replace(history=start.history[0]), torch.zeros(1, 4, 3))
    with pytest.raises(torch.jit.Error, match=r"orbitals must be \[13,occupied\]"):
        system.scripted.start(system.linear, start.orbitals[:-1])
    with pytest.raises(ValueError, match=r"imaginary response must be \[78,78\] or empty"):
        prepare_system(
            *(torch.zeros(s, dtype=torch.float64) for s in ((13, 13),)),
            torch.zeros(13, 5, dtype=torch.complex128),
            *(torch.zeros(s, dtype=torch.float64) for s in ((3, 13, 13), (91, 91), (77, 77), (), (3,))),
        )
