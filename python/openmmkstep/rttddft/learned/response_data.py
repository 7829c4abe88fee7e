"""Linear responses of many geometries, for response networks to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis
from kstep_models.rttddft.response_file import ResponseRecord
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit
from openmmkstep.rttddft.electronic_structure.casida_matrices import response_matrices
from openmmkstep.rttddft.electronic_structure.ground_state import solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.electronic_structure.xc_kernel import XCKernel
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule


def response_record(molecule: Molecule, level: LevelOfTheory, basis: AuxiliaryBasis) -> ResponseRecord:
    """Everything that a network may learn from one geometry.

    The density changes are the products of an occupied and a virtual orbital, times sqrt(2): those that an external
    field can cause to first order, normalised as matrices.

    Args:
        molecule: a closed shell.
        level: RKS with an LDA or GGA functional or a hybrid.
        basis: auxiliary basis.

    Raises:
        ElectronDynamicsError: the level of theory has no response kernel, or does not suit the molecule.
        ConvergenceError: the SCF did not converge.
    """
    mean_field = create_mean_field(molecule, level)
    hamiltonian = Hamiltonian(mean_field)
    ground = solve_ground_state(mean_field, hamiltonian)
    density = ground.density[0]
    coefficients = np.asarray(mean_field.mo_coeff)
    filled = np.asarray(mean_field.mo_occ) > 0
    occupied, virtual = coefficients[:, filled], coefficients[:, ~filled]
    energies = np.asarray(mean_field.mo_energy)
    gaps = energies[~filled][None, :] - energies[filled][:, None]
    total, difference, dipole = response_matrices(mean_field, occupied, virtual, gaps)
    fit = AuxiliaryFit(mean_field.mol, basis)
    kernel = XCKernel(mean_field, density)
    # The virtual orbital is the faster index, as in the matrices above.
    first, second = np.nonzero(np.outer(filled, ~filled))
    return ResponseRecord(
        positions=molecule.positions,
        fit=np.sqrt(2.0) * fit.products(occupied, virtual),
        response=2.0 * kernel.among_products(coefficients, first, second),
        kernel=kernel.among_functions(fit.values, len(fit.metric)),
        sum=total,
        difference=difference,
        dipole=dipole,
        density=fit.coefficients(density[None])[:, 0],
        metric=fit.metric,
    )


def displaced(molecule: Molecule, deviation: float, generator: np.random.Generator) -> Molecule:
    """The molecule with normally distributed displacements of all nuclei.

    Args:
        molecule: where the nuclei are on average.
        deviation: of every coordinate, bohr.
        generator: of random numbers.
    """
    moved: NDArray[np.float64] = molecule.positions + generator.normal(0.0, deviation, molecule.positions.shape)
    return Molecule(molecule.numbers, moved, molecule.charge, molecule.multiplicity, molecule.name)
