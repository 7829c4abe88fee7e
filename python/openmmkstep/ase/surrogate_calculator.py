"""`SurrogateCalculator`, an exported potential as a calculator of ASE."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from ase import Atoms
from ase.calculators.calculator import CalculatorSetupError
from numpy.typing import NDArray
from openmm import unit

from openmmkstep.engines.ase.conversion import ENERGY, FORCE, LENGTH
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.surrogates.suitability import SurrogateError, read_surrogate_contract

from .embeddable import ALL_CHANGES, EmbeddableCalculator
from .point_charges import PointCharges


class SurrogateCalculator(EmbeddableCalculator):
    """An archive that ``kstep export`` wrote, as the plugin evaluates it: energies in eV, forces in eV/A.

    For ASE's ``EIQMMM`` it has ``embed`` if its model takes a potential.

    Args:
        archive: File name of the archive.
        threads: Threads of torch.

    Raises:
        SurrogateError: No archive of ours, or one of another kind than a potential.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's own type)

    def __init__(self, archive: str | os.PathLike[str], threads: int = 1) -> None:
        self._contract = read_surrogate_contract(archive)
        self._archive, self._threads = os.fspath(archive), threads
        self._made_for: tuple[list[int], NDArray[np.float64]] | None = None
        self._context: openmm.Context | None = None
        super().__init__()

    def __getstate__(self) -> dict[str, Any]:
        """A copy loads the archive itself."""
        return {**vars(self), "_context": None}

    def _get_name(self) -> str:
        return "surrogate"

    def embed(self, charges: object = ()) -> PointCharges:
        """Put the molecule among point charges.

        Raises:
            CalculatorSetupError: The model takes no potential.
        """
        if "potential" not in self._contract.inputs:
            raise CalculatorSetupError(
                f"{self._archive} takes no electrostatic potential and would be blind to point charges: export a model "
                "that was trained on QM/MM frames"
            )
        return super().embed(charges)  # type: ignore[arg-type]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ALL_CHANGES,
    ) -> None:
        """Energy and forces at once.

        Raises:
            SurrogateError: The model does not cover these atoms.
            CalculatorSetupError: The atoms are periodic.
            openmm.OpenMMException: The model fails.
        """
        molecule = self._take(atoms, properties, system_changes)
        surroundings = self._point_charges
        charges = np.zeros(0) if surroundings is None else surroundings.charges
        places = np.zeros((0, 3)) if surroundings is None else surroundings.places()
        context = self._context_for(molecule.numbers.tolist(), charges)
        context.setPositions(np.concatenate([molecule.positions, places]) / LENGTH)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * ENERGY
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer) * FORCE
        own, others = np.split(np.asarray(forces), [len(molecule)])
        if surroundings is not None:
            surroundings.take_forces(others)
            self._computed = surroundings.version
        self.results = {"energy": energy, "free_energy": energy, "forces": own}

    def _context_for(self, numbers: list[int], charges: NDArray[np.float64]) -> openmm.Context:
        known = self._made_for
        if self._context is not None and known and known[0] == numbers and np.array_equal(known[1], charges):
            return self._context
        try:
            self._contract.check_atoms(numbers)
        except ValueError as error:
            raise SurrogateError(f"{self._archive} does not fit these atoms: {error}") from error
        n, m = len(numbers), len(charges)
        system = openmm.System()
        for _ in range(n + m):
            system.addParticle(1.0)
        force = TorchScriptForce(self._archive, range(n), numbers)
        force.setNumThreads(self._threads)
        if m:
            force.setEmbeddingCharges(EmbeddingCharges(range(n, n + m), charges.tolist()))
        system.addForce(force)
        # The network is torch's on every platform; this one is in double precision around it.
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        self._made_for = (numbers, charges.copy())
        return self._context
