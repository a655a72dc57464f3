"""One stage by itself, as a command."""

import numpy as np
import pytest
from curation_corpus import FPS, SCENE, pan
from curation_workers import rows_of

from ea_data.cli import main
from ea_data.curation.registry import STAGES
from ea_data.curation.single import option_lines, plan_of_stage
from ea_data.media import write_video


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_a_plan_of_its_own(name):
    plan = plan_of_stage(name)
    assert plan.steps[-1].stage == name
    assert plan.steps[-1].opened().summary in option_lines(name)


def test_the_command(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    joined = np.concatenate(
        (pan(1, SCENE, height=64, width=96), pan(2, SCENE, height=64, width=96) // 2 + 100)
    )
    write_video(tmp_path / "in" / "a.mp4", joined, fps=FPS)
    words = [
        "stage",
        "cut",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        "--engine",
        "inline",
        "--samples",
        "0",
    ]
    assert main([*words, "--set", "trim_seconds=0"]) == 0
    assert "2 kept, 0 left out" in capsys.readouterr().out
    rows = rows_of(tmp_path / "out" / "metadata.jsonl")
    assert [row["start"] for row in rows] == [0.0, SCENE / FPS]
    assert [row["num_frames"] for row in rows] == [SCENE, SCENE - 1]


def test_options_are_shown(capsys):
    assert main(["stage", "motion", "--show"]) == 0
    assert "method: farneback" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["motion", "--set", "least"], "'least' changes nothing"),
        (["motion", "--set", "leest=1"], "unknown key 'leest'"),
        (["motion", "--set", "method=flow"], "'flow' is not one of"),
        (["motion"], "INPUT and OUTPUT are missing"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(["stage", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
