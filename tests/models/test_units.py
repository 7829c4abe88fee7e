"""Conversion factors against the constants of the SI from which they follow."""

from __future__ import annotations

import math

import pytest

from kstep_models import units

ELEMENTARY_CHARGE, AVOGADRO, BOLTZMANN = 1.602176634e-19, 6.02214076e23, 1.380649e-23
VACUUM_PERMITTIVITY, HARTREE = 8.8541878128e-12, 4.3597447222071e-18


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOLTZMANN", BOLTZMANN * AVOGADRO / 1000),
        ("KJ_MOL_PER_EV", ELEMENTARY_CHARGE * AVOGADRO / 1000),
        ("COULOMB", ELEMENTARY_CHARGE**2 / (4 * math.pi * VACUUM_PERMITTIVITY) * AVOGADRO / 1000 * 1e9),
        ("EV_PER_HARTREE", HARTREE / ELEMENTARY_CHARGE),
    ],
)
def test_factors_follow_from_the_si(name: str, value: float) -> None:
    assert getattr(units, name) == pytest.approx(value, rel=1e-12)


def test_forces_of_one_in_both_units() -> None:
    """One kJ/mol/nm and its value in meV/A are the same number of newtons per molecule."""
    newtons = 1000 / AVOGADRO / 1e-9
    assert newtons == pytest.approx(units.MEV_PER_ANGSTROM * 1e-3 * ELEMENTARY_CHARGE / 1e-10, rel=1e-14)
    assert pytest.approx(units.MEV_PER_KJ_MOL * 1e-3 * units.KJ_MOL_PER_EV) == 1
