"""Batches of EasyAnimate's training, their order and their pixels, against recorded ones."""

import numpy as np
import pytest
from discovery import goldens, record
from safetensors.numpy import load_file

from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.tokens import FrameGrid
from ea_data.training.collate import BatchCollator, ClipSample
from ea_data.training.released_order import queue_batches
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import ShapeOptions, aspect_bucket_ids

pytestmark = pytest.mark.parity

SAMPLER = record("data", "bucket_sampler.json")
COLLATE = record("data", "collate.json").get("cases", [])
# Their tolerance: kernels that scale pictures differ a little between versions.
PIXELS = 2e-3


def rows():
    assert SAMPLER["item_fields"] == ["type", "height", "width"]
    kinds, heights, widths = zip(*SAMPLER["items"], strict=True)
    return np.array(kinds) == "video", np.array(heights), np.array(widths)


def test_there_are_records():
    assert SAMPLER["aspect_batches"]
    assert SAMPLER["type_only_batches"]
    assert COLLATE


@pytest.mark.parametrize("case", SAMPLER.get("aspect_batches", []), ids=lambda case: str(case["batch_size"]))
def test_batches_of_two_epochs(case):
    buckets = aspect_bucket_ids(*rows()).tolist()
    first, waiting = queue_batches(case["epoch1_order"], buckets, case["batch_size"])
    second, _ = queue_batches(case["epoch2_order"], buckets, case["batch_size"], waiting)
    assert (first, second) == (case["epoch1_batches"], case["epoch2_batches"])


@pytest.mark.parametrize(
    "case", SAMPLER.get("type_only_batches", []), ids=lambda case: str(case["batch_size"])
)
def test_batches_without_buckets(case):
    order = SAMPLER["aspect_batches"][0]["epoch1_order"]
    batches, _ = queue_batches(order, rows()[0].tolist(), case["batch_size"])
    assert batches == case["batches"]


@pytest.mark.parametrize("case", COLLATE, ids=lambda case: case["name"])
def test_pixels(case):
    tensors = load_file(goldens() / "data" / "collate.safetensors")
    arguments = {name: value for name, value in case["args"].items() if name != "train_mode"}
    options = ShapeOptions(
        **arguments,
        grid=FrameGrid(case["temporal_interval"], case["causal_plus_one"]),
        token_rule="original",
    )
    assert options.budget == case["target_token_length"]
    frame = tensors[f"{case['name']}.frame0_in"]
    assert frame.shape[:2] == (case["input_height"], case["input_width"])
    clip = np.repeat(frame[None], case["input_frames"], axis=0)
    samples = [
        ClipSample(SampleKey(row, 0, 0, 0, (0, 0)), case["type"], clip) for row in range(case["batch"])
    ]
    pixels = BatchCollator(options)(samples).pixels_BTCHW.numpy()
    assert list(pixels.shape) == case["output_shape_b_f_c_h_w"]
    assert np.abs(pixels - tensors[f"{case['name']}.frame0_out"]).max() <= PIXELS


def test_buckets_are_the_aspects_of_pictures_and_then_of_videos():
    videos, heights, widths = rows()
    found = aspect_bucket_ids(videos, heights, widths)
    assert (found // len(ASPECTS) == videos).all()
    assert (found % len(ASPECTS) == ASPECTS.nearest(heights, widths)).all()
