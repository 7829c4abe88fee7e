"""``learn:`` in ``kstep run``: one command from a structure to a report, through interruptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from kstep_models.configuration import ConfigError, parse_config
from kstep_models.frames import FrameFile
from openmmkstep.cli import app
from openmmkstep.io import dcd
from openmmkstep.io.statistics import read_table
from openmmkstep.learning import Learner
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.plan import RunPlan
from tests.support.levels.methanol import write_methanol


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "system": write_methanol(folder),
        "qm": {"method": "gfn2-xtb", "atoms": "all"},
        "surrogate": {"method": "gfn1-xtb"},
        "learn": {
            **{"k": [4, 8], "max_calls": 80, "first_labels": 20, "trial_steps": 8},
            **{"pool_time": "0.2 ps", "pool_size": 40},
        },
        "integrator": {"inner_step": "0.5 fs", "temperature": "300 K", "friction": "5 /ps"},
        "equilibration": {"force_field": "0.1 ps", "kstep": "0.04 ps"},
        "time": "0.2 ps",
        "output": {
            **{"folder": "out", "trajectory": "8 fs", "frames": "20 fs", "statistics": "4 fs", "checkpoint": "40 fs"},
        },
        "speed": {"time": "4 fs", "segments": 1},
        "platform": "Reference",
        "seed": 3,
        **changes,
    }


def run(folder: Path, content: dict[str, Any]) -> str:
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, ["run", str(folder / "run.yaml")])
    assert result.exit_code == 0, result.output
    return result.output


def test_from_a_structure_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds k, produces with it, tells of it; a run that is taken up learns nothing again."""
    content = configuration(tmp_path)
    carry_out = Learner._carry_out
    left = 3

    def interrupted(learner: Learner, decision: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        carry_out(learner, decision)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "_carry_out", interrupted)
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
        assert CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml")]).exit_code != 0
    output = run(tmp_path, content)
    assert "k = 8 is held" in output and "sampling" not in output
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    learning = report["learning"]
    assert report["dynamics"]["k"] == learning["k"] == 8
    assert report["dynamics"]["time_ps"] == pytest.approx(0.2)
    assert report["qm_calls"]["made_by_integrator"] == 51
    assert learning["qm_calls"] == 20 + 2 * 9 and learning["labels"] == 36
    assert [trial["k"] for trial in learning["trials"]] == [4, 8]
    assert report["surrogate"]["method"] == "gfn1-xtb"
    assert report["surrogate"]["level_of_theory"]["minus"]["method"] == "gfn1-xtb"
    assert (tmp_path / "out" / "report" / "learning.png").exists()
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "Learning" in page and "k = 8 with fit 1" in page
    # Longer: learning is over, and production goes on with what it has.
    output = run(tmp_path, {**content, "time": "0.24 ps"})
    assert "taking up the run" in output and "sampling" not in output and "is held" not in output
    assert json.loads((tmp_path / "out" / "production.json").read_text())["time_ps"] == pytest.approx(0.24)
    (tmp_path / "out" / "learning" / "learning.json").unlink()
    result = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml")])
    assert result.exit_code != 0
    message = " ".join(result.output.split())
    assert "learning.json is missing, but production has begun" in message and "pass --fresh" in message


