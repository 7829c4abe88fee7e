"""Input and output of NWChem, with recorded files: NWChem itself is not needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmmkstep.rttddft.nwchem import (
    NWChemBasisError,
    NWChemDelta,
    NWChemGaussian,
    NWChemInput,
    NWChemInputError,
    NWChemOutputError,
    delta_for_impulse,
    field_of,
    impulse_of,
    parse_output,
    parse_restart,
    parse_shells,
    read_output,
    read_restart,
    read_snapshot,
)
from openmmkstep.rttddft.nwchem.fields import number
from tests.support.electrons.nwchem_jobs import DATA, FAILING_JOB, JOBS, KICK, NUMBERS, POSITIONS, TIME_STEP

WATER_OUTPUT = (DATA / "water_hf.out").read_text(encoding="utf-8")
WATER_RESTART = (DATA / "water_hf.rt_restart").read_bytes()


def _place_of_energy(lines: list[str]) -> int:
    """Index of the line with the total energy at t = 1."""
    return next(index for index, line in enumerate(lines) if line.startswith("kick      1.00000") and "Etot" in line)


@pytest.mark.parametrize("name", JOBS)
def test_input_is_the_recorded_one(name: str) -> None:
    assert JOBS[name].text() == (DATA / f"{name}.nw").read_text(encoding="utf-8")


def test_input_writes_positions_without_loss() -> None:
    positions = POSITIONS + np.pi * 1e-6
    lines = dataclasses.replace(JOBS["water_hf"], positions=positions).text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("geometry"))
    assert lines[start] == 'geometry "system" units bohr nocenter noautosym noautoz'
    written = np.array([line.split()[1:] for line in lines[start + 1 : start + 4]], dtype=float)
    np.testing.assert_allclose(written, positions, atol=1e-14)


@pytest.mark.parametrize("value", [0.2, 1.0, -0.001, 1e-10, 123456.75, 1 / 3, 4.3, 1e22, -2.5e-7, 0.1 + 0.2])
def test_numbers_survive_writing(value: float) -> None:
    text = number(value)
    assert "." in text
    assert "e" not in text
    assert float(text.replace("d", "e")) == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions": POSITIONS[:2]}, r"\[3, 3\]"),
        ({"positions": POSITIONS * np.nan}, "finite"),
        ({"numbers": np.array([8, 1, 53])}, "53"),
        ({"numbers": np.array([8, 1, 0])}, "atomic number 0"),
        ({"multiplicity": 2}, "multiplicity 2"),
        ({"charge": 10}, "0 electrons"),
        ({"charge": 0.5}, "integer"),
        ({"steps": 0}, "steps"),
        ({"time_step": 0.0}, "time_step"),
        ({"step_tolerance": -1.0}, "step_tolerance"),
        ({"energy_convergence": 1e-13}, "energy_convergence"),
        ({"grid": "perfect"}, "xfine"),
        ({"basis": " "}, "basis"),
        ({"functional": "pbe0\nend"}, "functional"),
        ({"tag": "two words"}, "tag"),
        ({"tag": "t" * 25}, "24"),
        ({"name": "a/b"}, "name"),
        ({"fields": ("kick",)}, "NWChemDelta"),
    ],
)
def test_input_refuses(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NWChemInputError, match=words):
        dataclasses.replace(JOBS["water_hf"], **changes)


def test_input_for_a_molecule_takes_its_charge_and_spin() -> None:
    @dataclasses.dataclass
    class Molecule:
        numbers: Any
        positions: Any
        charge: int
        multiplicity: int

    job = NWChemInput.for_molecule(Molecule(NUMBERS, POSITIONS, 1, 2), "6-31G", "b3lyp", steps=3, time_step=0.1)
    assert (job.electrons, job.multiplicity, job.is_open_shell) == (9, 2, True)
    np.testing.assert_allclose(job.times, [0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("axis", ["", "xy", "w"])
def test_fields_refuse_other_directions(axis: str) -> None:
    with pytest.raises(NWChemInputError, match="x, y and z"):
        NWChemDelta(0.1, axis)


def test_delta_gives_half_of_its_area_at_the_start_and_all_of_it_later() -> None:
    for center, expected in ((0.0, 0.5), (1.0, 1.0), (1.03, 1.0)):
        impulse = impulse_of([NWChemDelta(0.3, "y", center)], TIME_STEP, 20)
        np.testing.assert_allclose(impulse, [0.0, expected * 0.3 * TIME_STEP, 0.0], atol=1e-15)


def test_delta_for_an_impulse_has_that_impulse() -> None:
    fields = delta_for_impulse(KICK, TIME_STEP)
    assert [field.polarization for field in fields] == ["x", "z"]
    np.testing.assert_allclose(impulse_of(fields, TIME_STEP, 5), KICK, atol=1e-18)
    with pytest.raises(NWChemInputError, match="impulse"):
        delta_for_impulse([0.0, 0.0, 0.0], TIME_STEP)


def test_field_is_a_straight_line_between_steps() -> None:
    pulse = NWChemGaussian(0.05, "z", center=2.0, width=0.7, frequency=0.3, phase=0.5)
    field = field_of([pulse, NWChemDelta(0.01, "x", 1.0)], TIME_STEP)
    np.testing.assert_allclose(field(0.2)[2], 0.05 * np.sin(0.56) * np.exp(-((1.8 / 0.7) ** 2) / 2))
    np.testing.assert_allclose(field(0.3), 0.5 * (field(0.2) + field(0.4)))
    np.testing.assert_allclose(field(0.95)[0], 0.0075, atol=1e-15)
    assert not np.any(field(-0.1))
    with pytest.raises(NWChemInputError, match="width"):
        NWChemGaussian(0.05, "z", center=2.0, width=0.0, frequency=0.3)


def test_closed_shell_output() -> None:
    job = JOBS["water_hf"]
    output = read_output(DATA / "water_hf.out")
    assert (output.tag, output.finished, output.is_open_shell, output.failed_checks) == ("kick", True, False, [])
    np.testing.assert_allclose(output.times, job.times, atol=1e-9)
    np.testing.assert_allclose(output.electrons(), 10.0, atol=1e-8)
    np.testing.assert_allclose(output.energies(), output.ground_state_energy, atol=1e-6)
    assert output.dipole().shape == (21, 3)
    field = field_of(job.fields, job.time_step)
    np.testing.assert_allclose(output.field(), [field(time) for time in job.times], atol=1e-15)
    assert [shell.angular_momentum for shell in output.shells["O"]] == [0, 0, 1, 0, 1]
    assert set(output.get("Magnus total interpolations")) <= set(range(1, 30))
    # A kick along +x takes electrons to -x.
    assert output.dipole()[2, 0] > output.dipole()[0, 0]


def test_open_shell_output() -> None:
    output = read_output(DATA / "cation_hf.out")
    assert output.is_open_shell
    np.testing.assert_allclose(output.electrons(), 9.0, atol=1e-8)
    np.testing.assert_allclose(output.get("Charge [system] (beta spin)"), -4.0, atol=1e-8)
    # Both spins are printed with the nuclei.
    nuclei = NUMBERS @ POSITIONS
    parts = [output.get(f"Dipole moment [system] ({spin} spin)") - nuclei for spin in ("alpha", "beta")]
    np.testing.assert_allclose(output.dipole(), nuclei + parts[0] + parts[1], atol=1e-11)


def test_series_are_found_by_the_beginning_of_their_label() -> None:
    output = read_output(DATA / "water_hf.out")
    np.testing.assert_array_equal(output.get("Dipole"), output.dipole())
    for label in ("Nothing", "E"):
        with pytest.raises(NWChemOutputError, match="Etot"):
            output.get(label)


def test_truncated_output_names_the_line() -> None:
    lines = WATER_OUTPUT.splitlines(keepends=True)
    place = _place_of_energy(lines)
    cut = "".join(lines[:place]) + lines[place][:30]
    with pytest.raises(NWChemOutputError, match=rf"part\.out, line {place + 1}: .*t = 1.* cut short"):
        parse_output(cut, "part.out")
    output = parse_output(cut, "part.out", allow_incomplete=True)
    assert not output.finished
    np.testing.assert_allclose(output.times, [0.0, 0.2, 0.4, 0.6, 0.8])
    assert {len(series) for series in output.series.values()} == {5}


@pytest.mark.parametrize(
    ("value", "words"), [("-75.9x", "not a number"), ("*****", "not a number"), ("NaN", "blew up")]
)
def test_damaged_line_is_named(value: str, words: str) -> None:
    lines = WATER_OUTPUT.splitlines()
    place = _place_of_energy(lines)
    lines[place] = lines[place].replace(lines[place].split()[2], value)
    with pytest.raises(NWChemOutputError, match=rf"line {place + 1}: .*{words}"):
        parse_output("\n".join(lines))


def test_missing_line_is_noticed() -> None:
    lines = WATER_OUTPUT.splitlines()
    place = _place_of_energy(lines)
    del lines[place]
    with pytest.raises(NWChemOutputError, match="'Etot' was printed"):
        parse_output("\n".join(lines))


def test_output_without_propagation() -> None:
    before = WATER_OUTPUT[: WATER_OUTPUT.index("NWChem Real-Time TDDFT Module")]
    with pytest.raises(NWChemOutputError, match="before the propagation"):
        parse_output(before)
    with pytest.raises(NWChemOutputError, match="cannot be read"):
        read_output(DATA / "no_such_file.out")


def test_failure_is_told_in_the_words_of_nwchem() -> None:
    with pytest.raises(NWChemOutputError, match=r"failed opening basis file.*task dft energy.*basis set") as caught:
        read_output(DATA / "failure.out")
    assert FAILING_JOB.basis in str(caught.value)


def test_restart_files() -> None:
    water, cation = (read_restart(DATA / f"{name}.rt_restart") for name in ("water_hf", "cation_hf"))
    assert (water.step, water.matrices.shape) == (20, (1, 13, 13))
    assert (cation.step, cation.matrices.shape) == (5, (2, 18, 18))
    assert water.time == pytest.approx(4.0)
    for density in (water, cation):
        conjugate = density.matrices.conj().transpose(0, 2, 1)
        np.testing.assert_allclose(density.matrices, conjugate, atol=1e-9)
        assert density.spins.shape[0] == 2
        np.testing.assert_allclose(density.spins.sum(axis=0), density.total)
    assert np.abs(water.matrices.imag).max() > 1e-6


def test_snapshot_is_the_real_part_of_the_restart_file() -> None:
    snapshot = read_snapshot(DATA / "water_hf.ptot_ao_re.0000000021", 13)
    np.testing.assert_allclose(snapshot, read_restart(DATA / "water_hf.rt_restart").total.real, atol=2e-10)
    with pytest.raises(NWChemOutputError, match="14 basis functions"):
        read_snapshot(DATA / "water_hf.ptot_ao_re.0000000021", 14)


def test_incomplete_snapshot(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes((DATA / "water_hf.ptot_ao_re.0000000021").read_bytes()[:-50])
    with pytest.raises(NWChemOutputError, match="cut short"):
        read_snapshot(part, 13)


@pytest.mark.parametrize("length", [0, 10, 40, 90, 140, 1000, len(WATER_RESTART) - 40, len(WATER_RESTART) - 12])
def test_incomplete_restart_is_refused(length: int) -> None:
    with pytest.raises(NWChemOutputError, match=r"here, line \d|here: the checksum"):
        parse_restart(WATER_RESTART[:length], "here")


def test_damaged_restart_is_refused() -> None:
    place = WATER_RESTART.rindex(b"0.2086647")
    with pytest.raises(NWChemOutputError, match="checksum"):
        parse_restart(WATER_RESTART[:place] + b"0.3086647" + WATER_RESTART[place + 9 :])


def test_exponents_of_three_digits_are_read() -> None:
    values = WATER_RESTART.split()
    smallest = min(values[-338:], key=lambda word: abs(float(word)))
    changed = WATER_RESTART.replace(smallest, b"-0.1234567890-123")
    density = parse_restart(changed)
    assert np.abs(density.matrices - parse_restart(WATER_RESTART).matrices).max() < 1e-15


def test_cartesian_basis_is_refused() -> None:
    with pytest.raises(NWChemBasisError, match="spherical"):
        parse_shells(WATER_OUTPUT.replace("(spherical)", "(cartesian)"))
