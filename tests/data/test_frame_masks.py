"""Which frames of a training clip are given, as Open-Sora draws it."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from ea_data.frame_masks import (
    FRAME_MASK_KINDS,
    RELEASED_RATIOS,
    check_ratios,
    frame_mask,
    random_frame_mask,
)


def drawn(kind, frames, count=200):
    rng = Random(1)
    return {"".join(str(int(made)) for made in frame_mask(kind, rng, frames)) for _ in range(count)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mask_no", {"11111111"}),
        ("mask_quarter_head", {"01111111", "00111111"}),
        ("mask_quarter_tail", {"11111110", "11111100"}),
        ("mask_quarter_head_tail", {"01111110", "00111100"}),
        ("mask_image_head", {"01111111"}),
        ("mask_image_tail", {"11111110"}),
        ("mask_image_head_tail", {"01111110"}),
    ],
)
def test_kinds(kind, expected):
    assert drawn(kind, 8) == expected


def test_random_runs_are_everywhere():
    assert drawn("mask_image_random", 4) == {"0111", "1011", "1101", "1110"}
    runs = drawn("mask_quarter_random", 8)
    assert len(runs) == 8 + 7
    assert all(run.strip("1") in ("0", "00") for run in runs)


@pytest.mark.parametrize("kind", FRAME_MASK_KINDS)
@pytest.mark.parametrize("frames", range(1, 10))
def test_something_is_left_to_make(kind, frames):
    masks = drawn(kind, frames)
    assert all(len(mask) == frames and "1" in mask for mask in masks)
    assert all(("0" in mask) == (kind != "mask_no" and frames > 1) for mask in masks)


def test_short_clips_where_the_release_fails():
    assert drawn("mask_quarter_head", 2) == {"01"}
    assert drawn("mask_quarter_tail", 3) == {"110"}
    assert drawn("mask_quarter_head_tail", 3) == {"010"}
    assert drawn("mask_image_head_tail", 2) == drawn("mask_quarter_head_tail", 2) == {"01"}


def test_kinds_come_as_often_as_asked():
    rng = Random(0)
    counts = Counter(random_frame_mask(rng, 16)[0] for _ in range(20_000))
    for kind, ratio in RELEASED_RATIOS.items():
        assert counts[kind] / 20_000 == pytest.approx(ratio, abs=0.01)
    only = {"mask_no": 0.0, "mask_image_tail": 1.0}
    assert {random_frame_mask(rng, 4, only)[0] for _ in range(100)} == {"mask_image_tail"}


def test_a_draw_above_a_rounded_sum_takes_the_last_kind():
    class High(Random):
        def random(self):
            return 1 - 2**-53

    ratios = {"mask_no": 0.9, "mask_image_head": 0.1 - 1e-9}
    assert random_frame_mask(High(), 4, ratios)[0] == "mask_image_head"


def test_the_generator_decides():
    first, again = (
        [random_frame_mask(rng, 16)[1].tolist() for _ in range(50)] for rng in (Random(5), Random(5))
    )
    assert first == again
    assert first != [random_frame_mask(Random(6), 16)[1].tolist() for _ in range(50)]
    assert random_frame_mask(Random(0), 16)[1].dtype == np.bool_


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({}, "mask ratios sum to 0; allowed: 1 in all"),
        ({"mask_no": 0.5}, "mask ratios sum to 0.5; allowed: 1 in all"),
        ({"mask_no": 1.0, "mask_image_head": 0.5}, "mask ratios sum to 1.5"),
        ({"mask_no": 1.2, "mask_image_head": -0.2}, "the ratio of mask_no is 1.2; allowed: 0 to 1"),
        ({"mask_no": 1.0, "mask_image_head": -0.2}, "the ratio of mask_image_head is -0.2"),
        ({"mask_no": float("nan")}, "the ratio of mask_no is nan"),
        ({"mask_head": 1.0}, "mask ratios name 'mask_head'; allowed: mask_no, mask_quarter_random"),
    ],
)
def test_ratios_are_checked(ratios, message):
    for call in (check_ratios, lambda wrong: random_frame_mask(Random(0), 4, wrong)):
        with pytest.raises(ValueError, match=message):
            call(ratios)


def test_wrong_kinds_and_lengths_are_refused():
    with pytest.raises(ValueError, match="the kind of mask is 'head'; allowed: mask_no, "):
        frame_mask("head", Random(0), 4)
    with pytest.raises(ValueError, match="frames is 0; allowed: 1 or more"):
        frame_mask("mask_no", Random(0), 0)
