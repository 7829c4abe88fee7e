"""Runs the studies of this folder and writes their numbers to results.json; see README.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from adaptation_study import adaptation_study
from network_study import network_study
from residual_study import residual_study

from kstep_models.files import write_json

HERE = Path(__file__).parent


def draw(series: dict[str, Any], path: Path) -> None:
    """The leading channel of the residual with the longest horizon, and what each method predicts."""
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    axes.plot(series["step"], series["truth"], color="black", linewidth=2.5, label="true")
    for name in ("hold", "linear extrapolation", "Mamba with FiLM", "regression"):
        axes.plot(series["step"], series[name], label=name, linewidth=1.2)
    reach = 1.6 * max(abs(series["truth"]))
    axes.set(xlabel="step of 0.2 a.u.", ylabel="leading channel, hartree", ylim=(-reach, reach))
    axes.set_title("Nonlinear exchange-correlation potential of water between anchors, 64 steps apart")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=["adaptation", "residual", "network"])
    parser.add_argument("--responses", type=Path, help="file to learn from; of the adaptation: with the new molecule")
    parser.add_argument("--test", type=Path, help="network: file with other geometries of the same molecules")
    parser.add_argument("--checkpoint", type=Path, help="adaptation: networks that do not know the molecule")
    parser.add_argument("--molecule", default="C2H4", help="adaptation: the new molecule")
    parser.add_argument("--geometries", type=int, nargs="+", default=[0, 11])
    parser.add_argument(
        "--task",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        help="adaptation: a checkpoint that leaves out one molecule more and the file with that one, for meta-learning",
    )
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    if arguments.study == "residual":
        found, series = residual_study()
        draw(series, arguments.output.with_name("residual.png"))
    elif arguments.study == "network":
        found = network_study(arguments.responses, arguments.test)
    else:
        found = adaptation_study(
            arguments.checkpoint,
            arguments.responses,
            arguments.molecule,
            arguments.geometries,
            [(checkpoint, file) for checkpoint, file in arguments.task],
        )
    everything = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else {}
    everything[arguments.study] = found
    write_json(arguments.output, everything)


if __name__ == "__main__":
    main()