def test_nothing_is_good_enough(tmp_path: Path) -> None:
    """The run goes on with plain QM dynamics, and says so."""
    learn = {**configuration(tmp_path)["learn"], "acceptance": 0.9999, "max_calls": 20}
    output = run(tmp_path, configuration(tmp_path, learn=learn, time="0.01 ps"))
    assert "k = 1 is held after" in output and "the QM calls are used up" in output
    # Nothing was fitted, so that the figure has no legend of fits.
    assert "warning" not in output
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    # The method below stays, without weight, for the labels' sake.
    assert report["dynamics"]["k"] == 1 and report["surrogate"] == {"method": "gfn1-xtb"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"integrator": {"k": 4}}, "'integrator.k' and 'learn' exclude each other"),
        ({"surrogate": {"archive": "a.pt"}}, "'surrogate.archive' and 'learn' exclude each other"),
        ({"surrogate": {"archive": "a.pt"}}, "to find the k of an archive that is there set 'learn.first_labels' to 0"),
        ({"surrogate": None, "learn": {"first_labels": 0}}, "so that 'surrogate' must be given"),
        ({"integrator": {"ensemble": "nve"}}, "'learn' needs a thermostat"),
        ({"integrator": {"nonbonded_period": 3}}, "nonbonded_period 3 must divide k = 4"),
        ({"learn": {"k": [8, 4]}}, "ks must be growing"),
        ({"learn": {"workers": 2, "scheduler": "tcp://127.0.0.1:9"}}, "give either 'workers'"),
        ({"learn": {"workers": 0}}, "learn.workers"),
        ({"learn": {"first_labels": 900}}, "taken from the pool, which has 500"),
    ],
)
def test_contradictions(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(configuration(tmp_path, **changes), RunConfig, "run.yaml", tmp_path)


def test_who_labels_is_not_what_is_learned(tmp_path: Path) -> None:
    def plan(**learn: Any) -> RunPlan:
        content = configuration(tmp_path)
        return RunPlan.of(
            parse_config({**content, "learn": {**content["learn"], **learn}}, RunConfig, "run.yaml", tmp_path)
        )

    two, elsewhere = plan(workers=2), plan(scheduler="tcp://host:8786")
    assert plan().settings == two.settings == elsewhere.settings != plan(trial_steps=9).settings
    assert two.learning is not None and (two.learning.workers, two.learning.scheduler) == (2, None)
    assert elsewhere.learning is not None and elsewhere.learning.scheduler == "tcp://host:8786"


def test_the_plan_of_what_was_learned(tmp_path: Path) -> None:
    content = configuration(tmp_path, surrogate=None, integrator={"nonbonded_period": 2, "inner_step": "0.5 fs"})
    del content["surrogate"]
    plan = RunPlan.of(parse_config(content, RunConfig, "run.yaml", tmp_path))
    assert plan.learning is not None and plan.dynamics.levels.k == 1 and plan.learning.parts() == []
    learned = plan.with_learned(8, tmp_path / "a.pt")
    assert learned.system.surrogate is not None and learned.system.surrogate.base_level == "force-field"
    assert (learned.dynamics.levels.k, learned.dynamics.levels.nonbonded_period) == (8, 2)
    assert learned.settings == plan.settings and learned.steps == 50
    assert learned.dynamics.metropolis == "monitor"
    nothing = plan.with_learned(1, None)
    assert nothing.system.surrogate is not None and nothing.dynamics.levels.nonbonded_period == 1
    content["learn"]["block"] = "0 fs"
    plan = RunPlan.of(parse_config(content, RunConfig, "run.yaml", tmp_path))
    nothing = plan.with_learned(1, None)
    assert nothing.system.surrogate is None and nothing.dynamics.metropolis == "off"


def test_blocks_learn_again(tmp_path: Path) -> None:
    """k = 4 with the method below at once; after a block k = 8 with a fit; all files go on in time."""
    learn = {**configuration(tmp_path)["learn"], "first_k": 4, "block": "40 fs"}
    content = configuration(tmp_path, learn=learn, time="0.12 ps")
    output = run(tmp_path, content)
    out = tmp_path / "out"
    assert "k = 4 is held after 9 QM calls: k = 4 is enough to begin with" in output
    assert (
        "learning again after block 1: nothing has been fitted yet" in output
        and "production (fit 1 of 48 labels)" in output
    )
    record = json.loads((out / "learning" / "learning.json").read_text())
    assert [(b["k"], b["fit"], b["start"], b["first"], b["steps"]) for b in record["blocks"][:2]] == [
        (4, 0, 0, 0, 20),
        (8, 1, 80, 20, 10),
    ]
    assert [one["held"]["k"] for one in record["rounds"]][:1] == [8]
    table = read_table(out / "statistics.csv")
    np.testing.assert_allclose(table["time"], 0.004 * np.arange(1, 31), atol=1e-9)
    assert (np.diff(table["step"]) > 0).all() and (np.diff(table["qm_calls"]) > 0).all()
    assert table["step"][-1] == 20 + 20 and table["outer_steps"][9] == 20
    assert dcd.count_frames(out / "trajectory.dcd") == 15
    with FrameFile(out / "frames.h5") as file:
        np.testing.assert_allclose(file.frames("time"), 0.02 * np.arange(1, 7), atol=1e-9)
    production = json.loads((out / "production.json").read_text())
    assert (production["steps"], production["inner_steps"]) == (40, 240)
    assert production["statistics"]["outer_steps"] == 40
    with FrameFile(out / "learning" / "production.h5") as file:
        assert len(file) == 40
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["dynamics"]["k"] == 8 and report["qm_calls"]["plain_verlet_at_inner_step"] == 240
    blocks = report["learning"]["blocks"]
    assert [(block["k"], block["fit"], block["outer_steps"]) for block in blocks] == [
        (4, 0, 20),
        (8, 1, 10),
        (8, 1, 10),
    ]
    assert [block["end_ps"] for block in blocks] == pytest.approx([0.04, 0.08, 0.12])
    assert blocks[0]["learned_again"] == "nothing has been fitted yet" and blocks[2]["labels"] == 40
    assert blocks[1]["acceptance"] > 0.8 and blocks[2]["mean_error_kj_mol"] is not None
    assert (report["learning"]["k"], report["learning"]["k_now"]) == (4, 8)
    page = (out / "report" / "report.html").read_text()
    assert "k = 8, fit 1 of 48 labels, 10 outer steps" in page
    # Longer, and with more to spend: the same run.
    more = {**content, "time": "0.16 ps", "learn": {**learn, "max_calls": 200, "relearn_calls": 400}}
    output = run(tmp_path, more)
    assert "taking up the run" in output and "sampling" not in output
    assert json.loads((out / "production.json").read_text())["inner_steps"] == 320
    (out / "checkpoint.bin").unlink()
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**more, "time": "0.2 ps"}))
    result = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml")])
    assert result.exit_code != 0 and "blocks of production are over" in " ".join(result.output.split())


def test_times_fit_all_k(tmp_path: Path) -> None:
    """Those that are given must; defaults do."""
    content = configuration(tmp_path, learn={"k": [4, 12]}, output={"statistics": "8 fs"})
    message = (
        r"'output.statistics' 8 fs is no whole number .* \(4, 12\), .* a multiple of 6 fs, .* 'learn.block' to 0 fs"
    )
    with pytest.raises(ConfigError, match=message):
        parse_config(content, RunConfig, "run.yaml", tmp_path)
    content["learn"]["block"] = "0 fs"
    parse_config(content, RunConfig, "run.yaml", tmp_path)
    content = configuration(tmp_path, learn={"k": [4, 12]}, output={})
    plan = RunPlan.of(parse_config(content, RunConfig, "run.yaml", tmp_path))
    assert plan.learning is not None and plan.learning.block == 2004
    intervals = [plan.with_learned(k, tmp_path / "a.pt").output.statistics * k for k in (4, 12)]
    assert intervals == [12, 12]
