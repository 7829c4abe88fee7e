"""NWChem's real-time TDDFT, to check the reference propagator against another program.

    job = NWChemInput([8, 1, 1], positions, "6-31G", "pbe0", steps=100, timeStep=0.2,
                      fields=deltaForImpulse([0, 0, 1e-4], 0.2), allDensities=True)
    run = runNWChem(job, "water")
    order = basisOrder(mol, run.output.shells)
    densities = [order.density(density.total) for density in run.densities]

``NWChemInput`` describes a calculation, ``runNWChem`` runs it, ``readOutput`` and ``readRestart`` read what it left.
``basisOrder`` connects its matrices to PySCF's, ``fieldOf`` and ``deltaForImpulse`` its fields to those of this
package.
"""

from __future__ import annotations

from .basis_order import BasisOrder, NWChemShell, basisOrder, parseShells
from .errors import NWChemBasisError, NWChemInputError, NWChemMissingError, NWChemOutputError, NWChemRunError
from .fields import NWChemDelta, NWChemField, NWChemGaussian, deltaForImpulse, fieldOf, impulseOf
from .input_file import NWChemInput
from .output_file import NWChemOutput, parseOutput, readOutput
from .restart_file import DensityMatrices, parseRestart, readRestart, readSnapshot
from .runner import NWChemRun, findNWChem, runNWChem

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
    "basisOrder",
    "deltaForImpulse",
    "fieldOf",
    "findNWChem",
    "impulseOf",
    "parseOutput",
    "parseRestart",
    "parseShells",
    "readOutput",
    "readRestart",
    "readSnapshot",
    "runNWChem",
]
