"""From recordings to numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kstep_models.elements import symbol_of
from openmmkstep.analysis.backbone import dihedrals
from openmmkstep.analysis.ensemble.distributions import (
    DistributionErrors,
    angles,
    compare_distributions,
    compare_torsions,
    distances,
)
from openmmkstep.analysis.ensemble.kinetic import (
    Equipartition,
    KineticDistribution,
    equipartition,
    kinetic_distribution,
)
from openmmkstep.analysis.ensemble.normal_modes import NormalModes, doubled_kinetic_of_modes
from openmmkstep.analysis.ensemble.radial import RadialError, compare_radial, radial_distribution
from openmmkstep.analysis.ensemble.torsion_states import StateFreeEnergy, most_visited, state_free_energy
from openmmkstep.analysis.ensemble.velocity_spectrum import (
    PeakShift,
    VelocitySpectrum,
    peak_shifts,
    peaks,
    velocity_spectrum,
)

from .coordinates import InternalCoordinates
from .sampling.recording import Recording
from .sampling.runs import EnsembleRun

Array = NDArray[np.float64]

BANDS = {"below 300 cm⁻¹": 300.0, "300-1000 cm⁻¹": 1000.0, "1000-2000 cm⁻¹": 2000.0, "above 2000 cm⁻¹": math.inf}
"""Bands of normal modes, and where they end."""
ANGSTROM = 10.0
"""Per nm."""
_FEWEST_FRAMES = 32
_BLOCKS = 16  # at least, of which block averages are made


@dataclass(frozen=True)
class Surroundings:
    """Solvent around the region.

    Attributes:
        edges: of the shells [b+1], nm.
        density: of solvent atoms, 1/nm^3.
    """

    edges: Array
    density: float


@dataclass(frozen=True)
class Molecule:
    """What is known of the region.

    Attributes:
        numbers: atomic numbers [n].
        masses: [n] amu.
        coordinates: bonds, angles and torsions.
        modes: normal modes; None where they were not asked for.
        surroundings: None without solvent.
    """

    numbers: NDArray[np.int64]
    masses: Array
    coordinates: InternalCoordinates
    modes: NormalModes | None
    surroundings: Surroundings | None

    @property
    def elements(self) -> dict[str, NDArray[np.bool_]]:
        """Which atoms are of each element [n], and of all."""
        found = {symbol_of(int(z)): self.numbers == z for z in sorted(set(self.numbers.tolist()))}
        return {**found, "all": np.ones(len(self.numbers), dtype=bool)}


@dataclass(frozen=True)
class Kinetics:
    """Kinetic energies of a run.

    Attributes:
        elements: equipartition of each element, and of all atoms.
        distribution: of the kinetic energy of the region.
        bands: equipartition of bands of normal modes.
        modes: of each mode; none without modes.
        kinetic: of the region over time, kJ/mol.
        is_long_enough: whether the sixteenth of the run, of which errors are made, holds two relaxation times of the
            thermostat; else they are too small.
    """

    elements: dict[str, Equipartition]
    distribution: KineticDistribution
    bands: dict[str, Equipartition]
    modes: list[Equipartition]
    kinetic: Array
    is_long_enough: bool


@dataclass(frozen=True)
class Shapes:
    """Internal coordinates of a run at each configuration: nm and degrees."""

    bonds: Array
    angles: Array
    torsions: Array


@dataclass(frozen=True)
class Structure:
    """Configurations of a run beside those of the reference, nm and degrees.

    Attributes:
        bonds: None where there are none.
        angles: None where there are none.
        torsions: Jensen-Shannon divergences, bits.
        states: free energy of the most visited third of each torsion's circle, of the run and of the reference.
        radial: for each element of the region.
    """

    bonds: DistributionErrors | None
    angles: DistributionErrors | None
    torsions: Array
    states: list[tuple[StateFreeEnergy, StateFreeEnergy]]
    radial: dict[str, RadialError]


@dataclass(frozen=True)
class AnalysedRun:
    """A run and what is known of it.

    Attributes:
        run: the run.
        recording: what it left.
        time: sampled, ps.
        kinetics: None if it broke down before it had sampled anything.
        shapes: likewise.
        spectrum: None if it is too short for one.
        structure: None for the reference itself, and for runs at another temperature.
        shifts: of the peaks of the spectrum; likewise.
        radial: mean radial distribution functions of solvent around elements [b].
    """

    run: EnsembleRun
    recording: Recording
    time: float
    kinetics: Kinetics | None = None
    shapes: Shapes | None = None
    spectrum: VelocitySpectrum | None = None
    structure: Structure | None = None
    shifts: list[PeakShift] = field(default_factory=list)
    radial: dict[str, Array] = field(default_factory=dict)


def kinetics_of(run: EnsembleRun, recording: Recording, molecule: Molecule, friction: float, time: float) -> Kinetics:
    """Kinetic energies in the middle of drifts.

    The mean velocity over a drift is that of its two halves, between which friction and noise act. It is smaller than
    either: its square is (1 + c) / 2 of theirs with c = exp(-friction inner step), which is undone here. (Where
    friction acts once for several inner steps, this is right on average.)
    """
    undone = 2 / (1 + math.exp(-friction * run.levels.inner_step))
    velocities = recording.velocities.astype(np.float64)
    doubled = undone * molecule.masses * np.sum(velocities**2, axis=2)
    kinetic = 0.5 * doubled.sum(axis=1)
    elements = {
        name: equipartition(doubled[:, mask].sum(axis=1), 3 * int(mask.sum()), run.temperature)
        for name, mask in molecule.elements.items()
    }
    bands, modes = {}, []
    if molecule.modes is not None:
        energies = undone * doubled_kinetic_of_modes(
            molecule.modes,
            molecule.masses,
            recording.positions.astype(np.float64),
            recording.frame_velocities.astype(np.float64),
        )
        modes = [equipartition(energies[:, mode], 1, run.temperature) for mode in range(energies.shape[1])]
        # All fluctuate alike in the canonical ensemble; one that happened to be cold seems to do so less.
        typical = math.sqrt(np.mean([mode.error**2 for mode in modes]))
        modes = [replace(mode, error=max(mode.error, typical)) for mode in modes]
        lowest = -math.inf
        for name, highest in BANDS.items():
            mask = (molecule.modes.wave_numbers >= lowest) & (molecule.modes.wave_numbers < highest)
            lowest = highest
            if np.any(mask):
                bands[name] = equipartition(energies[:, mask].sum(axis=1), int(mask.sum()), run.temperature)
    distribution = kinetic_distribution(kinetic, 3 * len(molecule.masses), run.temperature)
    return Kinetics(elements, distribution, bands, modes, kinetic, time / _BLOCKS >= 2 / friction)


def shapes_of(recording: Recording, coordinates: InternalCoordinates) -> Shapes:
    """Internal coordinates of all configurations."""
    positions = recording.positions.astype(np.float64)
    torsions = [dihedrals(positions, atoms) for atoms in coordinates.torsions]
    return Shapes(
        distances(positions, coordinates.bonds),
        angles(positions, coordinates.angles),
        np.array(torsions).T.reshape(len(positions), -1),
    )


def analyse_run(
    run: EnsembleRun, recording: Recording, molecule: Molecule, friction: float, interval: float, segment: float
) -> AnalysedRun:
    """What a run says by itself.

    Args:
        run: the run.
        recording: what it left.
        molecule: the region.
        friction: of the thermostat, 1/ps.
        interval: between its velocities, ps.
        segment: length of the segments of its spectrum, ps.
    """
    time = len(recording.velocities) * interval
    if len(recording.positions) < _FEWEST_FRAMES:
        return AnalysedRun(run, recording, time)
    try:
        spectrum = velocity_spectrum(recording.velocities.astype(np.float64), molecule.masses, interval, segment)
    except ValueError:
        spectrum = None  # Too short, which is one of the verdicts.
    radial = {}
    if molecule.surroundings is not None:
        for name, counts in _mean_counts(recording, molecule).items():
            radial[name] = radial_distribution(counts, molecule.surroundings.edges, molecule.surroundings.density)
    return AnalysedRun(
        run,
        recording,
        time,
        kinetics_of(run, recording, molecule, friction, time),
        shapes_of(recording, molecule.coordinates),
        spectrum,
        radial=radial,
    )


def compare(analysed: AnalysedRun, references: list[AnalysedRun], molecule: Molecule) -> AnalysedRun:
    """A run with what it says beside some others at the same temperature, taken together."""
    shapes = [reference.shapes for reference in references if reference.shapes is not None]
    if analysed.shapes is None or not shapes:
        return analysed
    own, together = analysed.shapes, Shapes(*(np.concatenate(x) for x in zip(*map(_parts, shapes), strict=True)))
    temperature = analysed.run.temperature
    states = []
    for here, there in zip(own.torsions.T, together.torsions.T, strict=True):
        centre = most_visited(there)
        states.append((state_free_energy(here, centre, temperature), state_free_energy(there, centre, temperature)))
    radial = {}
    if molecule.surroundings is not None:
        counts = [_mean_counts(reference.recording, molecule) for reference in references]
        weights = [len(reference.recording.counts) for reference in references]
        for name, mine in _mean_counts(analysed.recording, molecule).items():
            theirs = np.average([item[name] for item in counts], axis=0, weights=weights)
            radial[name] = compare_radial(mine, theirs, molecule.surroundings.edges, molecule.surroundings.density)
    structure = Structure(
        compare_distributions(own.bonds, together.bonds) if own.bonds.shape[1] else None,
        compare_distributions(own.angles, together.angles) if own.angles.shape[1] else None,
        compare_torsions(own.torsions, together.torsions) if own.torsions.shape[1] else np.zeros(0),
        states,
        radial,
    )
    shifts = []
    spectra = [reference.spectrum for reference in references if reference.spectrum is not None]
    if analysed.spectrum is not None and spectra:
        segments = np.concatenate([spectrum.segments for spectrum in spectra])
        pooled = VelocitySpectrum(spectra[0].wave_numbers, segments, spectra[0].smoothing)
        shifts = peak_shifts(analysed.spectrum, pooled, peaks(pooled))
    return AnalysedRun(
        analysed.run,
        analysed.recording,
        analysed.time,
        analysed.kinetics,
        own,
        analysed.spectrum,
        structure,
        shifts,
        analysed.radial,
    )


def _parts(shapes: Shapes) -> tuple[Array, Array, Array]:
    return shapes.bonds, shapes.angles, shapes.torsions


def _mean_counts(recording: Recording, molecule: Molecule) -> dict[str, Array]:
    """Mean over configurations and atoms of an element [b]."""
    counts = recording.counts.mean(axis=0, dtype=np.float64)
    return {name: counts[mask].mean(axis=0) for name, mask in molecule.elements.items() if name != "all"}
