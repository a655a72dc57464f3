"""`ea-train consistency` and `ea-train reward` from the outside, on a tiny model."""

import json

import numpy as np
import pytest

from ea_data.media import write_video
from ea_dit.lora import read_lora
from ea_dit.pipelines.tiny import make_tiny
from ea_train import cli, schema
from ea_train.recipes import consistency, reward


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny("v5.1-7b-inp", tmp_path_factory.mktemp("model") / "tiny")


def _train(recipe, folder, *more):
    return cli.main([recipe, "--preset", "tiny", "--device", "cpu", "--output", str(folder), *more])


@pytest.mark.parametrize("recipe", [consistency, reward])
@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
def test_every_preset_survives_json(recipe, preset):
    config = recipe.config(preset)
    plain = json.loads(json.dumps(schema.to_mapping(config)))
    assert schema.from_mapping(type(config), plain) == config


def test_a_reward_trains_a_lora(model, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("a cat\na red boat\n")
    (tmp_path / "mine.py").write_text(
        "def red(frames, prompts):\n    return frames[:, 0].mean(dim=(1, 2, 3))\n"
    )
    given = ["--model", str(model), "--prompts", str(tmp_path / "prompts.txt")]
    chosen = ["--set", f"task.rewards=[{{name: '{tmp_path / 'mine.py'}:red', best: 1.0}}]"]
    assert _train("reward", tmp_path / "run", *given, *chosen, "--set", "loop.steps=2") == 0
    assert "val/reward" in capsys.readouterr().out
    assert len(read_lora(tmp_path / "run/export/lora.safetensors").tensors) > 0
    for more, message in (
        ((*given,), "task.rewards must name at least one reward"),
        ((*given[:2], *chosen), "prompts is empty; give a text file with one prompt a line (--prompts FILE)"),
        ((*given, *chosen, "--set", "task.height=40"), "height"),
        (
            (*given, *chosen, "--set", "task.backprop.steps=[9]"),
            "task.backprop.steps must be below num_steps 3",
        ),
        ((*given, *chosen, "--set", "model.low_vram=true"), "model.low_vram must be false"),
        ((*given[2:], *chosen), "model.path is empty"),
    ):
        assert _train("reward", tmp_path / "wrong", *more) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert message in lines[0]


def test_consistency_trains_a_lora(model, tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        frames = rng.integers(0, 255, (9, 48, 48, 3), dtype=np.uint8)
        write_video(tmp_path / f"{number}.mp4", frames, fps=8)
        rows.append({"file_path": f"{number}.mp4", "text": "a clip", "type": "video"})
    (tmp_path / "list.json").write_text(json.dumps(rows))
    given = ["--model", str(model), "--data", str(tmp_path / "list.json"), "--set", "loop.steps=2"]
    assert _train("consistency", tmp_path / "run", *given) == 0
    assert "val/loss" in capsys.readouterr().out
    assert len(read_lora(tmp_path / "run/export/lora.safetensors").tensors) > 0
    assert _train("consistency", tmp_path / "other", *given, "--set", "task.w_max=1.0") == 2
    assert "must be 0 <= w_min <= w_max, got 5.0 and 1.0" in capsys.readouterr().err
