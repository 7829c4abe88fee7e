"""NWChem's real-time TDDFT, to check the reference propagator against another program.

    job = NWChemInput([8, 1, 1], positions, "6-31G", "pbe0", steps=100, time_step=0.2,
                      fields=delta_for_impulse([0, 0, 1e-4], 0.2), all_densities=True)
    run = run_nwchem(job, "water")
    order = basis_order(mol, run.output.shells)
    densities = [order.density(density.total) for density in run.densities]

``NWChemInput`` describes a calculation, ``run_nwchem`` runs it, ``read_output`` and ``read_restart`` read what it left.
``basis_order`` connects its matrices to PySCF's, ``field_of`` and ``delta_for_impulse`` its fields to those of this
package.
"""

from __future__ import annotations

from .basis_order import BasisOrder, NWChemShell, basis_order, parse_shells
from .errors import NWChemBasisError, NWChemInputError, NWChemMissingError, NWChemOutputError, NWChemRunError
from .fields import NWChemDelta, NWChemField, NWChemGaussian, delta_for_impulse, field_of, impulse_of
from .input_file import NWChemInput
from .output_file import NWChemOutput, parse_output, read_output
from .restart_file import DensityMatrices, parse_restart, read_restart, read_snapshot
from .runner import NWChemRun, find_nwchem, run_nwchem

__all__ = [
    "BasisOrder",
    "DensityMatrices",
    "NWChemBasisError",
    "NWChemDelta",
    "NWChemField",
    "NWChemGaussian",
    "NWChemInput",
    "NWChemInputError",
    "NWChemMissingError",
    "NWChemOutput",
    "NWChemOutputError",
    "NWChemRun",
    "NWChemRunError",
    "NWChemShell",
    "basis_order",
    "delta_for_impulse",
    "field_of",
    "find_nwchem",
    "impulse_of",
    "parse_output",
    "parse_restart",
    "parse_shells",
    "read_output",
    "read_restart",
    "read_snapshot",
    "run_nwchem",
]
