"""A neural potential as the top level: ethanol by ANI-1ccx, as a calculator of ASE; GFN2-xTB and a difference below.

python neural_potential.py       some minutes; writes results/neural_potential.json (README.md: where the weights are)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import measuring
import openmm

from openmmkstep import QMMMPotential
from openmmkstep.engines.ase.calculators import register_calculator
from openmmkstep.learning import Learner, LearningSettings

PLATFORM = openmm.Platform.getPlatformByName("Reference")


@cache
def network() -> Any:
    """The first of the eight networks of ANI-1ccx, in double precision, so that energies tell drift from noise."""
    import torchani

    return torchani.models.ANI1ccx(periodic_table_index=True)[0].double()


def ani1ccx() -> Any:
    """A new calculator of ASE; every label begins with one, so that weights are read once only."""
    return network().ase()


def learn(folder: Path, potential: QMMMPotential, settings: LearningSettings) -> tuple[Any, dict[str, openmm.System]]:
    """What was learned below a top level, and the systems to be measured."""
    topology, system, positions = measuring.ethanol()

    def mix(surrogate: list[Any] | None) -> openmm.System:
        return potential.createMixedSystem(topology, system, range(9), surrogate=surrogate)

    learner = Learner(mix, topology, folder, start=["gfn2-xtb"], settings=settings, platform=PLATFORM, log=print)
    learned = learner.learn(positions)
    return learned, {"plain": mix(None), "GFN2-xTB": mix(["gfn2-xtb"]), "GFN2-xTB and difference": learned.system}


def main() -> None:
    settings = LearningSettings(ks=(4, 8, 16), max_calls=250, first_labels=80, pool_time=5.0, pool_size=300)
    register_calculator("ani1ccx", ani1ccx)
    potential = QMMMPotential("ase", calculator="ani1ccx")
    learned, systems = learn(measuring.HERE / "output" / "neural_potential", potential, settings)
    measuring.measure("neural_potential", learned, systems, PLATFORM, times=(0.5, 1.5, 1.5))


if __name__ == "__main__":
    main()
