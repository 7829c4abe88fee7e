"""NWChem input for a ground state and real-time TDDFT from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kstep_models.elements import symbol_of

from .errors import NWChemInputError
from .fields import NWChemField, number, positive

GEOMETRY = "system"
"""Name of the geometry in the input, and in the labels of the output."""
SCRATCH = "scratch"
"""Folder for NWChem's temporary files, inside the folder of the run."""
PERMANENT = "permanent"
"""Folder for the files that NWChem keeps, inside the folder of the run."""

_LONGEST_TAG = 24
_TIGHTEST_ENERGY = 1e-11
_HEAVIEST = 36
_GRIDS = ("xcoarse", "coarse", "medium", "fine", "xfine", "huge")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")


class MoleculeLike(Protocol):
    """Anything with these attributes, such as the molecule of the reference propagator."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers [n]."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions [n,3], bohr."""

    @property
    def charge(self) -> int:
        """Total charge, e."""

    @property
    def multiplicity(self) -> int:
        """Spin multiplicity 2S+1."""


@dataclass(frozen=True)
class NWChemInput:
    """A real-time TDDFT calculation; ``text()`` is the input.

    The geometry is written in bohr and neither moved nor turned, without symmetry, so that matrices and vectors can be
    compared with those of other programs. The functions of the basis set are real and spherical.

    Attributes:
        numbers: atomic numbers [n].
        positions: [n,3], bohr.
        basis: name of a basis set in NWChem's library, for all elements.
        functional: in NWChem's words, such as ``pbe0``, ``b3lyp`` or ``xpbe96 cpbe96``; ``hf`` for Hartree-Fock.
        steps: time steps; results are printed for t = 0 and after each of them.
        time_step: dt, atomic units.
        fields: external fields.
        charge: total charge, e.
        multiplicity: spin multiplicity 2S+1.
        open_shell: propagate both spins separately even where the multiplicity is 1.
        grid: for the functional: xcoarse, coarse, medium, fine, xfine or huge.
        energy_convergence: of the ground state, hartree.
        density_convergence: of the ground state.
        step_tolerance: of the iterations within a step. It bounds the change of the norm of the density matrix, which
            hardly changes, so that errors of the density are far larger: 5e-7 after a weak and 3e-6 after a strong kick
            with NWChem's own 1e-7, up to 8e-8 with 1e-11, up to 3e-9 with 1e-13. Loosen it if a step does not converge.
        series_tolerance: of the power series for the exponential.
        all_densities: write the complex density matrix after every step, to the same file each time (see
            ``run_nwchem``); otherwise only that of t = 0.
        snapshots: write the real part of the density matrix of every step to a file of its own.
        name: of the files.
        tag: first word of the lines with results.
        title: free text.

    Raises:
        NWChemInputError: shapes, values or names that NWChem would refuse, or take for something else.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    basis: str
    functional: str
    steps: int
    time_step: float
    fields: Sequence[NWChemField] = ()
    charge: int = 0
    multiplicity: int = 1
    open_shell: bool = False
    grid: str = "xfine"
    energy_convergence: float = 1e-10
    density_convergence: float = 1e-9
    step_tolerance: float = 1e-13
    series_tolerance: float = 1e-13
    all_densities: bool = False
    snapshots: bool = False
    name: str = "rt"
    tag: str = "rt"
    title: str = "real-time TDDFT"
    symbols: list[str] = field(init=False)

    def __post_init__(self) -> None:
        store = object.__setattr__
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.array(self.positions, dtype=np.float64)
        if numbers.ndim != 1 or len(numbers) == 0:
            raise NWChemInputError(f"numbers must be a list of atomic numbers, got shape {list(numbers.shape)}")
        if positions.shape != (len(numbers), 3) or not np.all(np.isfinite(positions)):
            raise NWChemInputError(
                f"positions must be finite numbers [{len(numbers)}, 3] for {len(numbers)} atoms, "
                f"got shape {list(positions.shape)}"
            )
        heavy = sorted({int(z) for z in numbers if z > _HEAVIEST})
        if heavy:
            raise NWChemInputError(
                f"elements up to Z = {_HEAVIEST} are covered, got {heavy}: effective core potentials are not written"
            )
        store(self, "numbers", numbers)
        store(self, "positions", positions)
        store(self, "symbols", [_symbol(int(z)) for z in numbers])
        store(self, "fields", tuple(self.fields))
        self._check_electrons()
        self._check_propagation()
        self._check_words()

    @classmethod
    def for_molecule(cls, molecule: MoleculeLike, basis: str, functional: str, **settings: Any) -> NWChemInput:
        """Input for a molecule that carries its own charge and multiplicity.

        Args:
            molecule: with numbers, positions (bohr), charge and multiplicity.
            basis: see the class.
            functional: see the class.
            settings: further attributes of the class, ``steps`` and ``time_step`` among them.
        """
        return cls(
            numbers=molecule.numbers,
            positions=molecule.positions,
            basis=basis,
            functional=functional,
            charge=molecule.charge,
            multiplicity=molecule.multiplicity,
            **settings,
        )

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return int(np.asarray(self.numbers).sum()) - self.charge

    @property
    def is_open_shell(self) -> bool:
        """Whether both spins have density matrices of their own."""
        return self.open_shell or self.multiplicity > 1

    @property
    def times(self) -> NDArray[np.float64]:
        """Times of the results [steps+1], atomic units."""
        return np.asarray(self.time_step * np.arange(self.steps + 1), dtype=np.float64)

    def text(self) -> str:
        """The input."""
        return "\n".join([*self._system(), *self._ground_state(), *self._propagation()]) + "\n"

    def _system(self) -> list[str]:
        atoms = [
            f"  {symbol:<2s} " + " ".join(f"{x:22.14f}" for x in place)
            for symbol, place in zip(self.symbols, self.positions, strict=True)
        ]
        return [
            f'title "{self.title}"',
            f"start {self.name}",
            f"scratch_dir ./{SCRATCH}",
            f"permanent_dir ./{PERMANENT}",
            f"charge {self.charge}",
            f'geometry "{GEOMETRY}" units bohr nocenter noautosym noautoz',
            *atoms,
            "end",
            f'set geometry "{GEOMETRY}"',
            "basis spherical",
            f'  * library "{self.basis}"',
            "end",
        ]

    def _ground_state(self) -> list[str]:
        functional = "hfexch 1.0" if self.functional.strip().lower() == "hf" else self.functional.strip()
        return [
            "dft",
            *(["  odft"] if self.open_shell else []),
            f"  mult {self.multiplicity}",
            f"  xc {functional}",
            f"  grid {self.grid}",
            f"  convergence energy {number(self.energy_convergence)} density {number(self.density_convergence)}",
            "  iterations 200",
            '  noprint "final vectors analysis"',
            "end",
            "task dft energy",
        ]

    def _propagation(self) -> list[str]:
        # NWChem makes ceiling(tmax/dt) - 1 points; the half step keeps round-off from adding or losing one.
        end = (self.steps + 1.5) * self.time_step
        lines = [
            "rt_tddft",
            f"  tmax {number(end)}",
            f"  dt {number(self.time_step)}",
            f'  tag "{self.tag}"',
            f"  tolerances series {number(self.series_tolerance)} interpol {number(self.step_tolerance)}",
            "  nprints *",
            f"  nrestarts {'*' if self.all_densities else 1}",
            "  print dipole field energy cputime charge convergence",
        ]
        for index, one in enumerate(self.fields, start=1):
            lines += [
                f'  field "field{index}"',
                *(f"    {line}" for line in one.lines()),
                f"    polarization {one.polarization}",
                f"    max {number(one.maximum)}",
                "  end",
            ]
        lines += [f'  excite "{GEOMETRY}" with "field{index}"' for index in range(1, len(self.fields) + 1)]
        if self.snapshots:
            lines += ["  visualization", "    tstart 0.0", f"    tend {number(end)}", "    treference 0.0", "  end"]
        return [*lines, "end", "task dft rt_tddft"]

    def _check_electrons(self) -> None:
        for name, least in (("charge", None), ("multiplicity", 1), ("steps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise NWChemInputError(f"{name} must be an integer, got {value!r}")
            if least is not None and value < least:
                raise NWChemInputError(f"{name} must be at least {least}, got {value}")
        unpaired = self.multiplicity - 1
        if self.electrons < 1 or unpaired > self.electrons or (self.electrons - unpaired) % 2:
            raise NWChemInputError(
                f"{self.electrons} electrons cannot have multiplicity {self.multiplicity}: "
                "correct the charge or the multiplicity"
            )

    def _check_propagation(self) -> None:
        for name in ("time_step", "energy_convergence", "density_convergence", "step_tolerance", "series_tolerance"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        if self.energy_convergence < _TIGHTEST_ENERGY:
            raise NWChemInputError(
                f"energy_convergence must be at least {_TIGHTEST_ENERGY}, or NWChem refuses its own grid, "
                f"got {self.energy_convergence}"
            )
        for one in self.fields:
            if not isinstance(one, NWChemField):
                raise NWChemInputError(f"fields must be NWChemDelta or NWChemGaussian, got {one!r}")
        if self.grid not in _GRIDS:
            raise NWChemInputError(f"unknown grid {self.grid!r}: use one of {', '.join(_GRIDS)}")

    def _check_words(self) -> None:
        if not _WORD.match(self.name):
            raise NWChemInputError(f"name must be letters, digits, '-' and '_' only, got {self.name!r}")
        if not _WORD.match(self.tag) or len(self.tag) > _LONGEST_TAG:
            raise NWChemInputError(f"tag must be at most {_LONGEST_TAG} letters, digits, '-' and '_', got {self.tag!r}")
        for what in ("basis", "functional"):
            if not getattr(self, what).strip():
                raise NWChemInputError(f"no {what} was named")
        for what in ("basis", "functional", "title"):
            if re.search(r'["\n\r;#]', getattr(self, what)):
                raise NWChemInputError(
                    f"{what} must not contain quotes, ';', '#' or line breaks: {getattr(self, what)!r}"
                )


def _symbol(atomic_number: int) -> str:
    try:
        return symbol_of(atomic_number)
    except KeyError as error:
        raise NWChemInputError(f"there is no element with atomic number {atomic_number}") from error
