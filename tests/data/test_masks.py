"""Masks: shapes of given numbers, kinds drawn at random, what is refused."""

from collections import Counter

import numpy as np
import pytest

from ea_data.masks import (
    MASK_KINDS,
    RELEASED_PICTURE_WEIGHTS,
    RELEASED_WEIGHTS,
    all_mask,
    box_mask,
    disc_mask,
    draw_mask,
    ellipse_mask,
    ends_mask,
    first_mask,
    last_mask,
    random_mask,
)

COINS = {"pixels", "frames"}
SIZES = [(1, 1), (2, 3), (5, 4), (16, 7), (33, 64)]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_given_frames(frames):
    given = {
        "all": ~all_mask(frames, 4, 6),
        "first": ~first_mask(frames, 4, 6),
        "last": ~last_mask(frames, 4, 6),
        "ends": ~ends_mask(frames, 4, 6),
    }
    kept = {name: np.nonzero(mask.all(axis=(1, 2)))[0].tolist() for name, mask in given.items()}
    assert kept["all"] == []
    if frames == 1:
        assert kept["first"] == kept["last"] == kept["ends"] == []
    else:
        assert kept["first"] == [0]
        assert kept["last"] == [frames - 1]
        assert kept["ends"] == ([0, frames - 1] if frames > 2 else [0])
    assert all(mask.shape == (frames, 4, 6) for mask in given.values())


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("given", [1, 3, 4, 100])
def test_something_is_left_to_make(frames, given):
    # The original makes nothing of a clip that is shorter than the frames it is given.
    for make in (first_mask, ends_mask):
        mask = make(frames, 2, 2, given=given)
        made = mask.all(axis=(1, 2))
        assert made.any()
        assert (mask.any(axis=(1, 2)) == made).all()
    assert first_mask(frames, 2, 2, given=given).sum() == 4 * (frames - min(given, frames - 1))


def test_boxes_are_cut_off_at_the_edges():
    mask = box_mask((2, 6, 8), top=-2, left=5, height=4, width=9)
    expected = np.zeros((2, 6, 8), bool)
    expected[:, :2, 5:] = True
    assert np.array_equal(mask, expected)
    assert not box_mask((1, 4, 4), top=-9, left=0, height=3, width=3).any()


def test_ellipses_hold_the_pixels_strictly_inside():
    mask = ellipse_mask((3, 9, 12), centre=(4, 7), half_axes=(3, 4))
    inside = [[((y - 4) / 3) ** 2 + ((x - 7) / 4) ** 2 < 1 - 1e-12 for x in range(12)] for y in range(9)]
    assert (mask == np.array(inside)).all()
    assert mask.shape == (3, 9, 12)
    # (3, 4) from the centre lies on a circle of radius 5, whichever way it is rounded.
    disc = disc_mask((1, 21, 21), centre=(10, 10), radius=5)
    assert not disc[0, 13, 14]
    assert disc[0, 12, 14]


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 17])
def test_every_kind_at_every_size(kind, frames):
    for height, width in SIZES:
        for seed in range(10):
            mask = draw_mask(kind, rng(seed), frames, height, width)
            assert mask.shape == (frames, height, width)
            assert mask.dtype == bool
            assert mask.flags.writeable
            assert kind in COINS or mask.any()
            assert np.array_equal(mask, draw_mask(kind, rng(seed), frames, height, width))


@pytest.mark.parametrize("kind", ["box", "box_anywhere", "ellipse", "disc"])
def test_kinds_that_are_alike_in_every_frame(kind):
    for seed in range(20):
        mask = draw_mask(kind, rng(seed), 5, 32, 40)
        assert (mask == mask[0]).all()


def test_a_box_is_one_rectangle_inside_the_picture():
    source = rng(1)
    for _ in range(50):
        mask = draw_mask("box", source, 3, 16, 24)
        rows, columns = np.nonzero(mask[0].any(1))[0], np.nonzero(mask[0].any(0))[0]
        assert mask[0].sum() == len(rows) * len(columns) > 0
        assert len(rows) >= 4
        assert len(columns) >= 6


def test_a_box_for_a_time_begins_before_the_middle_and_ends_behind_it():
    for seed in range(50):
        shown = draw_mask("box_for_a_time", rng(seed), 9, 16, 16).any(axis=(1, 2))
        places = np.flatnonzero(shown)
        assert (np.diff(places) == 1).all()
        assert places[0] < 4
        assert places[-1] >= 3


def test_small_boxes_are_in_up_to_half_of_the_frames():
    counts = {
        int(draw_mask("small_boxes", rng(seed), 8, 32, 32).any(axis=(1, 2)).sum()) for seed in range(200)
    }
    assert counts == {1, 2, 3, 4}


def test_coins_are_fair():
    assert draw_mask("pixels", rng(), 20, 100, 100).mean() == pytest.approx(0.5, abs=0.01)
    frames = np.stack([draw_mask("frames", rng(seed), 50, 1, 1) for seed in range(100)])
    assert frames.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("frames", "weights"), [(5, RELEASED_WEIGHTS), (1, RELEASED_PICTURE_WEIGHTS)])
def test_kinds_come_as_often_as_in_released_training(frames, weights):
    count = 4000
    drawn = Counter(random_mask(rng(seed), frames, 8, 8)[0] for seed in range(count))
    assert set(drawn) == set(weights)
    assert sum(weights.values()) == pytest.approx(1)
    for kind, share in weights.items():
        assert drawn[kind] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


def test_random_masks_depend_on_the_generator_alone():
    drawn = [random_mask(rng(seed), 5, 8, 8) for seed in range(100)]
    again = [random_mask(rng(seed), 5, 8, 8) for seed in range(100)]
    assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(drawn, again, strict=True))
    assert random_mask(rng(), 5, 8, 8, weights={"all": 0, "first": 1})[0] == "first"


@pytest.mark.parametrize(
    "call",
    [
        lambda: all_mask(0, 4, 4),
        lambda: box_mask((1, 0, 4), top=0, left=0, height=1, width=1),
        lambda: ellipse_mask((1, 4, 4), centre=(0, 0), half_axes=(0, 1)),
        lambda: disc_mask((1, 4, 4), centre=(0, 0), radius=-1),
        lambda: first_mask(4, 4, 4, given=0),
        lambda: ends_mask(4, 4, 4, given=-1),
        lambda: ends_mask(1, 4, 4, given=0),
        lambda: last_mask(4, 0, 4),
        lambda: draw_mask("circle", rng(), 4, 4, 4),
        lambda: draw_mask("disc", rng(), 4, -1, 4),
        lambda: random_mask(rng(), 4, 4, 4, weights={}),
        lambda: random_mask(rng(), 4, 4, 4, weights={"all": 0.0}),
        lambda: random_mask(rng(), 4, 4, 4, weights={"all": 1, "first": -1}),
        lambda: random_mask(rng(), 4, 4, 4, weights={"all": float("nan")}),
        lambda: random_mask(rng(), 4, 4, 4, weights={"everything": 1}),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(ValueError, match="allowed"):
        call()
