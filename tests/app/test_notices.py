"""What a job says before it runs: options that do less than they seem to, and pictures that are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ea_app.api import make_job
from ea_app.api.inputs import kept_area
from ea_app.catalog import Model, find
from ea_app.model_info import ModelInfo

ANY_SIZE = Model(name="any", directory=Path(), info=ModelInfo(name="any", size_multiple=1, native_frames=2))


def notices(model, **options):
    return make_job(model, prompt="a fox", seed=1, frames=2, **options).notices


@pytest.mark.parametrize(("given", "made"), [("60x44", "56x40"), ("426x240", "424x240"), ("64x44", "64x40")])
def test_a_size_that_is_not_made_whole_is_said(given, made):
    assert notices(ANY_SIZE, size=given) == (
        f"size: {made} is written; the model is told {given}, and makes whole multiples of 8",
    )


def test_a_size_that_is_made_is_not(tiny_model):
    assert notices(ANY_SIZE, size="64x48") == ()
    assert notices(find(str(tiny_model)), size="32x48") == ()


@pytest.mark.parametrize("guidance", [0, 0.5, 1])
def test_a_negative_prompt_without_guidance_is_said(guidance):
    given = notices(ANY_SIZE, size="64", negative="dull", guidance=guidance)
    assert given == (f"negative: changes nothing with --guidance {guidance:g}; it needs more than 1",)
    assert notices(ANY_SIZE, size="64", guidance=guidance) == ()
    assert notices(ANY_SIZE, size="64", negative="dull", guidance=1.5) == ()


def test_a_picture_of_one_pixel_is_used(tmp_path):
    Image.fromarray(np.zeros((1, 1, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    assert notices(ANY_SIZE, size="64x32", image=str(tmp_path / "one.png")) == ()
    assert kept_area(1, 1, (640, 32)) == (1, 1)
    assert kept_area(1, 3, (640, 32)) == (1, 1)


def test_sizes_begin_at_a_multiple(tmp_path):
    from ea_dit.pipelines.tiny import make_tiny

    model = find(str(make_tiny("v1-image", tmp_path / "model")))
    assert (model.info.size_multiple, model.info.min_side) == (16, 16)
    large = replace(model.info, size_multiple=32, min_side=32)
    with pytest.raises(ValueError, match="multiples of 32 from 32 to 4096 for this model, got 48x48"):
        make_job(replace(model, info=large), prompt="a fox", size="48x48", frames=1)
