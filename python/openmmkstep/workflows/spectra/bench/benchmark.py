"""Runs the comparison: the reference propagation, reduced ones, and other methods on the same molecules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.provenance import machine_info
from openmmkstep.rttddft.ensembles.geometries import read_geometries
from openmmkstep.rttddft.learned.archive import loaded_archive
from openmmkstep.rttddft.observables.absorption import AXES
from openmmkstep.rttddft.observables.agreement import dipole_error, peak_shift, spectral_overlap
from openmmkstep.rttddft.observables.spectrum import dipole_strength, polarizability
from openmmkstep.rttddft.reduction.reduced_hamiltonian import Reduction
from openmmkstep.rttddft.reduction.response_sources import COMPUTED
from openmmkstep.rttddft.simulation import ElectronDynamics
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.units import EV_PER_HARTREE
from openmmkstep.workflows.config.bench_spectrum import REFERENCE, SpectrumBenchCase, SpectrumBenchConfig
from openmmkstep.workflows.spectra.from_config import level_from, propagator_from, reduction_from

from .comparisons import compared, frames_needed
from .traces import Traces, propagated

SCHEMA = "kstep-bench-spectrum"
VERSION = 2

RealArray = NDArray[np.float64]


def run_spectrum_benchmark(
    config: SpectrumBenchConfig,
    log: Callable[[str], None],
    save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure all cases.

    Args:
        config: what to measure.
        log: called with what is being done.
        save: called after each case with the results so far.

    Returns:
        JSON values; see the keys in the code below. Times are seconds for all directions and steps, ground state and
        everything else included, of one thread.

    Raises:
        ElectronDynamicsError: a geometry cannot be read, or does not go with the level of theory.
        ConvergenceError: SCF or a step.
        MissingDependencyError: PySCF or ASE is not installed.
    """
    # All input is checked before the first case is run.
    cases = {name: _Case(config, case, name, log) for name, case in config.cases.items()}
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "configuration": config.written(),
        "cases": {},
        "machine": machine_info(),
    }
    for name, case in cases.items():
        results["cases"][name] = case.measure()
        save(results)
    return results


# The strength that steps are solved for in pulses: that of a weak kick, which is the strictest.
_WEAK = 1e-3


class _Case:
    def __init__(
        self,
        config: SpectrumBenchConfig,
        case: SpectrumBenchCase,
        name: str,
        log: Callable[[str], None],
    ) -> None:
        self._config = config
        self._case = case
        self._name = name
        self._log = log
        self._level = level_from(case.level)
        self._molecule: Molecule = read_geometries(case.geometry, case.charge, case.multiplicity)[0].molecule
        self._level.check(self._molecule)
        self._reductions = {key: reduction_from(section) for key, section in case.reductions.items()}
        for reduction in self._reductions.values():
            reduction.check(self._molecule, self._level)
        self._propagator = propagator_from(config.propagator, config.time_step, case.kick or _WEAK)

    def measure(self) -> dict[str, Any]:
        case, config = self._case, self._config
        directions = case.compared_directions
        steps = config.steps if case.reference_steps is None else case.reference_steps
        kept = frames_needed("dynamic_modes", self._propagator.time_step) if "dynamic_modes" in case.comparisons else 0
        self._warm_up()
        reduced: dict[str, Traces] = {}
        for name, reduction in self._reductions.items():
            self._log(f"{self._name}: {name}, {config.steps} steps along {', '.join(case.directions)}")
            reduced[name] = propagated(self._dynamics(reduction), case, case.directions, config.steps)
        self._log(f"{self._name}: reference, {steps} steps along {', '.join(directions)}")
        full = self._dynamics()
        reference = propagated(full, case, directions, steps, kept)
        share = config.steps * len(case.directions) / (steps * len(directions))
        whole = reference.extrapolated(share)
        methods: dict[str, Any] = {REFERENCE: _cost(whole, whole)}
        for name, traces in reduced.items():
            methods[name] = _cost(traces, whole) | self._scores(traces, reference, share)
        for name in case.comparisons:
            self._log(f"{self._name}: {name}")
            other = compared(name, self._dynamics(), case, reference, config.steps)
            # None where the reference is too short for a method that continues it.
            methods[name] = None
            if other is not None:
                methods[name] = _cost(other.extrapolated(share), whole) | self._scores(other, reference, share)
        return {
            "molecule": self._molecule.name,
            "basis_functions": full.hamiltonian.size,
            "load_average": machine_info()["load_average"],
            "reference_run": {"directions": list(directions), "steps": steps, "isWhole": share == 1.0},
            "methods": methods,
        }

    def _warm_up(self) -> None:
        """Load what is loaded once for a process, for which the first of the methods or cases would have to pay."""
        for reduction in self._reductions.values():
            if reduction.response not in (None, COMPUTED):
                loaded_archive(reduction.response)
        level = replace(self._level, basis="sto-3g", grid_level=0)
        hydrogen = Molecule.create("HH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.074]])
        ElectronDynamics(hydrogen, level, self._propagator, reduction=Reduction()).run(1)

    def _dynamics(self, reduction: Reduction | None = None) -> ElectronDynamics:
        return ElectronDynamics(self._molecule, self._level, self._propagator, reduction=reduction)

    def _scores(self, traces: Traces, reference: Traces, share: float) -> dict[str, Any]:
        """Errors over what the reference was run for; of spectra only where that is everything, after a kick."""
        frames = len(next(iter(reference.dipoles.values())))
        own = np.stack([traces.dipoles[key][:frames] for key in reference.dipoles], axis=1)
        other = np.stack(list(reference.dipoles.values()), axis=1)
        scores: dict[str, Any] = {
            "dipole_error": dipole_error(own, other),
            "spectral_overlap": None,
            "peakShift_eV": None,
        }
        if self._case.kick is not None and share == 1.0:
            frequencies = self._frequencies()
            first, second = self._absorption(traces, frequencies), self._absorption(reference, frequencies)
            strengths = [dipole_strength(frequencies, trace) for trace in (first, second)]
            scores["spectral_overlap"] = spectral_overlap(*strengths)
            shift = peak_shift(frequencies * EV_PER_HARTREE, first.imag, second.imag)
            # JSON has no infinity; a spectrum without lines has no shift.
            scores["peakShift_eV"] = shift if np.isfinite(shift) else None
        return scores

    def _frequencies(self) -> RealArray:
        config = self._config
        return np.arange(config.lowest, config.highest + 0.5 * config.spacing, config.spacing) / EV_PER_HARTREE

    def _absorption(self, traces: Traces, frequencies: RealArray) -> NDArray[np.complex128]:
        """Sum of the polarisabilities along the directions [W]."""
        along = np.sum([dipole @ np.array(AXES[key]) for key, dipole in traces.dipoles.items()], axis=0)
        times = np.arange(len(along)) * self._propagator.time_step
        return polarizability(times, along, self._case.kick or 0.0, frequencies)


def _cost(traces: Traces, reference: Traces) -> dict[str, Any]:
    own, other = traces.total, reference.total
    saved = None
    if traces.fock_builds and reference.fock_builds:
        saved = reference.fock_builds / traces.fock_builds
    return {
        "seconds": own.wall,
        "processor_seconds": own.processor,
        "preparation_seconds": traces.preparation.wall,
        "speed_up": other.wall / own.wall,
        "processor_speed_up": other.processor / own.processor,
        "fock_builds": traces.fock_builds,
        "fock_builds_saved": saved,
    }
