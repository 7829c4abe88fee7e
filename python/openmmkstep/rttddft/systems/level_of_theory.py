"""Which equations the electrons obey: method, basis set and functional, checked before anything is computed."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from openmmkstep.rttddft.arguments import integer_from
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.pyscf_loading import load_pyscf

from .molecule import Molecule

METHODS = ("rhf", "uhf", "rks", "uks")
_FINEST_GRID = 9


@dataclass(frozen=True)
class LevelOfTheory:
    """Level of theory, by the names that PySCF knows.

    Attributes:
        method: ``rhf``, ``uhf``, ``rks`` or ``uks``.
        basis: Gaussian basis set, real spherical functions.
        functional: exchange and correlation for ``rks`` and ``uks``; empty for ``rhf`` and ``uhf``. Global and
            range-separated hybrids, meta-GGAs and VV10 are all taken; the kinetic-energy density of a meta-GGA is that
            of the real density, without the current, as in PySCF's linear response.
        density_fitting: fit Coulomb and exchange integrals with an auxiliary basis.
        auxiliary_basis: for density fitting; empty lets PySCF choose.
        grid_level: integration grid of the functional, 0 (coarse) to 9.

    Raises:
        ElectronDynamicsError: unknown method, or options that do not go together.
    """

    method: str
    basis: str
    functional: str = ""
    density_fitting: bool = False
    auxiliary_basis: str = ""
    grid_level: int = 3

    def __post_init__(self) -> None:
        store = object.__setattr__
        method = str(self.method).lower()
        if method not in METHODS:
            raise ElectronDynamicsError(f"unknown method {self.method!r}: use one of {', '.join(METHODS)}")
        store(self, "method", method)
        if not str(self.basis).strip():
            raise ElectronDynamicsError("no basis set was named: give one such as '6-31g'")
        if self.is_kohn_sham and not str(self.functional).strip():
            raise ElectronDynamicsError(f"{method} needs a functional, for example functional='pbe0'")
        if not self.is_kohn_sham and self.functional:
            raise ElectronDynamicsError(
                f"{method} has no functional, got {self.functional!r}: use {method[0]}ks, or leave the functional out"
            )
        if self.auxiliary_basis and not self.density_fitting:
            raise ElectronDynamicsError(
                "auxiliary_basis is only used with density_fitting=True: set it, or leave both out"
            )
        store(self, "grid_level", integer_from("grid_level", self.grid_level, 0))
        if self.grid_level > _FINEST_GRID:
            raise ElectronDynamicsError(f"grid_level must be between 0 and {_FINEST_GRID}, got {self.grid_level}")

    @property
    def is_kohn_sham(self) -> bool:
        """Whether there is an exchange-correlation functional."""
        return self.method.endswith("ks")

    @property
    def is_restricted(self) -> bool:
        """Whether both spins share their orbitals."""
        return self.method.startswith("r")

    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {
            "method": self.method,
            "basis": self.basis,
            "functional": self.functional,
            "density_fitting": bool(self.density_fitting),
            "auxiliary_basis": self.auxiliary_basis,
            "grid_level": self.grid_level,
        }

    def check(self, molecule: Molecule) -> None:
        """Refuse what cannot work for a molecule; cheap.

        Raises:
            ElectronDynamicsError: open shell with a closed-shell method, a basis set or functional that PySCF does not
                know, a basis set without one of the elements.
            MissingDependencyError: PySCF is not installed.
        """
        if self.is_restricted and molecule.unpaired:
            raise ElectronDynamicsError(
                f"{molecule.name} has {molecule.unpaired} unpaired electrons, {self.method} has none: "
                f"use u{self.method[1:]}"
            )
        pyscf = load_pyscf()
        for name in [self.basis] + ([self.auxiliary_basis] if self.auxiliary_basis else []):
            for symbol in sorted(set(molecule.symbols)):
                _check_basis(pyscf, name, symbol)
        if self.is_kohn_sham:
            _check_functional(pyscf, self.functional)


def _check_basis(pyscf: Any, name: str, symbol: str) -> None:
    with warnings.catch_warnings():
        # PySCF advises to install another package whenever it does not know a name.
        warnings.simplefilter("ignore")
        try:
            pyscf.gto.basis.load(name, symbol)
        except Exception as error:  # PySCF raises several kinds, by where the name was looked up last
            raise ElectronDynamicsError(
                f"basis set {name!r} is not known to PySCF for the element {symbol}: check the name, or choose a set "
                "that covers it, such as '6-31g' or 'def2-svp'"
            ) from error


def _check_functional(pyscf: Any, name: str) -> None:
    if re.search(r"-d[234]", name.lower()):
        raise ElectronDynamicsError(
            f"functional {name!r} asks for a dispersion correction, which does not act on electrons: leave it out"
        )
    try:
        hybrid, parts = pyscf.dft.libxc.parse_xc(name)
    except Exception as error:  # KeyError or ValueError, by what is wrong
        raise ElectronDynamicsError(
            f"functional {name!r} is not known to PySCF ({error}): use a name such as 'pbe0', 'b3lyp' or 'pbe,pbe'"
        ) from error
    if not parts and not any(hybrid):
        raise ElectronDynamicsError(f"functional {name!r} is empty: use a name such as 'pbe0'")
