"""Aspect buckets, crops, token budgets and batch sizes: what records do not show, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ea_data.geometry.aspect import ASPECTS, CROP_WEIGHTS, AspectTable, count_reached
from ea_data.geometry.batch_sizes import (
    BatchRange,
    StepTimeModel,
    equal_time_batch_sizes,
    fill_bucket_config,
)
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.geometry.crop import centre_offset, cover_size, shrink_size
from ea_data.geometry.resolutions import RESOLUTIONS
from ea_data.geometry.tokens import FrameGrid, budget_sides, frame_table, sides

PIXELS = st.integers(1, 5000)


def by_looking_at_all(table, height, width):
    distances = [abs(float(name) - height / width) for name in table.names]
    return distances.index(min(distances))


@given(height=PIXELS, width=PIXELS, name=st.sampled_from(["easyanimate", *RESOLUTIONS]))
def test_the_nearest_bucket_is_found(height, width, name):
    table = ASPECTS if name == "easyanimate" else RESOLUTIONS[name].aspects
    assert table.nearest(height, width) == by_looking_at_all(table, height, width)


def test_many_files_at_once():
    heights, widths = np.random.default_rng(0).integers(1, 4000, (2, 500))
    expected = [
        by_looking_at_all(ASPECTS, height, width) for height, width in zip(heights, widths, strict=True)
    ]
    assert ASPECTS.nearest(heights, widths).tolist() == expected
    assert ASPECTS.nearest(heights.reshape(50, 10), widths.reshape(50, 10)).shape == (50, 10)


@pytest.mark.parametrize(("names", "first"), [(("0.5", "1.5"), 0), (("1.5", "0.5"), 0)])
def test_of_two_equally_near_buckets_the_first_is_taken(names, first):
    assert AspectTable(names, ((10, 10), (20, 20))).nearest(7, 7) == first


@pytest.mark.parametrize("name", ["easyanimate", *RESOLUTIONS])
def test_on_both_sides_of_every_limit(name):
    table = ASPECTS if name == "easyanimate" else RESOLUTIONS[name].aspects
    assert len(table.limits) == len(table) - 1
    for aspect in table.limits:
        for near in (np.nextafter(aspect, 0), aspect, np.nextafter(aspect, 9)):
            assert table.nearest_to(np.array([near])) == by_looking_at_all(table, near, 1.0)


def test_of_equal_aspects_the_first_is_taken():
    table = AspectTable(("2", "1.0", "0.5", "1"), ((8, 8),) * 4)
    assert table.nearest_to(np.array([0.1, 0.7, 0.75, 1.0, 1.4, 1.5, 9.0])).tolist() == [2, 2, 1, 1, 1, 0, 0]
    assert AspectTable(("1", "1"), ((8, 8),) * 2).nearest([5, 7], [7, 5]).tolist() == [0, 0]


@given(st.lists(st.floats(-2, 2)), st.lists(st.floats(-2, 2)))
def test_limits_are_counted_as_by_searchsorted(values, limits):
    values, limits = np.array(values), np.sort(limits)
    assert (count_reached(values, limits) == np.searchsorted(limits, values, side="right")).all()


@given(height=PIXELS, width=PIXELS, crop_height=PIXELS, crop_width=PIXELS)
def test_scaled_pictures_cover_their_crop(height, width, crop_height, crop_width):
    for rounding in ("down", "nearest"):
        size = cover_size(height, width, crop_height, crop_width, rounding=rounding)
        assert size[0] >= crop_height
        assert size[1] >= crop_width
        assert size[0] == crop_height or size[1] == crop_width
        for whole, part in zip(size, (crop_height, crop_width), strict=True):
            offset = centre_offset(whole, part, rounding=rounding)
            assert 0 <= offset <= whole - part
            assert abs(2 * offset - (whole - part)) <= 1


def test_sizes_are_multiples():
    assert ASPECTS.size(20, 500) == (496, 496)
    assert ASPECTS.size(20, 500, multiple=32) == (480, 480)
    assert set(CROP_WEIGHTS) <= set(ASPECTS.names)


@given(
    step=st.integers(1, 12),
    causal=st.booleans(),
    frames=st.integers(1, 400),
)
def test_fitting_lengths_are_the_longest_that_fit(step, causal, frames):
    grid = FrameGrid(step, causal)
    alone = int(causal)
    possible = sorted({1} | {n for n in range(1, frames + 1) if n > alone and (n - alone) % step == 0})
    assert grid.fit(frames) == max(possible)
    assert grid.lengths(frames) == (tuple(n for n in possible if n >= step + alone) or (1,))


@settings(max_examples=50)
@given(
    video=st.integers(64, 800),
    image=st.integers(64, 1500),
    token=st.integers(64, 800),
    frames=st.integers(1, 120),
)
def test_the_documented_table_stays_within_its_budget(video, image, token, frames):
    table = frame_table(video_size=video, image_size=image, token_size=token, num_frames=frames)
    assert list(table) == sorted(table)
    assert list(table) == list(sides(video, image))
    for side, length in table.items():
        assert length == 1 or length * side**2 <= frames * token**2
        assert length <= max(frames, 1)


def test_sides_of_budgets():
    assert budget_sides(200) == budget_sides(256) == (256,)
    assert budget_sides(512) == (256, 384, 512)
    assert budget_sides(600) == (256, 384, 512, 600)


# ------------------------------------------------------------------------------------------------ batch sizes


def test_batch_sizes_equalise_the_time_of_a_step():
    tokens = {"144p": 1_000, "240p": 3_000, "480p": 12_000, "720p": 30_000}
    model = StepTimeModel(fixed=0.2, linear=1e-5, quadratic=1e-9)
    target = model(tokens["720p"], 2)
    sizes = equal_time_batch_sizes(tokens, lambda name, size: model(tokens[name], size), target=target)
    times = {name: model(tokens[name], size) for name, size in sizes.items()}
    assert sizes["720p"] == 2
    assert sizes["144p"] > sizes["240p"] > sizes["480p"] > sizes["720p"]
    for name, size in sizes.items():
        for other in (size - 1, size + 1):
            assert other == 0 or abs(model(tokens[name], other) - target) >= abs(times[name] - target)
    assert max(times.values()) / min(times.values()) < 1.3


@given(
    seconds=st.floats(0.01, 10), target=st.floats(0.01, 100), least=st.integers(1, 9), step=st.integers(1, 5)
)
def test_the_search_finds_what_trying_all_would(seconds, target, least, step):
    tried = BatchRange(least, least + 40, step)
    calls = []

    def step_time(bucket, size):
        calls.append(size)
        return seconds * size

    found = equal_time_batch_sizes(["b"], step_time, target=target, ranges=tried)["b"]
    distances = [abs(seconds * size - target) for size in tried.sizes]
    assert abs(seconds * found - target) == pytest.approx(min(distances))
    assert len(calls) <= math.ceil(math.log2(len(tried.sizes) + 1)) + 2
    assert len(calls) == len(set(calls))


def test_batches_that_do_not_fit_the_device_are_not_taken():
    def out_of_memory(bucket, size):
        if size > 5:
            raise MemoryError
        return float(size)

    def infinite(bucket, size):
        return float(size) if size <= 5 else math.inf

    for step_time in (out_of_memory, infinite):
        assert equal_time_batch_sizes([0], step_time, target=100) == {0: 5}
    ranges = {0: BatchRange(2, 4), 1: BatchRange(6, 8)}
    with pytest.raises(ValueError, match="no step of 1 runs, not even with batch size 6; allowed"):
        equal_time_batch_sizes([0, 1], infinite, target=100, ranges=ranges)
    assert equal_time_batch_sizes([0], infinite, target=100, ranges=ranges) == {0: 4}


def test_a_bucket_config_is_filled_in():
    tokens = {"144p": 1_000, "480p": 12_000}
    asked = []

    def step_time(bucket, size):
        asked.append(bucket)
        resolution, frames = bucket
        return size * frames * tokens[resolution] / 48_000

    config = {
        "144p": {"1": (1.0, (500,)), 16: (0.5, (1, 9, 4)), 32: (1.0, 7)},
        "480p": {4: (0.2, [2, 50]), 64: (0.0, None)},
    }
    filled = fill_bucket_config(config, step_time, target=4.0)
    assert filled == {
        "144p": {1: (1.0, 192), 16: (0.5, 9), 32: (1.0, 7)},
        "480p": {4: (0.2, 4), 64: (0.0, None)},
    }
    assert set(asked) == {("144p", 1), ("144p", 16), ("480p", 4)}
    assert ResolutionBuckets(filled).batch_sizes.tolist()[-17:] == [192] * 17


@pytest.mark.parametrize("sizes", [(), (1, 2, 3, 4), (0,), (4, 2), (1.5,), (True,), (1, 8, 0)])
def test_wrong_ranges_of_batch_sizes(sizes):
    with pytest.raises(ValueError, match="allowed"):
        fill_bucket_config({"144p": {1: (1.0, sizes)}}, lambda bucket, size: 1.0, target=1)


@pytest.mark.parametrize("entries", [{"one": (1.0, 2)}, {1: (1.0,)}, {1: (1.0, 2, 3)}])
def test_wrong_entries_of_a_bucket_config(entries):
    with pytest.raises(ValueError, match=r"bucket_config 144p .* allowed: frames: \(keep probability"):
        fill_bucket_config({"144p": entries}, lambda bucket, size: 1.0, target=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: AspectTable((), ()),
        lambda: AspectTable(("1.0",), ()),
        lambda: AspectTable(("0",), ((8, 8),)),
        lambda: AspectTable(("nan",), ((8, 8),)),
        lambda: AspectTable(("1.0", "inf"), ((8, 8), (8, 8))),
        lambda: ASPECTS.nearest(0, 5),
        lambda: ASPECTS.nearest([4, 4], [4, float("nan")]),
        lambda: ASPECTS.size(0, 31),
        lambda: cover_size(0, 1, 1, 1),
        lambda: shrink_size(4, 4, 0),
        lambda: centre_offset(4, 5),
        lambda: FrameGrid(0),
        lambda: sides(0, 512),
        lambda: frame_table(video_size=256, image_size=512, token_size=0, num_frames=49),
        lambda: frame_table(video_size=256, image_size=512, token_size=512, num_frames=49, rule="readme"),
        lambda: BatchRange(0),
        lambda: StepTimeModel(0.1, 0.0),
        lambda: StepTimeModel(-0.1, 1.0),
        lambda: StepTimeModel(0.1, math.nan),
        lambda: BatchRange(3, 2),
        lambda: equal_time_batch_sizes([0], lambda bucket, size: 1.0, target=0),
        lambda: equal_time_batch_sizes([0], lambda bucket, size: math.nan, target=1),
        lambda: equal_time_batch_sizes([0], lambda bucket, size: math.inf, target=1),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(ValueError, match="allowed"):
        call()
