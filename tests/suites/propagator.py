"""Properties that every propagator of electrons must have, as a suite to inherit from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ConvergenceError
from openmmkstep.rttddft.propagation.fields import DeltaKick, GaussianEnvelope, Pulse, UserField
from openmmkstep.rttddft.propagation.propagators import CFM4, Propagator, State
from tests.support.electrons.systems import Prepared, dipoles, prepared, propagate


class PropagatorProperties(ABC):
    """Inherit, make the propagator, and every property is tested.

    ``order`` is that of the error in the time step. ``one_electron`` is a time step (a.u.) and the error it leaves in
    the density matrix of a single electron after 4 a.u. without a field, where Hartree-Fock is exact.
    """

    order: float
    one_electron: tuple[float, float]

    @abstractmethod
    def propagator(self, time_step: float, **options: Any) -> Propagator:
        """One with a time step in a.u.; ``tolerance`` and ``max_iterations`` are those of its self-consistency."""

    def density(self, system: Prepared, state: State) -> NDArray[np.complex128]:
        return system.hamiltonian.density(state.orbitals)

    def assert_trace_and_idempotency(self, system: Prepared, state: State) -> None:
        overlap = system.hamiltonian.overlap
        for matrix, count in zip(self.density(system, state), system.hamiltonian.occupied, strict=True):
            per_spin = matrix / system.hamiltonian.occupation
            # The requirement is 1e-10; what is seen is round-off that does not grow with the number of steps.
            assert abs(np.trace(per_spin @ overlap) - count) < 1e-12
            assert np.abs(per_spin @ overlap @ per_spin - per_spin).max() < 1e-12
            assert np.abs(matrix - matrix.conj().T).max() < 1e-14

    @pytest.mark.parametrize(
        "arguments",
        [
            ("WATER", "rhf", "6-31g"),
            ("HYDROXYL", "uhf", "sto-3g"),
            ("WATER", "rks", "sto-3g", "pbe0", 0),
            pytest.param(("WATER", "rks", "6-31g", "pbe0", 1), marks=pytest.mark.slow),
            pytest.param(("WATER_CATION", "uks", "6-31g", "pbe", 1), marks=pytest.mark.slow),
        ],
    )
    def test_conservation_over_a_thousand_steps(self, arguments: tuple[Any, ...]) -> None:
        system = prepared(*arguments)
        states = propagate(system, self.propagator(0.1), 1000, DeltaKick(1e-3, (1, 1, 1)))
        energies = np.array([state.energy for state in states])
        assert energies[0] > system.ground.energy
        assert np.abs(energies - energies[0]).max() < 1e-8
        self.assert_trace_and_idempotency(system, states[-1])

    def test_ground_state_stays(self) -> None:
        system = prepared("WATER", "rks", "sto-3g", "pbe0", 0)
        states = propagate(system, self.propagator(0.2), 50)
        change = self.density(system, states[-1]) - system.ground.density
        assert np.abs(change).max() < 1e-7
        assert abs(states[-1].energy - system.ground.energy) < 1e-10

    @pytest.mark.parametrize("functional", ["", "pbe0"])
    def test_time_reversal(self, functional: str) -> None:
        system = prepared("WATER", "rks" if functional else "rhf", "sto-3g", functional, 0)
        propagator = self.propagator(0.2, tolerance=1e-13)
        there = propagate(system, propagator, 50, DeltaKick(0.02, (1, 2, 3)))
        turned = tuple(part.conj() for part in there[-1].orbitals)
        back = propagate(system, propagator, 50, orbitals=turned)
        error = self.density(system, back[-1]).conj() - self.density(system, there[0])
        assert np.abs(error).max() < 1e-10

    def test_time_reversal_through_a_pulse(self) -> None:
        system = prepared("WATER", "rhf", "sto-3g")
        steps, time_step = 100, 0.2
        propagator = self.propagator(time_step, tolerance=1e-13)
        pulse = Pulse(0.03, GaussianEnvelope(9.0, 2.5), (1, 1, 1), frequency=0.4, phase=0.3)
        there = propagate(system, propagator, steps, field=pulse)
        mirrored = UserField(lambda time: pulse.at(steps * time_step - time), "mirrored")
        turned = tuple(part.conj() for part in there[-1].orbitals)
        back = propagate(system, propagator, steps, field=mirrored, orbitals=turned)
        error = self.density(system, back[-1]).conj() - self.density(system, there[0])
        assert np.abs(error).max() < 1e-10

    @pytest.mark.parametrize("functional", ["", "pbe0"])
    def test_order_in_the_time_step(self, functional: str) -> None:
        # H2 has no core; a smooth pulse has no high frequencies: the asymptotic order shows at affordable steps.
        system = prepared("HYDROGEN", "rks" if functional else "rhf", "6-31g", functional, 0)
        pulse = Pulse(0.1, GaussianEnvelope(4.0, 1.0), frequency=0.5)
        final = 8.0
        fine = propagate(system, CFM4(final / 160, tolerance=1e-14), 160, field=pulse)[-1]
        errors = []
        for count in (20, 40):
            states = propagate(system, self.propagator(final / count, tolerance=1e-13), count, field=pulse)
            errors.append(np.abs(self.density(system, states[-1]) - self.density(system, fine)).max())
        assert np.log2(errors[0] / errors[1]) == pytest.approx(self.order, abs=0.25)

    def test_one_electron_after_a_kick_is_exact(self) -> None:
        # Hartree-Fock has no self-interaction: J - K of the only orbital vanishes on it, at the same time.
        system = prepared("HYDROGEN_CATION", "uhf", "6-31g")
        time_step, error = self.one_electron
        propagator = self.propagator(time_step, tolerance=1e-13)
        states = propagate(system, propagator, round(4.0 / time_step), DeltaKick(0.01, (0, 0, 1)))
        values, vectors = np.linalg.eigh(system.hamiltonian.to_loewdin(system.hamiltonian.core))
        exact = vectors @ (np.exp(-1j * states[-1].time * values)[:, None] * (vectors.T @ states[0].orbitals[0]))
        difference = self.density(system, states[-1])[0] - system.hamiltonian.density((exact, exact))[0]
        assert np.abs(difference).max() < error

    def test_kick_of_opposite_sign_gives_the_opposite_linear_response(self) -> None:
        # mu(k) - mu(-k) has only odd powers of k and mu(k) + mu(-k) - 2 mu(0) only even ones: doubling the kick must
        # multiply them by 2 and by 4 but for the next power.
        system = prepared("WATER", "rhf", "sto-3g")
        propagator = self.propagator(0.2, tolerance=1e-13)
        at = {
            strength: dipoles(system, propagate(system, propagator, 40, DeltaKick(strength, (1, 1, 1))))
            for strength in (0.002, -0.002, 0.004, -0.004)
        }
        odd = [at[k] - at[-k] for k in (0.002, 0.004)]
        even = [at[k] + at[-k] - 2 * system.hamiltonian.dipole(system.ground.orbitals) for k in (0.002, 0.004)]
        assert np.linalg.norm(odd[1] - 2 * odd[0]) < 1e-4 * np.linalg.norm(odd[1])
        assert np.linalg.norm(even[1] - 4 * even[0]) < 1e-3 * np.linalg.norm(even[1])
        assert np.linalg.norm(even[1]) < 0.05 * np.linalg.norm(odd[1])

    def test_step_that_does_not_converge_is_an_error(self) -> None:
        system = prepared("WATER", "rhf", "sto-3g")
        with pytest.raises(ConvergenceError, match="smaller time step"):
            propagate(system, self.propagator(0.2, tolerance=1e-12, max_iterations=1), 1, DeltaKick(0.1))
