import pytest

pytest.importorskip("ase", reason="ASE is not installed: pip install 'openmm-kstep[ase]'")
