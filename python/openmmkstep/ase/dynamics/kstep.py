"""`KStepDynamics`: molecular dynamics of `ase.Atoms` on one calculator, for one call of it every k steps."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO, Any

import numpy as np
from ase import Atoms, units
from ase.md.md import MolecularDynamics
from ase.parallel import world
from numpy.typing import NDArray

from openmmkstep.engines.ase.conversion import ENERGY, FORCE

from .levels import Levels, StepEnd
from .statistics import KStepDynamicsStatistics

Array = NDArray[np.float64]


class KStepDynamics(MolecularDynamics):
    """Dynamics on the potential of the atoms' own calculator, which is called once every k steps.

    The inner steps are those of a cheap surrogate; the calculator of the atoms, the top level, corrects them by the
    impulse k dt (F_top - F_surrogate), half before and half after (reversible r-RESPA: Tuckerman, Berne and Martyna,
    J. Chem. Phys. 97, 1990 (1992)). At constant energy the map is symplectic and time reversible. With a friction the
    inner step is BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34). It is the scheme of the
    `KStepIntegrator` for OpenMM. With k = 1 it is that of ASE's `VelocityVerlet`, to the last bit.

    One step of ``run`` is an outer step of k inner steps. Trajectories, logs and observers see the top level between
    outer steps, which costs no further call. Any two calculators will do: also ASE's `SimpleQMMM` and `EIQMMM`, or
    `SurrogateCalculator` for an exported archive.

    An outer step that ends in a state that is not finite, with a correction or an energy error above a bound, or in
    which a calculator failed, is undone and repeated with plain steps on the top level (k calls, the same noise).

    Args:
        atoms: The atoms; their calculator is the top level.
        timestep: Length of an inner step, ASE's unit of time (``ase.units.fs``).
        k: Inner steps in an outer step.
        surrogate: Calculator of the inner steps. None only for k = 1.
        temperature_K: Temperature of the heat bath, K. None for constant energy.
        friction: Friction coefficient, in 1 over ASE's unit of time; with ``temperature_K``.
        rng: Generator with the method ``standard_normal``, for the noise; None for a new one.
        monitored: Atoms over which the correction is measured, such as the QM region; None for all.
        max_correction: Bound of abs(F_top - F_surrogate) on one of them, eV/A; the default is 5000 kJ/mol/nm.
        max_energy_error: Bound of the energy error of an outer step, eV; the default is 50 kJ/mol.
        max_consecutive_fallbacks: Outer steps in a row that may be repeated before it gives up.
        trajectory: As in ASE's other classes of dynamics.
        logfile: Likewise.
        loginterval: Likewise, in outer steps.
        **kwargs: Further arguments of ASE's `MolecularDynamics`.

    Raises:
        TypeError: ``atoms`` are no Atoms, or k is no integer.
        ValueError: No calculator, no surrogate for k > 1, or numbers that make no sense.

    Example:
        >>> atoms.calc = QMCalculator("pyscf", xc="b3lyp", basis="6-31g*")
        >>> dynamics = KStepDynamics(atoms, 0.5 * units.fs, 8, SurrogateCalculator("ethanol.pt"), logfile="-")
        >>> dynamics.run(1000)  # 4 ps for 1001 calls
        >>> dynamics.statistics.mean_correction_rms
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        k: int,
        surrogate: Any = None,
        *,
        temperature_K: float | None = None,  # noqa: N803 (ASE's own name)
        friction: float | None = None,
        rng: Any = None,
        monitored: Sequence[int] | None = None,
        max_correction: float = 5000 * FORCE,
        max_energy_error: float = 50 * ENERGY,
        max_consecutive_fallbacks: int = 10,
        trajectory: Any = None,
        logfile: IO[str] | str | None = None,
        loginterval: int = 1,
        **kwargs: Any,
    ) -> None:
        if not isinstance(atoms, Atoms):
            raise TypeError(f"KStepDynamics moves ase.Atoms, not {type(atoms).__name__}")
        if atoms.calc is None:
            raise ValueError("the atoms have no calculator: set atoms.calc to that of the top level")
        if isinstance(k, bool):
            raise TypeError("k must be an integer")
        self.k = operator.index(k)
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if surrogate is None and self.k > 1:
            raise ValueError("k > 1 needs a surrogate: give the calculator of the inner steps")
        if surrogate is not None and surrogate is atoms.calc:
            raise ValueError("surrogate and top level are the same object: give each level a calculator of its own")
        if (temperature_K is None) != (friction is None):
            raise ValueError("temperature_K and friction belong together: give both, or none for constant energy")
        for name, value in (
            ("timestep", timestep),
            ("max_correction", max_correction),
            ("max_energy_error", max_energy_error),
        ):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        if temperature_K is not None and friction is not None and not (temperature_K >= 0 and friction >= 0):
            raise ValueError("temperature_K and friction must not be negative")
        self.temperature_K, self.friction = temperature_K, friction or 0.0
        self.rng = np.random.default_rng() if rng is None else rng
        self.max_energy_error = max_energy_error
        self.max_consecutive_fallbacks = max_consecutive_fallbacks
        self._counts = KStepDynamicsStatistics()
        self._levels = Levels(atoms, surrogate, monitored, max_correction, self._counts)
        super().__init__(atoms, timestep, trajectory=trajectory, logfile=logfile, loginterval=loginterval, **kwargs)

    @property
    def statistics(self) -> KStepDynamicsStatistics:
        """What was counted and measured so far (a copy)."""
        return replace(self._counts)

    def get_time(self) -> float:
        """Time since the start, in ASE's unit."""
        return float(self.nsteps * self.k * self.dt)

    def todict(self) -> dict[str, Any]:
        """What trajectories say of the dynamics; ``timestep`` is the inner step."""
        told = {**super().todict(), "k": self.k}
        return (
            told
            if self.temperature_K is None
            else {
                **told,
                "temperature_K": self.temperature_K,
                "friction": self.friction,
            }
        )

    def step(self) -> None:
        """Take one outer step.

        Raises:
            RuntimeError: More outer steps in a row had to be repeated than are allowed.
            ValueError: The state at the start is not finite.
            Exception: The top level fails where there is nothing to fall back to. The state is that before the step,
                whatever is raised.
        """
        atoms, counts = self.atoms, self._counts
        positions, momenta = atoms.get_positions(), atoms.get_momenta()
        if not (np.isfinite(positions).all() and np.isfinite(momenta).all()):
            raise ValueError("positions or momenta are not finite at the start of a step")
        try:
            start = self._levels.measure()
            noise = self._noise()
            kinetic = float(atoms.get_kinetic_energy())
            end, heat, reason = None, 0.0, start.rejection
            if reason is None:
                end, heat, reason = self._attempt(start, noise, kinetic)
            if end is None:
                atoms.set_positions(positions, apply_constraint=False)
                atoms.set_momenta(momenta, apply_constraint=False)
                self._count_fallback(str(reason))
                heat = self._inner_steps(start.top, self._levels.top_forces, self._levels.top_forces, noise)
                end = self._levels.measure()
                if not self._is_finite():
                    raise ValueError("plain steps on the top level end in a state that is not finite")
            else:
                counts.consecutive_fallbacks = 0
        except BaseException:
            atoms.set_positions(positions, apply_constraint=False)
            atoms.set_momenta(momenta, apply_constraint=False)
            raise
        counts.outer_steps += 1
        counts.heat += heat
        counts.energy_error = end.energy + float(atoms.get_kinetic_energy()) - start.energy - kinetic - heat
        counts.cumulative_energy_error += counts.energy_error
        counts.take_correction(end.rms, end.largest)

    def _attempt(self, start: StepEnd, noise: Array | None, kinetic: float) -> tuple[StepEnd | None, float, str | None]:
        """An outer step on both levels: its end and the heat, or why it cannot stay."""
        ends: list[StepEnd] = []

        def last() -> Array:
            ends.append(self._levels.measure())
            return self._mixed(ends[0])

        interior = self._levels.surrogate_forces if self._levels.has_surrogate else self._levels.top_forces
        try:
            heat = self._inner_steps(self._mixed(start), interior, last, noise)
        except _RejectedError as error:
            return None, 0.0, str(error)
        except Exception as error:
            # Whatever a calculator raises at a geometry where the surrogate has led to.
            return None, 0.0, f"{type(error).__name__}: {error}"
        (end,) = ends
        if not self._is_finite():
            return None, 0.0, "positions or momenta are not finite"
        excess = abs(end.energy + self.atoms.get_kinetic_energy() - start.energy - kinetic - heat)
        if not excess <= self.max_energy_error:
            bound = f"exceeds the bound of {self.max_energy_error:g}"
            return None, 0.0, f"an energy error of {excess:g} eV in one outer step {bound}"
        return end, heat, None

    def _mixed(self, end: StepEnd) -> Array:
        """The forces of an inner step and of the correction together, in units of an inner step."""
        if end.rejection is not None:
            raise _RejectedError(end.rejection)
        if self.k == 1 or end.surrogate is None:
            return end.top
        return self.k * end.top + (1 - self.k) * end.surrogate

    def _inner_steps(
        self, first: Array, interior: Callable[[], Array], last: Callable[[], Array], noise: Array | None
    ) -> float:
        """Inner steps of velocity Verlet with RATTLE or of BAOAB, with given forces at both ends; returns the heat."""
        atoms, half = self.atoms, 0.5 * self.dt
        heat, forces = 0.0, first
        for inner_step in range(self.k):
            self._counts.inner_steps += 1
            momenta = atoms.get_momenta() + half * forces
            if noise is None:
                self._drift(self.dt, momenta)
            else:
                self._drift(half, momenta)
                heat += self._thermostat(noise[inner_step])
                self._drift(half, atoms.get_momenta())
            forces = interior() if inner_step < self.k - 1 else last()
            # The second part of RATTLE is done here.
            atoms.set_momenta(atoms.get_momenta() + half * forces)
        return heat

    def _drift(self, time: float, momenta: Array) -> None:
        atoms = self.atoms
        masses, before = atoms.get_masses()[:, np.newaxis], atoms.get_positions()
        atoms.set_positions(before + time * momenta / masses)
        if atoms.constraints:
            momenta = (atoms.get_positions() - before) * masses / time
        atoms.set_momenta(momenta, apply_constraint=False)

    def _thermostat(self, noise: Array) -> float:
        """Friction and noise for the length of an inner step; returns the heat."""
        atoms = self.atoms
        before = atoms.get_kinetic_energy()
        kept = np.exp(-self.friction * self.dt)
        width = np.sqrt((1 - kept**2) * atoms.get_masses()[:, np.newaxis] * units.kB * self.temperature_K)
        atoms.set_momenta(kept * atoms.get_momenta() + width * noise)
        return float(atoms.get_kinetic_energy() - before)

    def _noise(self) -> Array | None:
        """Of a whole outer step [k,n,3], so that a repetition gets the same; None at constant energy."""
        if self.friction == 0:
            return None
        noise = np.asarray(self.rng.standard_normal((self.k, len(self.atoms), 3)))
        world.broadcast(noise, 0)
        return noise

    def _is_finite(self) -> bool:
        atoms = self.atoms
        return bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.get_momenta()).all())

    def _count_fallback(self, reason: str) -> None:
        counts = self._counts
        counts.last_fallback_reason = reason
        if counts.consecutive_fallbacks >= self.max_consecutive_fallbacks:
            raise RuntimeError(
                f"{counts.consecutive_fallbacks + 1} outer steps in a row had to be repeated on the top level alone; "
                f"the last one because of this: {reason}. Take a smaller k or time step, or a better surrogate"
            )
        counts.fallbacks += 1
        counts.consecutive_fallbacks += 1


class _RejectedError(Exception):
    """Steps with the surrogate may not begin or end here."""
