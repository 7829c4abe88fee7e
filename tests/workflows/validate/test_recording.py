"""Velocities in the middle of drifts, internal coordinates, and normal modes, where they are known."""

from __future__ import annotations

import math
import pickle

import numpy as np
import openmm
import pytest
from openmm import app

from kstep_models.units import BOLTZMANN
from openmmkstep import KStepIntegrator
from openmmkstep.analysis.backbone import backbone_residues
from openmmkstep.analysis.ensemble.normal_modes import SPEED_OF_LIGHT
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.workflows.validate.ensemble.coordinates import InternalCoordinates
from openmmkstep.workflows.validate.ensemble.sampling.hessian import ModeCalculation
from openmmkstep.workflows.validate.ensemble.sampling.recorder import InnerPositions, watch
from openmmkstep.workflows.validate.ensemble.sampling.recording import Interests, Recording, Sampler
from tests.support.qmmm.molecules import Molecule

TEMPERATURE = 300.0
FRICTION = 20.0
STEP = 0.002
OMEGA = 0.8 / STEP
NUMBER = 400


def oscillators() -> openmm.System:
    """Independent particles in harmonic wells, in the group of the QM level."""
    system = openmm.System()
    force = openmm.CustomExternalForce(f"{0.5 * OMEGA**2}*(x^2+y^2+z^2)")
    for _ in range(NUMBER):
        force.addParticle(system.addParticle(1.0))
    force.setForceGroup(2)
    system.addForce(force)
    return system


def test_velocities_have_the_temperature_where_those_of_the_context_are_too_cold() -> None:
    """At 8 steps per period the latter lack (w d)^2 / 4 = 16 %."""
    system = oscillators()
    seen = watch(system, list(range(NUMBER)))
    integrator = KStepIntegrator(TEMPERATURE, FRICTION, STEP, 1, commonGroups={0: 1})
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.zeros((NUMBER, 3)))
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    interests = Interests(list(range(NUMBER)), [], np.zeros(1), 1, 10, 200)
    sampler = Sampler(context, seen, interests, Recording.empty(NUMBER, 0, {}))
    at_ends = []
    sampler.advance(200, lambda step: None)
    sampler.advance(
        1400, lambda step: at_ends.append(context.getState(velocities=True).getVelocities(asNumpy=True)._value)
    )
    recording = sampler.recording
    assert recording.velocities.shape == (1200, NUMBER, 3) and recording.positions.shape == (120, NUMBER, 3)
    kt = BOLTZMANN * TEMPERATURE
    undone = 2 / (1 + math.exp(-FRICTION * STEP))
    error = 4 * math.sqrt(2 / (3 * NUMBER * 1200 * STEP * FRICTION))
    assert undone * np.mean(recording.velocities**2) / kt == pytest.approx(1, abs=error)
    assert np.mean(np.square(at_ends)) / kt == pytest.approx(1 - 0.16, abs=error)
    # Positions are what they should be in any case.
    assert OMEGA**2 * np.mean(recording.positions**2) / kt == pytest.approx(1, abs=2 * error)


def test_inner_steps_of_attempts_that_were_undone_are_left_out() -> None:
    seen = InnerPositions(2)

    class State:
        def __init__(self, value: float) -> None:
            self.value = value

        def getPositions(self, asNumpy: bool) -> State:  # noqa: N802, N803
            return self

        @property
        def _value(self) -> np.ndarray:
            return np.full((2, 3), self.value)

    for value in (0.1, 0.2, 1.1, 1.2, 1.3):
        energy, forces = seen(State(value))  # type: ignore[arg-type]
        assert energy == 0 and not forces.any()
    assert [positions[0, 0] for positions in seen.last(3)] == [1.1, 1.2, 1.3]
    seen.forget()
    with pytest.raises(RuntimeError, match="0 of 3 inner steps"):
        seen.last(3)
    assert pickle.dumps(seen) == pickle.dumps(InnerPositions(2))


def test_recordings_are_read_as_they_were_written() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(4, 2, 3)).astype(np.float32)
    counts = rng.integers(0, 9, size=(4, 2, 5)).astype(np.uint16)
    written = Recording(7, vectors, vectors + 1, vectors + 2, rng.normal(size=4), counts, {"error": None}, b"\0state\0")
    read = Recording.from_bytes(written.to_bytes())
    assert read.steps == 7 and read.facts == {"error": None} and read.checkpoint == b"\0state\0"
    assert np.array_equal(read.frame_velocities, vectors + 2) and np.array_equal(read.counts, counts)
    with pytest.raises(ValueError, match="no recording"):
        Recording.from_bytes(written.to_bytes()[:200])


def region_of(elements: str, bonds: list[tuple[int, int]]) -> QMRegion:
    topology, system = app.Topology(), openmm.System()
    residue = topology.addResidue("MOL", topology.addChain())
    for index, symbol in enumerate(elements):
        element = app.Element.getBySymbol(symbol)
        topology.addAtom(f"{symbol}{index}", element, residue)
        system.addParticle(element.mass)
    atoms = list(topology.atoms())
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j])
    return QMRegion.create(topology, system, range(len(atoms)), 0, 1)


def test_coordinates_of_ethanol() -> None:
    region = region_of("CCOHHHHHH", [(0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8)])
    coordinates = InternalCoordinates.of(region)
    assert len(coordinates.bonds) == 8 and len(coordinates.angles) == 13
    assert dict(zip(coordinates.names, coordinates.rotors, strict=True)) == {"H6-C0-C1-O2": True, "C0-C1-O2-H3": False}


def test_torsions_of_a_peptide_are_those_of_its_backbone(ala2: Molecule) -> None:
    region = QMRegion.create(ala2.topology, ala2.create_system(), range(22), 0, 1)
    coordinates = InternalCoordinates.of(region)
    (residue,) = backbone_residues(ala2.topology)
    chosen = [atoms for atoms, is_rotor in zip(coordinates.torsions, coordinates.rotors, strict=True) if not is_rotor]
    assert len(chosen) == 4 and {residue.phi, residue.psi} <= set(chosen)


def test_rings_turn_as_one() -> None:
    """Cyclopropane with a hydroxyl group, as far as bonds go."""
    region = region_of("CCCOHH", [(0, 1), (1, 2), (0, 2), (0, 3), (3, 4), (1, 5)])
    coordinates = InternalCoordinates.of(region)
    assert coordinates.names == ("C1-C0-O3-H4",)


def test_modes_of_a_diatomic_molecule_beside_a_wall() -> None:
    """One vibration, from a start that is off its minimum; the third particle does not move."""
    system = openmm.System()
    for mass in (12.0, 16.0, 40.0):
        system.addParticle(mass)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.12, 1.1e6)
    system.addForce(bond)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.array([[0.1, 0.2, 0.3], [0.2, 0.25, 0.31], [1.0, 1.0, 1.0]]))
    done: list[int] = []
    modes = ModeCalculation(context, [0, 1], np.array([12.0, 16.0])).run(lambda step, total: done.append(step))
    expected = math.sqrt(1.1e6 * (1 / 12 + 1 / 16)) / (2 * math.pi * SPEED_OF_LIGHT)
    assert modes.wave_numbers[-1] == pytest.approx(expected, rel=1e-3)
    assert np.abs(modes.wave_numbers[:5]).max() < 0.02 * expected
    assert np.linalg.norm(modes.positions[0] - modes.positions[1]) == pytest.approx(0.12, abs=1e-5)
    assert done == [1, 2, 3, 4, 5, 6]
