from tests.support.qmmm.fixtures import ala2, ala2Atoms, solvatedAla2, solvatedParts

__all__ = ["ala2", "ala2Atoms", "solvatedAla2", "solvatedParts"]
