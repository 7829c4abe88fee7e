"""Forces of regions that cut bonds against differences of the energy, in every surrounding and with every scheme."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.engines.registry import names
from openmmkstep.qmmm.embedding.boundary_charges import CHARGE_SCHEMES
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.finite_differences import derivative
from tests.support.qmmm.cut_molecules import HOST, SIDE_CHAIN
from tests.support.qmmm.molecules import ALA2_PDB, Molecule

ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "gfn2": ("gfn2-xtb", {"accuracy": 1e-4}),
    "gfn1": ("gfn1-xtb", {"accuracy": 1e-4}),
    "analytic": (
        "test-analytic",
        {
            "charges": [-0.3, 0.1, 0.1, 0.05, 0.05],
            "harmonic": [{"atoms": [0, place], "k": 280000.0, "length": 0.109} for place in (1, 2, 3, 4)],
            "flux": [{"atoms": [0, 4], "slope": 3.0, "length": 0.109}],
        },
    ),
    "hartree-fock": ("pyscf", {"xc": "hf", "basis": "sto-3g", "conv_tol": 1e-12}),
}
# PySCF is tested in fewer surroundings: what is around the engine is the same for all.
EVERYWHERE = [name for name in ENGINES if name != "hartree-fock"]
CUT = {"cutoff": 0.85, "switchDistance": 0.55}
SURROUNDINGS: dict[str, dict[str, Any]] = {
    "molecule": {},
    "cluster": CUT,
    "periodic": {**CUT, "farField": "force-field"},
    "periodic with a far field on the method": {**CUT, "farField": "qm"},
    "periodic without far field": {**CUT, "farField": "none"},
    "mechanical": {"embedding": "mechanical"},
}
BESIDE = [6, 9, 14]
"""N, HA and C, bonded to the MM end."""


@pytest.fixture(scope="module")
def small_box() -> Molecule:
    """Alanine dipeptide in as little water as the cut-offs allow."""
    pdb = app.PDBFile(str(ALA2_PDB))
    force_field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(force_field, boxSize=openmm.Vec3(1.75, 1.75, 1.75) * unit.nanometer)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return Molecule(
        modeller.topology, positions, lambda **options: force_field.createSystem(modeller.topology, **options)
    )


def check(engine: str, surroundings: str, scheme: str, ala2: Molecule, small_box: Molecule) -> None:
    method, settings = ENGINES[engine]
    periodic = surroundings.startswith("periodic") or surroundings == "mechanical"
    molecule = ala2 if surroundings == "molecule" else small_box
    pme = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.85, "switchDistance": 0.7, "ewaldErrorTolerance": 1e-5}
    system = molecule.create_system(**(pme if periodic else {"nonbondedMethod": app.NoCutoff}))
    options = {**SURROUNDINGS[surroundings], "chargeScheme": scheme}
    mixed = QMMMPotential(method, **settings).createMixedSystem(molecule.topology, system, SIDE_CHAIN, **options)
    # The water as it is put around would hide everything behind its collisions.
    with_lennard_jones = nonbonded_of(mixed)
    for particle in range(22, mixed.getNumParticles()):
        charge, sigma, _ = with_lennard_jones.getParticleParameters(particle)
        with_lennard_jones.setParticleParameters(particle, charge, sigma, 0.0)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    start = np.asarray(molecule.positions)
    context.setPositions(start)
    forces = np.array(context.getState(forces=True).getForces(asNumpy=True)._value)
    particles = [*SIDE_CHAIN[:2], HOST, *BESIDE]
    if surroundings not in ("molecule", "mechanical"):
        particles += switched(mixed, context)

    def energy(positions: np.ndarray) -> float:
        context.setPositions(positions)
        return float(context.getState(energy=True).getPotentialEnergy()._value)

    random = np.random.default_rng(3)
    # The sum in real space jumps by 1e-5 kJ/mol where a pair passes the cut-off, so the step is small there; noise is
    # rounding of the lattice sum of 1e4 kJ/mol over the step.
    step, noise = (1e-5, 1e-4) if periodic else (1e-4, 1e-6)
    for particle in particles:
        line = np.zeros_like(start)
        line[particle] = random.normal(size=3)
        line /= np.linalg.norm(line)
        expected = -derivative(lambda t, line=line: energy(start + t * line), np.zeros(1), step)[0]
        assert np.sum(forces * line) == pytest.approx(expected, rel=1e-6, abs=noise), particle


def nonbonded_of(system: openmm.System) -> openmm.NonbondedForce:
    return next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))


def switched(mixed: openmm.System, context: openmm.Context) -> list[int]:
    """Two particles whose charges are being switched off."""
    force = find_qm_force(mixed)
    result = force.getLastResult(context)
    particles, charges, _ = force.getEmbeddingCharges().getCharges()
    whole = dict(zip(particles.tolist(), charges.tolist(), strict=True))
    seen = zip(result.environmentParticles.tolist(), result.environmentCharges.tolist(), strict=True)
    found = [i for i, q in seen if i > 21 and 0.1 < q / whole[i] < 0.9]
    assert len(found) > 2
    return found[:2]


def test_all_native_engines_are_here() -> None:
    assert {"gfn1-xtb", "gfn2-xtb"} <= set(names()) & {method for method, _ in ENGINES.values()}


@pytest.mark.parametrize("scheme", CHARGE_SCHEMES)
@pytest.mark.parametrize("surroundings", [*SURROUNDINGS])
@pytest.mark.parametrize("engine", EVERYWHERE)
def test_forces(engine: str, surroundings: str, scheme: str, ala2: Molecule, small_box: Molecule) -> None:
    check(engine, surroundings, scheme, ala2, small_box)


@pytest.mark.parametrize("scheme", ["shift", "rcd"])
@pytest.mark.parametrize("surroundings", ["molecule", "periodic"])
def test_forces_of_hartree_fock(surroundings: str, scheme: str, ala2: Molecule, small_box: Molecule) -> None:
    pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")
    check("hartree-fock", surroundings, scheme, ala2, small_box)
