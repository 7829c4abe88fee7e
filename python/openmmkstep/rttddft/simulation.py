"""Runs: from a molecule to a trajectory in memory or in a file that can be continued."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.provenance import software_versions
from openmmkstep.rttddft.electronic_structure.ground_state import GroundState, solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.learned.initial_guess import InitialGuess
from openmmkstep.rttddft.propagation.fields import DeltaKick, ElectricField, NoField
from openmmkstep.rttddft.propagation.propagators import Propagator, State
from openmmkstep.rttddft.reduction.reduced_hamiltonian import ReducedHamiltonian, Reduction
from openmmkstep.rttddft.reduction.response_sources import known_xc_response
from openmmkstep.rttddft.systems.basis_functions import BasisFunctions
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges
from openmmkstep.rttddft.trajectory.continuation import refuse_other_integrals, refuse_other_run
from openmmkstep.rttddft.trajectory.reader import TrajectoryFile
from openmmkstep.rttddft.trajectory.schema import DipoleAccuracy, Frame, TrajectoryHeader
from openmmkstep.rttddft.trajectory.writer import TrajectoryWriter, read_state, refuse_existing

from .arguments import integer_from
from .errors import AccuracyWarning, ElectronDynamicsError
from .pyscf_loading import load_pyscf
from .versions import PACKAGES

RealArray = NDArray[np.float64]


@dataclass(frozen=True)
class Observables:
    """Series of a trajectory, of T frames, the first right after the kick; atomic units.

    Attributes:
        time: [T].
        field: external field [T,3].
        energy: without the field [T].
        dipole: of nuclei and electrons [T,3].
        fock_builds: that the step to each frame took [T]; with a reduction, evaluations of the functional.
        accuracy: with a reduction, how far the dipole is expected to be from the full run's; ``str`` says it in words.
    """

    time: RealArray
    field: RealArray
    energy: RealArray
    dipole: RealArray
    fock_builds: NDArray[np.int64]
    accuracy: DipoleAccuracy | None = None


class ElectronDynamics:
    """The electrons of a molecule, after a kick or in a field, from the ground state on.

    Nothing is computed before :meth:`run`, but all input is checked here.

    Args:
        molecule: nuclei, which stand still, and electrons.
        level: level of theory.
        propagator: scheme and time step.
        kick: at t = 0, or None.
        field: from t = 0 on.
        reduction: evaluate the functional only where the trajectory is new (:mod:`.reduced_hamiltonian`); None for all
            Fock matrices in full. A continued file learns anew, and agrees with an uninterrupted run to the tolerance
            of the reduction rather than to round-off. A run that finds itself less accurate than asked says so, by an
            AccuracyWarning, in its result and in its file.
        environment: fixed charges around the molecule, which act on its nuclei and electrons; None for vacuum.
        threads: of PySCF; more than one pays for large molecules on an idle machine only.
        initial_guess: archive of a response network, from whose density the SCF begins (:mod:`.initial_guess`); None
            for that of PySCF. The ground state is the same.

    Raises:
        ElectronDynamicsError: molecule, level of theory and the rest do not go together.
        MissingDependencyError: PySCF is not installed.
    """

    def __init__(
        self,
        molecule: Molecule,
        level: LevelOfTheory,
        propagator: Propagator,
        kick: DeltaKick | None = None,
        field: ElectricField | None = None,
        reduction: Reduction | None = None,
        environment: PointCharges | None = None,
        threads: int = 1,
        initial_guess: str | os.PathLike[str] | None = None,
    ) -> None:
        for name, value, kind in (
            ("molecule", molecule, Molecule),
            ("level", level, LevelOfTheory),
            ("propagator", propagator, Propagator),
            ("kick", kick, (DeltaKick, type(None))),
            ("field", field, (ElectricField, type(None))),
            ("reduction", reduction, (Reduction, type(None))),
            ("environment", environment, (PointCharges, type(None))),
            ("initial_guess", initial_guess, (str, os.PathLike, type(None))),
        ):
            if not isinstance(value, kind):
                raise ElectronDynamicsError(f"{name} cannot be {value!r}: see the documentation of this class")
        self.molecule = molecule
        self.level = level
        self.propagator = propagator
        self.kick = kick
        self.field = field if field is not None else NoField()
        self.reduction = reduction
        self.environment = environment
        self.threads = integer_from("threads", threads, 1)
        level.check(molecule)
        if reduction is not None:
            reduction.check(molecule, level)
        if environment is not None:
            environment.check(molecule)
        self._initial_guess = None if initial_guess is None else InitialGuess(os.fspath(initial_guess))
        if self._initial_guess is not None:
            self._initial_guess.check(molecule, level)
        self.field.at(0.0)
        self._mean_field: Any = None
        self._hamiltonian: Hamiltonian | None = None
        self._ground: GroundState | None = None
        self._reduced: ReducedHamiltonian | None = None
        self._sharing = False

    @property
    def hamiltonian(self) -> Hamiltonian:
        """Integrals and Fock builder; computed on first use.

        Raises:
            ElectronDynamicsError: the basis set is linearly dependent.
        """
        if self._hamiltonian is None:
            self._mean_field = create_mean_field(self.molecule, self.level, self.environment)
            self._hamiltonian = Hamiltonian(self._mean_field)
        return self._hamiltonian

    @property
    def ground_state(self) -> GroundState:
        """The state before the kick; computed on first use.

        Raises:
            ConvergenceError: the SCF did not converge.
        """
        if self._ground is None:
            hamiltonian = self.hamiltonian
            guess = None
            if self._initial_guess is not None:
                guess = self._initial_guess.density(self._mean_field, self.molecule, hamiltonian)
            self._ground = solve_ground_state(self._mean_field, hamiltonian, guess)
        return self._ground

    @property
    def moving_hamiltonian(self) -> Hamiltonian:
        """What the electrons move in: the full Hamiltonian, or the reduced one."""
        if self.reduction is None:
            return self.hamiltonian
        if self._reduced is None:
            ground = self.ground_state
            prior = None
            if self.reduction.response is not None:
                prior = known_xc_response(
                    self.reduction.response, self._mean_field, self.molecule, self.hamiltonian, ground
                )
            self._reduced = ReducedHamiltonian(self.hamiltonian, ground.density, self.reduction, prior)
        return self._reduced

    def kicked(self, kick: DeltaKick | None, sharing: bool = False) -> ElectronDynamics:
        """The same with another kick, or none, with the same integrals and ground state, which are computed now.

        Args:
            kick: at t = 0.
            sharing: with a reduction: a run of the new one begins with what runs before it, of all that come from this
                one, have learned of the functional, and adds to it. Each still keeps to the tolerance, with fewer
                evaluations, but depends, within it, on those before.
        """
        other = self._sibling(sharing)
        other.kick = kick
        return other

    def driven(self, field: ElectricField, sharing: bool = False) -> ElectronDynamics:
        """As :meth:`kicked`, with another field."""
        other = self._sibling(sharing)
        other.field = field
        return other

    def _sibling(self, sharing: bool) -> ElectronDynamics:
        self.moving_hamiltonian  # noqa: B018
        other = copy.copy(self)
        other._sharing = sharing
        return other

    def run(
        self,
        steps: int,
        path: str | os.PathLike[str] | None = None,
        resume: bool = False,
        density_interval: int = 1,
        flush_interval: int = 100,
        progress: Callable[[State], None] | None = None,
    ) -> Observables:
        """Propagate from t = 0, or continue.

        Args:
            steps: from t = 0 on, those in a continued file included.
            path: HDF5 file to write (see `openmmkstep.rttddft.trajectory`); None keeps the series in memory only.
            resume: continue the file from its last complete frame, as if it had never stopped. A file that does not
                exist yet is started.
            density_interval: steps between stored densities; 0 stores none. Of a continued file it must be the same.
            flush_interval: steps between writes to the file; a killed run loses at most these.
            progress: called with each new state.

        Returns:
            The series of all frames, from the beginning of the file.

        Raises:
            ElectronDynamicsError: impossible numbers.
            TrajectoryError: the file exists, is damaged, or belongs to another run; no frame is lost.
            ConvergenceError: SCF or a step; the frames before it are in the file.
        """
        steps = integer_from("steps", steps, 0)
        density_interval = integer_from("density_interval", density_interval, 0)
        flush_interval = integer_from("flush_interval", flush_interval, 1)
        pyscf = load_pyscf()
        with pyscf.lib.with_omp_threads(self.threads):
            if path is None:
                series = self._run_in_memory(steps, progress)
            else:
                series = self._run_with_file(steps, Path(path), resume, density_interval, flush_interval, progress)
        if series.accuracy is not None and not series.accuracy.is_kept:
            warnings.warn(f"{self.molecule.name}: {series.accuracy}", AccuracyWarning, stacklevel=2)
        return series

    @property
    def _estimated_error(self) -> float | None:
        """Of the dipole since the beginning of this run."""
        return None if self._reduced is None else self._reduced.estimated_error

    @property
    def _promised_error(self) -> float | None:
        return None if self.reduction is None else self.reduction.promised

    def _first(self) -> State:
        orbitals = self.ground_state.orbitals
        if self.kick is not None:
            orbitals = self.kick.apply(self.hamiltonian, orbitals)
        hamiltonian = self.moving_hamiltonian
        before = hamiltonian.fock_builds
        if isinstance(hamiltonian, ReducedHamiltonian) and not hamiltonian.evaluations:
            # The evaluation for the ground state belongs to the first run.
            before -= 1
        self._forget_runs_before()
        state = self.propagator.start(hamiltonian, orbitals)
        return replace(state, fock_builds=hamiltonian.fock_builds - before)

    def _forget_runs_before(self) -> None:
        hamiltonian = self.moving_hamiltonian
        if not isinstance(hamiltonian, ReducedHamiltonian):
            return
        if self._sharing:
            hamiltonian.begin_trajectory()
        else:
            hamiltonian.forget()

    def _states(self, state: State, steps: int) -> Iterator[State]:
        hamiltonian = self.moving_hamiltonian
        while state.step < steps:
            before = hamiltonian.fock_builds
            state = self.propagator.advance(hamiltonian, self.field, state)
            yield replace(state, fock_builds=hamiltonian.fock_builds - before)

    def _frame(self, state: State, ground: RealArray, density_interval: int) -> Frame:
        deviation = None
        if density_interval and state.step % density_interval == 0:
            deviation = self.hamiltonian.density(state.orbitals) - ground
        field, dipole = self.field.at(state.time), self.hamiltonian.dipole(state.orbitals)
        return Frame(state.time, field, state.energy, dipole, state.fock_builds, deviation)

    def _run_in_memory(self, steps: int, progress: Callable[[State], None] | None) -> Observables:
        first = self._first()
        frames = [self._frame(first, self.ground_state.density, 0)]
        for state in self._states(first, steps):
            frames.append(self._frame(state, self.ground_state.density, 0))
            if progress is not None:
                progress(state)
        return Observables(
            np.array([frame.time for frame in frames]),
            np.array([frame.field for frame in frames]),
            np.array([frame.energy for frame in frames]),
            np.array([frame.dipole for frame in frames]),
            np.array([frame.fock_builds for frame in frames]),
            None if self.reduction is None else DipoleAccuracy(self._estimated_error, self.reduction.promised),
        )

    def _run_with_file(
        self,
        steps: int,
        path: Path,
        resume: bool,
        density_interval: int,
        flush_interval: int,
        progress: Callable[[State], None] | None,
    ) -> Observables:
        if resume and path.exists():
            state, writer, ground = self._continued(path, steps, density_interval)
        else:
            refuse_existing(path)
            state, writer, ground = self._started(path, steps, density_interval)
        self._run_to_file(steps, state, writer, ground, density_interval, flush_interval, progress)
        with TrajectoryFile(path) as file:
            builds = file.fock_builds.astype(np.int64)
            return Observables(file.time, file.field, file.energy, file.dipole, builds, file.accuracy)

    def _run_to_file(
        self,
        steps: int,
        state: State,
        writer: TrajectoryWriter,
        ground: RealArray,
        density_interval: int,
        flush_interval: int,
        progress: Callable[[State], None] | None,
    ) -> None:
        last = state
        try:
            for following in self._states(state, steps):
                writer.append(self._frame(following, ground, density_interval))
                last, writer.estimated_error = following, self._estimated_error
                if writer.pending >= flush_interval:
                    writer.flush(last)
                if progress is not None:
                    progress(last)
        finally:
            # Also after an error or an interruption: the frames so far are complete.
            writer.close(last)

    def _started(self, path: Path, steps: int, density_interval: int) -> tuple[State, TrajectoryWriter, RealArray]:
        first, ground = self._first(), self.ground_state.density
        frame = self._frame(first, ground, density_interval)
        return first, TrajectoryWriter.create(path, self._header(steps, density_interval), first, frame), ground

    def _described_level(self) -> dict[str, Any]:
        described = self.level.describe()
        if self.reduction is not None:
            described["reduction"] = self.reduction.describe()
        if self.environment is not None:
            # Their field is in the core Hamiltonian of the file.
            described["point_charges"] = len(self.environment)
        return described

    def _header(self, steps: int, density_interval: int) -> TrajectoryHeader:
        hamiltonian, ground = self.hamiltonian, self.ground_state
        return TrajectoryHeader(
            molecule=self.molecule,
            level=self._described_level(),
            propagator=self.propagator.describe(),
            field=self.field.describe(),
            kick=None if self.kick is None else self.kick.describe(),
            steps=steps,
            time_step=self.propagator.time_step,
            density_interval=density_interval,
            basis=BasisFunctions.of(self._mean_field.mol),
            overlap=hamiltonian.overlap,
            core=hamiltonian.core,
            position=hamiltonian.position,
            ground_density=ground.density,
            ground_energy=ground.energy,
            software=software_versions(PACKAGES),
            promised_error=self._promised_error,
        )

    def _continued(self, path: Path, steps: int, density_interval: int) -> tuple[State, TrajectoryWriter, RealArray]:
        settings = {
            "level_of_theory": self._described_level(),
            "propagator": self.propagator.describe(),
            "kick": None if self.kick is None else self.kick.describe(),
            "field": self.field.describe(),
            "density_interval": density_interval,
        }
        with TrajectoryFile(path) as file:
            refuse_other_run(file, self.molecule, settings, self.field)
            refuse_other_integrals(file, self.hamiltonian.overlap, self.hamiltonian.core)
            frames, planned = len(file), int(file.attributes["n_steps"])
            ground = file.ground_density.reshape(file.spins, *file.overlap.shape)
            earlier = None if file.accuracy is None else file.accuracy.estimated
        self._forget_runs_before()
        state = read_state(path)
        if steps > planned:
            TrajectoryWriter.extend(path, steps)
        return state, TrajectoryWriter(path, frames, density_interval, earlier), ground
