import pytest

from tests.support.qmmm.fixtures import ala2, ala2_atoms, solvated_ala2, solvated_parts

pytest.importorskip("openmmml", reason="openmm-ml is not installed: pip install 'openmm-kstep[openmm-ml]'")

__all__ = ["ala2", "ala2_atoms", "solvated_ala2", "solvated_parts"]
