"""PySCF, which is installed only where it is wanted."""

from __future__ import annotations

from types import ModuleType

from .errors import MissingDependencyError


def load_pyscf() -> ModuleType:
    """The module ``pyscf`` with the parts that this package uses.

    Raises:
        MissingDependencyError: PySCF is not installed.
    """
    try:
        import pyscf
        import pyscf.dft
        import pyscf.gto
        import pyscf.qmmm
        import pyscf.scf
    except ImportError as error:
        raise MissingDependencyError(
            f"real-time TDDFT needs PySCF, which cannot be imported ({error}): pip install 'openmm-kstep[pyscf]'"
        ) from error
    return pyscf
