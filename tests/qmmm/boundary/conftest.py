from tests.support.qmmm.fixtures import (
    ala2,
    ala2_atoms,
    chorismate_mutase,
    flexible_water,
    solvated_ala2,
    solvated_parts,
)

__all__ = ["ala2", "ala2_atoms", "chorismate_mutase", "flexible_water", "solvated_ala2", "solvated_parts"]
