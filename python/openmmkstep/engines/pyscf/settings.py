"""Settings of a PySCF calculation, checked as far as possible before anything is computed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from kstep_models.elements import number_of, symbol_of

from ..protocol import EngineError
from ..setting_values import check_choice, check_flag, check_integer, check_range, check_text
from .coarse_grid import COARSE_LEVEL

HARTREE_FOCK = "hf"
REFERENCES = (None, "restricted", "unrestricted", "restricted-open")
DISPERSIONS = (None, "d3bj", "d3zero", "d4")
INITIAL_GUESSES = ("fresh", "last", "learned")
_FINEST_GRID = 9

Basis = str | Mapping[str, str]


@dataclass(frozen=True)
class Settings:
    """What is calculated, and how; see `openmmkstep.engines.pyscf.engine.PySCF` for the meaning of each.

    Raises:
        EngineError: A value that is not what it should be.
    """

    xc: str
    basis: Basis
    reference: str | None
    density_fit: bool
    auxbasis: Basis | None
    ecp: Basis | None
    dispersion: str | None
    grid_level: int
    grid_response: bool
    coarse_iterations: bool
    conv_tol: float
    max_cycle: int
    level_shift: float
    damp: float
    initial_guess: str
    threads: int
    max_memory: int

    def __post_init__(self) -> None:
        check_text("xc", self.xc)
        _check_names("basis", self.basis)
        for name, value in (("auxbasis", self.auxbasis), ("ecp", self.ecp)):
            if value is not None:
                _check_names(name, value)
        check_choice("reference", self.reference, REFERENCES)
        check_choice("dispersion", self.dispersion, DISPERSIONS)
        check_choice("initial_guess", self.initial_guess, INITIAL_GUESSES)
        check_flag("density_fit", self.density_fit)
        check_flag("coarse_iterations", self.coarse_iterations)
        check_flag("grid_response", self.grid_response)
        check_integer("grid_level", self.grid_level, _FINEST_GRID, lowest=0)
        check_integer("max_cycle", self.max_cycle, 100_000)
        check_integer("threads", self.threads, 1024)
        check_integer("max_memory", self.max_memory, 10_000_000)
        check_range("conv_tol", self.conv_tol, 1e-14, 1e-3)
        check_range("level_shift", self.level_shift, 0.0, 100.0)
        check_range("damp", self.damp, 0.0, 0.99)
        if self.auxbasis is not None and not self.density_fit:
            raise EngineError("auxbasis is only used with density_fit: set it to true, or leave auxbasis out")

    @property
    def is_hartree_fock(self) -> bool:
        """Whether there is no functional."""
        return self.xc.strip().lower() == HARTREE_FOCK

    @property
    def iterates_on_coarse_grid(self) -> bool:
        """Whether there is a functional, and a grid that is finer than the coarse one."""
        return self.coarse_iterations and not self.is_hartree_fock and self.grid_level > COARSE_LEVEL

    def describe(self) -> dict[str, Any]:
        """Those that change results by more than convergence does."""
        described = {
            "xc": self.xc.strip().lower(),
            "basis": _plain(self.basis),
            "reference": self.reference,
            "density_fit": self.density_fit,
            "auxbasis": _plain(self.auxbasis),
            "ecp": _plain(self.ecp),
            "dispersion": self.dispersion,
            "conv_tol": self.conv_tol,
        }
        if not self.is_hartree_fock:
            described |= {"grid_level": self.grid_level, "grid_response": self.grid_response}
        return described

    def basis_of(self, symbol: str) -> str:
        """Name of the basis set for an element.

        Raises:
            EngineError: The mapping has none.
        """
        return _of_element("basis", self.basis, symbol)

    def check(self, pyscf: ModuleType, numbers: Collection[int], multiplicity: int) -> None:
        """Refuse what PySCF cannot calculate for a molecule.

        Raises:
            EngineError: An unknown functional or basis set, a basis set without an element, a reference that does not
                fit the multiplicity, a dispersion correction whose program is not installed.
        """
        if multiplicity > 1 and self.reference == "restricted":
            raise EngineError(
                f"the multiplicity is {multiplicity}, and reference 'restricted' has no unpaired electrons: use "
                "'unrestricted' or 'restricted-open', or leave reference out"
            )
        symbols = sorted({symbol_of(int(number)) for number in numbers})
        for symbol in symbols:
            _check_basis(pyscf, "basis", self.basis_of(symbol), symbol)
            if self.auxbasis is not None:
                _check_basis(pyscf, "auxbasis", _of_element("auxbasis", self.auxbasis, symbol), symbol)
        if not self.is_hartree_fock:
            _check_functional(pyscf, self.xc)
            if self.dispersion is not None and pyscf.dft.libxc.is_nlc(self.xc):
                raise EngineError(f"xc {self.xc!r} has VV10 dispersion already: leave dispersion out")
        if self.dispersion is not None:
            _check_dispersion()

    def core_potentials(self, pyscf: ModuleType, numbers: Collection[int]) -> dict[str, str]:
        """The effective core potential of each element that has one, by name.

        A name for all elements applies to those that it has a potential for; one that has none is refused.

        Raises:
            EngineError: A potential that PySCF does not know.
        """
        symbols = sorted({symbol_of(int(number)) for number in numbers})
        if self.ecp is None:
            named = {symbol: self.basis_of(symbol) for symbol in symbols}
        elif isinstance(self.ecp, str):
            named = dict.fromkeys(symbols, self.ecp)
        else:
            named = {key.strip().capitalize(): name for key, name in self.ecp.items()}
            named = {symbol: name for symbol, name in named.items() if symbol in symbols}
        found = {symbol: name for symbol, name in named.items() if _has_core_potential(pyscf, name, symbol)}
        missing = sorted(set(named) - set(found))
        if self.ecp is not None and missing and (not isinstance(self.ecp, str) or not found):
            raise EngineError(
                f"ecp {named[missing[0]]!r} is not known to PySCF for the element {missing[0]}: leave ecp "
                "out for those that belong to the basis set"
            )
        return found


def load_pyscf() -> ModuleType:
    """The module ``pyscf`` with the parts that are used.

    Raises:
        EngineError: PySCF is not installed.
    """
    try:
        import pyscf
        import pyscf.df
        import pyscf.dft
        import pyscf.grad
        import pyscf.gto
        import pyscf.scf
    except ImportError as error:
        raise EngineError(
            f"the package PySCF cannot be imported ({error}): pip install 'openmm-kstep[pyscf]'"
        ) from error
    return pyscf


def _plain(value: Basis | None) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _check_names(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        check_text(name, value)
        return
    if not value:
        raise EngineError(f"{name} has no element in it")
    for symbol, each in value.items():
        try:
            number_of(str(symbol))
        except KeyError as error:
            raise EngineError(f"{name} has the key {symbol!r}, which is no element") from error
        check_text(f"{name} of {symbol}", each)


def _of_element(name: str, value: Basis, symbol: str) -> str:
    if isinstance(value, str):
        return value
    for key, each in value.items():
        if key.strip().capitalize() == symbol:
            return each
    raise EngineError(f"{name} names no basis set for {symbol}: add it, or name one for all elements")


def _check_basis(pyscf: ModuleType, setting: str, name: str, symbol: str) -> None:
    with warnings.catch_warnings():
        # PySCF advises to install another package whenever it does not know a name.
        warnings.simplefilter("ignore")
        try:
            pyscf.gto.basis.load(name, symbol)
        except Exception as error:  # several kinds, by where the name was looked up last
            raise EngineError(
                f"{setting} {name!r} is not known to PySCF for the element {symbol}: check the name, or choose a "
                "set that covers it, such as 'def2-svp'"
            ) from error


def _has_core_potential(pyscf: ModuleType, name: str, symbol: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(pyscf.gto.basis.load_ecp(name, symbol))
        except Exception:  # as above; there is none of that name
            return False


def _check_functional(pyscf: ModuleType, name: str) -> None:
    terms = [term.strip() for term in re.split(r"[,+*]", name.lower())]
    if any(re.search(r"[-_ ]?3c$", term) for term in terms):
        raise EngineError(
            f"xc {name!r} is a composite method, with a basis set and corrections of its own, which are not all there: "
            "name a functional, a basis and a dispersion instead"
        )
    # Also those, such as wb97x-d, of which libxc knows the functional alone.
    if any(re.search(r"[-_]d(\d\w*)?$", term) for term in terms):
        raise EngineError(
            f"xc {name!r} names a dispersion correction: give it as the setting dispersion, such as 'd3bj' or 'd4'"
        )
    try:
        _, parts = pyscf.dft.libxc.parse_xc(name)
    except Exception as error:  # KeyError or ValueError, by what is wrong
        raise EngineError(
            f"xc {name!r} is not known to PySCF ({error}): use 'hf' or a functional such as 'b3lyp', 'pbe0', "
            "'pbe,pbe'; double hybrids are not covered, because PySCF has no gradients for them"
        ) from error
    if not parts:
        # A bare part of exact exchange too, which would run as Kohn-Sham theory on a grid without a functional.
        raise EngineError(f"xc {name!r} holds no density functional: use 'hf' or a functional such as 'b3lyp'")


def _check_dispersion() -> None:
    try:
        import pyscf.dispersion  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"dispersion needs the package pyscf-dispersion, which cannot be imported ({error}): "
            "pip install pyscf-dispersion"
        ) from error


def check_dispersion_parameters(settings: Settings, mol: Any) -> None:
    """Refuse a dispersion correction without parameters for the functional or the elements of a molecule.

    Raises:
        EngineError: So it is.
    """
    if settings.dispersion is None:
        return
    from pyscf.dispersion import dftd3, dftd4
    from pyscf.scf.dispersion import parse_disp

    xc = settings.xc.strip().lower()
    try:
        method, version, _ = parse_disp(xc, settings.dispersion)
        made = dftd4.DFTD4Dispersion(mol, xc=method) if version == "d4" else dftd3.DFTD3Dispersion(mol, method, version)
        made.get_dispersion()
    except Exception as error:  # RuntimeError or NotImplementedError, by what is missing
        raise EngineError(
            f"there is no dispersion {settings.dispersion!r} for xc {xc!r} and these elements ({error}): choose "
            "another one or leave it out"
        ) from error
