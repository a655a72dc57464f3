"""The data set as a whole, from files to batches, against what is known of EasyAnimate's training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from discovery import record

from ea_data.manifest import Entry, Facts
from ea_data.media import read_video, write_video
from ea_data.synthetic import SyntheticDataset
from ea_data.training.choices import draw_choices
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSample
from ea_data.training.recipe import ClipOptions, DataRecipe, MaskOptions, ReferenceOptions
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import BatchShape, FrameGrid, ShapeOptions

pytestmark = pytest.mark.parity

FRAMES = record("data", "frame_selection.json").get("cases", [])
# The original scales twice, from the decoded frame to its short side and from there to the batch, and in
# another program than this. Edges differ; the mean difference of pictures, which go from -1 to 1, is small.
PIXELS = 0.01


def row(frames, path=Path("/none.mp4")):
    facts = Facts(num_frames=frames, height=64, width=96)
    return Entry(path=path, text="a text", type="video", line=1, facts=facts)


@pytest.mark.parametrize("case", [pytest.param(case, id=str(number)) for number, case in enumerate(FRAMES)])
def test_clips_take_the_recorded_frames(case):
    skips = ClipOptions(
        stride=case["stride"], skip_head=case["drop_start"], skip_tail=round(1 - case["drop_end"], 9)
    )
    shapes = ShapeOptions(video_sample_n_frames=case["n_frames"], grid=FrameGrid(1, causal=False))
    recipe = DataRecipe(shapes=shapes, clip=skips)
    told: list[BrokenSample] = []
    usable = replace(row(10_000), path=Path("/long.mp4"))
    dataset = TrainingDataset([row(case["total_frames"]), usable], recipe, report=told.append)
    if case["error"]:
        assert "no frame is left" in told[0].reason
        assert len(dataset) == 1
        return
    assert not told
    low, high = case["start_range_inclusive"] or [0, 0]
    seen = set()
    for epoch in range(60):
        key = SampleKey(0, 0, epoch, 0, (epoch, 0))
        frames = draw_choices(recipe, key, 0, case["total_frames"], BatchShape(10_000, 64, 96)).frames
        shift = frames[0] - case["frame_indices"][0]
        seen.add(frames[0])
        assert len(frames) == len(case["frame_indices"])
        assert low <= frames[0] <= high
        if shift == 0:
            assert list(frames) == case["frame_indices"]
    assert len(seen) >= min(2, high - low + 1)


def original_pixels(path, frames, short_side, height, width):
    """As the facts say it: shrink to the short side, scale to cover the size, cut the centre, -1 to 1."""
    pixels = torch.from_numpy(read_video(path).frames[list(frames)]).movedim(3, 1).float()
    old_height, old_width = pixels.shape[2:]
    shrink = min(short_side / min(old_height, old_width), 1)
    pixels = F.interpolate(
        pixels, (int(old_height * shrink), int(old_width * shrink)), mode="bilinear", antialias=True
    )
    cover = max(height / pixels.shape[2], width / pixels.shape[3])
    size = max(int(pixels.shape[2] * cover), height), max(int(pixels.shape[3] * cover), width)
    pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return pixels[:, :, top : top + height, left : left + width] / 127.5 - 1


@pytest.mark.parametrize(("height", "width"), [(288, 512), (480, 360), (120, 160)])
def test_a_batch_of_a_file_is_what_the_facts_say(tmp_path, height, width):
    drawn = SyntheticDataset(seed=2, num_frames=24, height=height, width=width)[3]
    path = write_video(tmp_path / "clip.mp4", drawn["video"], fps=8, crf=4)
    recipe = DataRecipe(
        shapes=ShapeOptions(video_sample_size=192, image_sample_size=192, video_sample_n_frames=13),
        masks=MaskOptions(draw="inpaint"),
        reference=ReferenceOptions(mode="random"),
    )
    dataset = TrainingDataset([Entry(path=path, text="a text", type="video", line=1)], recipe)
    for number in range(3):
        batch = dataset.batch(number)
        (choices,) = batch.choices
        # 24 frames, a tenth left out at both ends: 13 in a row, beginning at 2 to 8.
        assert list(choices.frames) == list(range(choices.frames[0], choices.frames[0] + 13))
        assert 2 <= choices.frames[0] <= 8
        assert batch.shape.height % 16 == batch.shape.width % 16 == 0
        assert abs(np.log((batch.shape.height / batch.shape.width) / (height / width))) < 0.15
        expected = original_pixels(path, choices.frames, 192, batch.shape.height, batch.shape.width)
        difference = (batch.pixels_BTCHW[0] - expected).abs()
        assert float(difference.mean()) < PIXELS


def test_shares_over_many_epochs_are_those_of_the_facts():
    recipe = DataRecipe(masks=MaskOptions(draw="inpaint"), reference=ReferenceOptions(mode="random"), seed=5)
    shape = BatchShape(17, 16, 16)
    drawn = [
        draw_choices(recipe, SampleKey(number % 50, 0, number // 50, 0, (0, 0)), 0, 100, shape)
        for number in range(4000)
    ]
    assert np.mean([choices.caption_dropped for choices in drawn]) == pytest.approx(0.1, abs=0.02)
    references = np.array([choices.reference for choices in drawn])
    assert np.mean(references == 0) == pytest.approx(0.4, abs=0.03)
    others = np.bincount(references, minlength=17)[1:] / len(references)
    assert others == pytest.approx(np.full(16, 0.6 / 16), abs=0.015)
