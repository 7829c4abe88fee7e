"""Numbers behind quantities."""

from __future__ import annotations

import pytest
from openmm import unit

from openmmkstep.units import value_in


def test_numbers_are_in_the_wanted_unit_and_quantities_are_converted() -> None:
    assert value_in(0.5, unit.picosecond) == 0.5
    assert value_in(0.5 * unit.femtosecond, unit.picosecond) == pytest.approx(5e-4)
    assert value_in(2 / unit.femtosecond, unit.picosecond**-1) == pytest.approx(2000.0)
    assert value_in(1 * unit.kilocalorie_per_mole / unit.angstrom, unit.kilojoule_per_mole / unit.nanometer) == (
        pytest.approx(41.84)
    )


@pytest.mark.parametrize("wrong", [1 * unit.kelvin, "one", None])
def test_other_dimensions_and_texts_are_refused(wrong: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        value_in(wrong, unit.nanometer)
