"""k-step MM: ethanol, its force field as the top level, a bonded fit and what is learned from the force field below it.

python force_field.py            a minute or two; writes results/force_field.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import measuring
import openmm
from openmm import app

from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.learning import Learner, LearningSettings
from openmmkstep.reporters import FrameReporter
from openmmkstep.surrogates.bonded_fit.fitting import fit_bonded

PLATFORM = openmm.Platform.getPlatformByName("Reference")


def fit_the_base_level(
    folder: Path, plain: openmm.System, topology: app.Topology, positions: Any, pieces: int = 10, steps: int = 1000
) -> Path:
    """Bonds, angles and dihedrals, fitted to forces of short pieces of plain dynamics at 400 K, 40 labels each."""
    base, frames = folder / "base.json", folder / "frames.h5"
    frames.unlink(missing_ok=True)
    for number in range(pieces):
        integrator = createIntegrator(plain, 400, 5.0, 0.0005, 1)
        integrator.setRandomNumberSeed(number + 1)
        simulation = app.Simulation(topology, plain, integrator, PLATFORM)
        simulation.context.setPositions(positions)
        simulation.context.setVelocitiesToTemperature(400, number + 1)
        simulation.step(steps)
        reporter = FrameReporter(frames, steps // 20, append=number > 0, trajectory=number)
        simulation.reporters.append(reporter)
        simulation.step(2 * steps)
        reporter.flush()
    fit_bonded([frames], 3000, print).model.write(base)
    return base


def learn(folder: Path, settings: LearningSettings, **pieces: int) -> tuple[Any, dict[str, openmm.System]]:
    """What was learned, and the systems to be measured."""
    folder.mkdir(parents=True, exist_ok=True)
    topology, system, positions = measuring.ethanol()
    potential = QMMMPotential("force-field")
    plain = potential.createMixedSystem(topology, system, range(9))
    base = fit_the_base_level(folder, plain, topology, positions, **pieces)

    def mix(surrogate: list[Any] | None) -> openmm.System:
        return potential.createMixedSystem(topology, system, range(9), surrogate=surrogate, baseLevel=base)

    learner = Learner(mix, topology, folder / "learning", settings=settings, platform=PLATFORM, log=print)
    learned = learner.learn(positions)
    return learned, {"plain": plain, "bonded fit": mix(None), "bonded fit and learned potential": learned.system}


def main() -> None:
    settings = LearningSettings(ks=(4, 8, 16), max_calls=600, first_labels=100, more_labels=100)
    learned, systems = learn(measuring.HERE / "output" / "force_field", settings)
    measuring.measure("force_field", learned, systems, PLATFORM, times=(20.0, 20.0, 2.0))


if __name__ == "__main__":
    main()
