"""What the run in ``output`` says about the proton: writes ``results/transfers.json`` and ``images/transfers.png``.

The coordinate is the distance of the proton to O1 less that to O2. A transfer goes from beyond 0.02 nm on one side to
beyond it on the other; what turns back before is a crossing, and no transfer. Positions are those of the trajectory,
which is what Metropolis accepted; frames.h5 has rejected ends too.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np

from kstep_models.frames import FrameFile
from kstep_models.regression.fitting import PARTS, fit_regression
from kstep_models.regression.labels import LabelFiles, Labels
from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM
from openmmkstep.analysis.averages import block_average
from openmmkstep.analysis.transfers import distance_difference, find_transfers
from openmmkstep.io.dcd import read_positions
from openmmkstep.workflows.plot_style import BLUE, GREY, ORANGE, common_style, new_figure, save

FOLDER = Path(__file__).parent
O1, O2, PROTON = 0, 4, 5
MARGIN = 0.02  # nm
TEMPERATURE = 300.0
BINS = np.linspace(-0.1, 0.1, 21)


def of_positions(positions: np.ndarray) -> np.ndarray:
    return distance_difference(positions, PROTON, O1, O2)


def by_side(coordinate: np.ndarray) -> dict[str, np.ndarray]:
    """Which values are on which side, or within the margin between."""
    return {
        "near_o2": np.flatnonzero(coordinate > MARGIN),
        "half_way": np.flatnonzero(np.abs(coordinate) <= MARGIN),
        "near_o1": np.flatnonzero(coordinate < -MARGIN),
    }


def of_trajectory(positions: np.ndarray) -> dict:
    """Transfers and distances, nm."""
    coordinate = of_positions(positions)
    found = find_transfers(coordinate, MARGIN)
    oxygens = block_average(np.linalg.norm(positions[:, O1] - positions[:, O2], axis=1))
    middle = block_average(np.abs(coordinate) < MARGIN)
    return {
        "frames": len(coordinate),
        "frames_that_repeat_the_one_before": int(np.sum(np.all(np.diff(positions, axis=0) == 0, axis=(1, 2)))),
        "margin_nm": MARGIN,
        "transfers": found.count,
        "crossings": found.crossings,
        "frames_of_transfers": found.frames.tolist(),
        "share_near_o1": found.on_first,
        "share_within_margin": middle.mean,
        "share_within_margin_error": middle.error,
        "oxygen_distance_nm": oxygens.mean,
        "oxygen_distance_error_nm": oxygens.error,
    }


def of_fits(labels: Labels) -> dict:
    """Force errors, meV/A, of fits to labels with the proton at O2, where the molecular graph has it.

    A third of the labels near O2 is held out; those half way and near O1 are none that these fits have seen.
    """
    coordinate = of_positions(labels.positions)
    sides = by_side(coordinate)
    tests = sides | {"near_o2": sides["near_o2"][::3]}
    fitted = labels.subset(np.setdiff1d(sides["near_o2"], tests["near_o2"]))
    errors: dict = {"labels_fitted": len(fitted), "labels_tested": {name: len(which) for name, which in tests.items()}}
    for parts in PARTS:
        regression = fit_regression(fitted, parts).regression
        errors[f"{parts}_near_o2"] = {name: regression.error(labels.subset(which)) for name, which in tests.items()}
    return errors


def of_production(output: Path) -> dict:
    """Force errors of the run's own surrogate, meV/A: corrections at the ends of all outer steps, rejected ones too."""
    with FrameFile(output / "frames.h5") as file:
        sides = by_side(of_positions(file.frames("positions")))
    with (output / "statistics.csv").open() as table:
        corrections = np.array([float(row["correction_rms"]) for row in csv.DictReader(table)])
    errors = {
        name: MEV_PER_ANGSTROM * float(np.sqrt(np.mean(corrections[which] ** 2))) if len(which) else None
        for name, which in sides.items()
    }
    return errors | {"outer_steps": {name: len(which) for name, which in sides.items()}}


def draw(positions: np.ndarray, time: np.ndarray, fits: dict, production: dict, path: Path) -> None:
    coordinate = of_positions(positions)
    with common_style():
        figure, (course, profile, errors) = new_figure(13, 3.8, 1, 3, width_ratios=[1.7, 1, 1.1])
        course.axhspan(-10 * MARGIN, 10 * MARGIN, color=GREY, alpha=0.15, lw=0)
        course.plot(time, 10 * coordinate, color=BLUE)
        places = find_transfers(coordinate, MARGIN).frames
        course.plot(time[places], 10 * coordinate[places], "o", color=ORANGE, label="transfers")
        course.set(title="The proton", xlabel="time, ps", ylabel="d(O1-H) - d(O2-H), Å")
        course.legend()
        counts = np.histogram(np.concatenate([coordinate, -coordinate]), BINS)[0]
        places = 0.5 * (BINS[1:] + BINS[:-1])
        energy = np.full(len(counts), np.nan)
        energy[counts > 0] = -BOLTZMANN * TEMPERATURE * np.log(counts[counts > 0] / counts.max())
        profile.plot(10 * places, energy, "o-", color=BLUE)
        profile.set_xticks([-0.8, -0.4, 0, 0.4, 0.8])
        profile.set(title="-kT ln p of the run, both sides as one", xlabel="d(O1-H) - d(O2-H), Å", ylabel="kJ/mol")
        names = ("near_o2", "half_way", "near_o1")
        kinds = {
            "bonded, of labels near O2": fits["bonded_near_o2"],
            "kernel, of labels near O2": fits["kernel_near_o2"],
            "learner's, in production": production,
        }
        for number, ((label, values), color) in enumerate(zip(kinds.items(), (GREY, ORANGE, BLUE), strict=True)):
            errors.bar(
                np.arange(3) + 0.27 * (number - 1),
                [values[name] or 0 for name in names],
                0.25,
                color=color,
                label=label,
            )
        errors.set_xticks(range(3), ["H at O2", "half way", "H at O1"])
        errors.set(title="Errors on forces never seen", ylabel="meV/Å", yscale="log")
        errors.legend(fontsize=8)
        save(figure, path)


def main() -> None:
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "output"
    positions = read_positions(output / "trajectory.dcd")
    dynamics = json.loads((output / "report" / "report.json").read_text())["dynamics"]
    time = np.linspace(0, dynamics["time_ps"], len(positions) + 1)[1:]
    fits = of_fits(LabelFiles.read([output / "learning" / "labels.h5"]).labels)
    production = of_production(output)
    results = {name: dynamics[name] for name in ("time_ps", "k")} | {
        "trajectory": of_trajectory(positions),
        "fits": fits,
        "production": production,
    }
    for folder in ("results", "images"):
        (FOLDER / folder).mkdir(exist_ok=True)
    (FOLDER / "results" / "transfers.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(positions, time, fits, production, FOLDER / "images" / "transfers.png")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
