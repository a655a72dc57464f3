"""The style LoRA of the bundled model: the look, what it learns, what it exports."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ea_data.synthetic import render, sample_scene
from ea_data.synthetic.judge import judge
from ea_data.synthetic.styles import STYLES, find_style
from ea_train.adapters import AdapterConfig
from ea_train.recipes import default_style
from ea_train.sources import ProceduralClips


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_a_style_changes_the_look_and_can_be_taken_away(style):
    for index in range(4):
        frames = render(sample_scene(0, index), num_frames=9, height=64, width=64)
        styled = style.apply(frames)
        assert styled.dtype == np.uint8
        assert style.shown(styled) == 1
        assert style.shown(frames) < 0.9
        assert np.abs(style.undo(styled).astype(int) - frames).max() <= 1
        seen = [
            [(found.shape, found.colour, found.motion) for found in judge(clip).objects]
            for clip in (style.undo(styled), frames)
        ]
        assert seen[0] == seen[1] != []


def test_unknown_styles_and_other_adapters_are_refused():
    with pytest.raises(ValueError, match="no style 'oil'; allowed: pastel"):
        find_style("oil")
    tiny = default_style.config("tiny")
    with pytest.raises(ValueError, match="no style 'oil'"):
        dataclasses.replace(tiny, style="oil")
    with pytest.raises(ValueError, match=r"adapter\.kind must be lora, loha or lokr, got 'all'"):
        dataclasses.replace(tiny, adapter=AdapterConfig())


def test_styled_clips_are_other_clips_with_the_same_words():
    plain, styled = ProceduralClips(0), ProceduralClips(0, style="pastel")
    size = {"num_frames": 1, "height": 16, "width": 16}
    assert not torch.equal(plain.clip(1, **size), styled.clip(1, **size))
    assert float(styled.clip(1, **size).min()) >= -0.01
    words = {"variant": random.Random(0).randrange(9), "language": "en"}
    assert plain.caption(1, **words) == styled.caption(1, **words)
    assert styled.describe() == f"{plain.describe()} style=pastel"


def test_a_lora_learns_and_is_exported(control_model, tmp_path, monkeypatch):
    from ea_train import cli, latent_cache

    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 8)
    common = ["default-style", "--preset=tiny", "--device=cpu", f"--model={control_model}"]
    run = [*common, f"--output={tmp_path / 'run'}", "--set=optim.warmup_steps=0"]
    assert cli.main([*run, "--set=loop.steps=3"]) == 0
    factors = load_file(tmp_path / "run" / "export" / "lora.safetensors")
    assert factors
    assert any(bool(value.any()) for name, value in factors.items() if "lora_up" in name)
    assert cli.main([*common, f"--output={tmp_path / 'other'}", f"--init={tmp_path}"]) == 2
