"""How far k goes with heavier hydrogen: ethanol, GFN2-xTB over GFN1-xTB and a difference learned once.

python masses.py            learns, samples and draws; writes results/masses.json and images/acceptance.png
python masses.py --draw     draws what results/masses.json holds
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from kstep_models.files import write_json
from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM
from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.analysis.averages import block_average
from openmmkstep.learning import Learner, LearningSettings
from openmmkstep.provenance import machine_info
from openmmkstep.workflows import plot_style
from openmmkstep.workflows.validate.ensemble.sampling.hessian import ModeCalculation

HERE = Path(__file__).parent
RESULTS, IMAGE = HERE / "results" / "masses.json", HERE / "images" / "acceptance.png"
PLATFORM = openmm.Platform.getPlatformByName("Reference")
KT = BOLTZMANN * 300.0  # kJ/mol
CASES = [  # mass of hydrogen (None: 1.008), inner step (fs), inner steps per call of GFN2
    (None, 0.5, (8, 16, 24, 32, 48)),
    (3.0, 0.5, (8, 16, 24, 32, 48)),
    (3.0, 1.0, (4, 8, 12, 16, 24)),
    (2.0, 0.5, (8, 16, 24, 32, 48)),
    (2.0, 1.0, (4, 8, 12, 16, 24)),
]
STEPS, BEFORE = 120, 20  # outer steps, and those before them that are not counted


def sample(system: openmm.System, inner_step: float, k: int, start: Any, steps: int, seed: int) -> dict[str, Any]:
    """Acceptance and energy errors of outer steps with Metropolis on, so that what is sampled is the same for all."""
    integrator = createIntegrator(system, 300, 2.0, inner_step / 1000, k)
    integrator.setMetropolis("correction")
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, PLATFORM)
    context.setPositions(start)
    context.setVelocitiesToTemperature(300, seed)
    integrator.step(BEFORE)
    errors = []
    for _ in range(steps):
        integrator.step(1)
        error = integrator.getStatistics().metropolisError
        errors.append(np.inf if error is None else error / KT)
    acceptance = block_average(np.minimum(1.0, np.exp(-np.array(errors))))
    sound = np.array(errors)[np.isfinite(errors)]
    correction = integrator.getStatistics().meanCorrectionRMS
    return {
        "inner_step_fs": inner_step,
        "k": k,
        "outer_step_fs": k * inner_step,
        "acceptance": acceptance.mean,
        "acceptance_error": acceptance.error,
        "mean_energy_error_kt": float(sound.mean()),
        "error_of_mean_kt": block_average(sound).error,
        "rms_energy_error_kt": float(np.sqrt(np.mean(sound**2))),
        "beyond_bounds": len(errors) - len(sound),
        "correction_mev_a": None if correction is None else correction * MEV_PER_ANGSTROM,
    }


def stretches(system: openmm.System, positions: Any) -> list[float]:
    """Harmonic wave numbers of the six stretches of bonds to hydrogen at a minimum of GFN2-xTB, cm-1."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), PLATFORM)
    context.setPositions(positions)
    masses = np.array([system.getParticleMass(atom).value_in_unit(unit.dalton) for atom in range(9)])
    modes = ModeCalculation(context, list(range(9)), masses).run(lambda done, of: None)
    return [float(number) for number in modes.wave_numbers[-6:]]


def main() -> None:
    folder = HERE.parent / "ethanol_dft"
    topology = app.AmberPrmtopFile(str(folder / "ethanol.prmtop"))
    start = app.AmberInpcrdFile(str(folder / "ethanol.inpcrd")).positions
    bare, potential = topology.createSystem(), QMMMPotential("gfn2-xtb")

    def mix(surrogate: list[Any] | None, mass: float | None = None) -> openmm.System:
        return potential.createMixedSystem(topology.topology, bare, range(9), surrogate=surrogate, hydrogenMass=mass)

    settings = LearningSettings(ks=(8, 16), max_calls=400, first_labels=150, pool_time=4.0)
    learner = Learner(mix, topology.topology, HERE / "output", ["gfn1-xtb"], settings=settings, platform=PLATFORM)
    learned = learner.learn(start)
    fit = learned.record.fits[-1]
    results: dict[str, Any] = {
        "labels": fit.used,
        "force_error_mev_a": fit.errors[fit.parts],
        "of_mev_a": fit.size,
        "outer_steps": STEPS,
        "stretches_cm": {},
        "runs": [],
        "machine": machine_info(),
    }
    for mass, inner_step, ks in CASES:
        system = mix(["gfn1-xtb", learned.archive], mass)
        name = f"{mass or 1:g}"
        if name not in results["stretches_cm"]:
            results["stretches_cm"][name] = stretches(mix(None, mass), learned.point.positions)
        for k in ks:
            run = sample(system, inner_step, k, learned.point.positions, STEPS, seed=k)
            results["runs"].append({"hydrogen_mass": mass or 1.008, **run})
            print(results["runs"][-1], flush=True)
            write_json(RESULTS, results)


def draw() -> None:
    """The acceptance over the time between calls."""
    results = json.loads(RESULTS.read_text())
    colours = {1.008: plot_style.GREY, 2.0: plot_style.BLUE, 3.0: plot_style.ORANGE}
    with plot_style.common_style():
        figure, axes = plot_style.new_figure(6.0, 3.4)
        for mass, inner_step, _ in CASES:
            runs = [
                run
                for run in results["runs"]
                if run["hydrogen_mass"] == (mass or 1.008) and run["inner_step_fs"] == inner_step
            ]
            if not runs:
                continue
            axes.errorbar(
                [run["outer_step_fs"] for run in runs],
                [run["acceptance"] for run in runs],
                [run["acceptance_error"] for run in runs],
                color=colours[mass or 1.008],
                marker="o",
                markersize=4,
                linestyle="-" if inner_step == 0.5 else "--",
                label=f"hydrogen {mass or 1:g} amu, inner step {inner_step:g} fs",
            )
        axes.set(xlabel="time between QM calls, fs", ylabel="acceptance", ylim=(0.9, 1.005))
        axes.legend(fontsize=8)
        plot_style.save(figure, IMAGE)


if __name__ == "__main__":
    if "--draw" not in sys.argv:
        main()
    draw()
