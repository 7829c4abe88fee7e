"""Electrons that do not feel each other's motion: the Fock matrix of the ground state, for ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.hamiltonian import Evaluation, Hamiltonian, Orbitals
from openmmkstep.rttddft.simulation import ElectronDynamics

RealArray = NDArray[np.float64]


class StaticHamiltonian(Hamiltonian):
    """The ground state's Fock matrix for every density.

    Args:
        full: its integrals are shared.
        ground: occupied orbitals of the ground state, Loewdin basis.
    """

    def __init__(self, full: Hamiltonian, ground: Orbitals) -> None:
        # Not by the base class's constructor, which would compute all integrals again.
        vars(self).update(vars(full))
        self._ground = full.evaluate(ground)

    def evaluate(self, orbitals: Orbitals) -> Evaluation:
        """The same for all orbitals; the energy is the ground state's."""
        return self._ground


def static_fock_dipole(dynamics: ElectronDynamics, steps: int) -> RealArray:
    """Dipole moment without the response of the Fock matrix.

    Args:
        dynamics: molecule, kick, field and propagator.
        steps: to take.

    Returns:
        [steps+1,3].

    Raises:
        ConvergenceError: SCF.
    """
    orbitals = dynamics.ground_state.orbitals
    hamiltonian = StaticHamiltonian(dynamics.hamiltonian, orbitals)
    if dynamics.kick is not None:
        orbitals = dynamics.kick.apply(hamiltonian, orbitals)
    state = dynamics.propagator.start(hamiltonian, orbitals)
    dipoles = [hamiltonian.dipole(state.orbitals)]
    for _ in range(steps):
        state = dynamics.propagator.advance(hamiltonian, dynamics.field, state)
        dipoles.append(hamiltonian.dipole(state.orbitals))
    return np.array(dipoles)
