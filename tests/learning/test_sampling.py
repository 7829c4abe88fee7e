"""Where learning begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from kstep_models.units import BOLTZMANN
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.learning import LearningSettings
from openmmkstep.learning.books import Books
from openmmkstep.learning.problem import Problem
from openmmkstep.learning.stages.pool import Pool
from openmmkstep.learning.stages.sampling import begin
from openmmkstep.qmmm.levels import force_groups
from tests.support.learning import PLATFORM

PARTICLES, STRENGTH, TEMPERATURE = 400, 20000.0, 300.0


def oscillators() -> openmm.System:
    system = openmm.System()
    force = openmm.CustomExternalForce(f"{STRENGTH / 2}*(x*x+y*y+z*z)")
    force.setForceGroup(force_groups.BASE_LEVEL)
    for index in range(PARTICLES):
        system.addParticle(20.0)
        force.addParticle(index)
    system.addForce(force)
    return system


def test_a_heated_pool_leaves_no_heat_behind(tmp_path: Path) -> None:
    settings = LearningSettings(pool_time=20.0, pool_size=100, pool_temperature=4.0)
    problem = Problem(lambda parts: oscillators(), app.Topology(), [], TEMPERATURE, 1.0, 0.004, {}, PLATFORM, {})
    lines: list[str] = []
    books = Books(tmp_path, lambda _: None, lines.append)
    books.open({}, 100)
    begin(problem, settings, books, oscillators(), np.zeros((PARTICLES, 3)), None, None)

    def temperature(positions: np.ndarray) -> float:
        return float(STRENGTH * np.mean(positions**2) / BOLTZMANN)

    pool = Pool.read(tmp_path / "pool.npz")
    start = PhaseSpacePoint.from_bytes((tmp_path / "start.npz").read_bytes())
    # 1,200 degrees of freedom know their temperature to 4 %.
    assert temperature(pool.positions[50:].astype(float)) == pytest.approx(4 * TEMPERATURE, rel=0.1)
    assert temperature(start.positions) == pytest.approx(TEMPERATURE, rel=0.15)
    assert len(lines) == 100
