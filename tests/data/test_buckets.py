"""Buckets of resolution, frames and aspect; frames of clips; draws that can be made again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ea_data.geometry.buckets import NO_BUCKET, ResolutionBuckets
from ea_data.geometry.resolutions import RESOLUTIONS
from ea_data.sampling import (
    clip_span,
    evenly_spaced,
    generator,
    keep_draws,
    keyed_bits,
    latest_start,
)

CONFIG = {
    "144p": {1: (1.0, 8), 16: (1.0, 4)},
    "480p": {1: (0.5, 4), 16: (0.7, 2), 64: (0.0, None)},
    "720p": {32: (0.5, 1)},
}


def never(rows):
    return np.full(len(rows), 0.999)


def always(rows):
    return np.zeros(len(rows))


def one(buckets, frames, height, width, uniform=always):
    index = int(buckets.assign([frames], [height], [width], uniform)[0])
    return None if index == NO_BUCKET else tuple(buckets[index])


def test_slots_are_tried_from_the_largest_down():
    buckets = ResolutionBuckets(CONFIG)
    assert [slot[:2] for slot in buckets.slots] == [
        ("720p", 32),
        ("480p", 64),
        ("480p", 16),
        ("480p", 1),
        ("144p", 16),
        ("144p", 1),
    ]
    assert len(buckets) == 6 * 17
    assert buckets.batch_sizes.tolist() == [1] * 34 + [2] * 17 + [4] * 34 + [8] * 17
    assert [buckets.size(index) for index in (0, 101)] == [(588, 1568), (277, 132)]


@pytest.mark.parametrize(
    ("frames", "height", "width", "uniform", "expected"),
    [
        (100, 720, 1280, always, ("720p", 32, "0.56")),
        (
            100,
            720,
            1280,
            never,
            ("144p", 16, "0.56"),
        ),  # on to the next smaller resolution, not a shorter clip
        (32, 720, 1280, always, ("480p", 16, "0.56")),  # needs more than 32
        (33, 720, 1280, always, ("720p", 32, "0.56")),
        (33, 644, 1145, always, ("720p", 32, "0.56")),  # 80 % of the pixels are enough
        (33, 644, 1144, always, ("480p", 16, "0.56")),
        (65, 480, 854, always, ("144p", 16, "0.56")),  # a slot that keeps nothing sends it further down
        (1, 2000, 2000, always, ("480p", 1, "1.00")),
        (1, 2000, 2000, never, ("144p", 1, "1.00")),
        (16, 4000, 4000, always, None),
        (17, 50, 50, always, None),
    ],
)
def test_where_a_file_goes(frames, height, width, uniform, expected):
    assert one(ResolutionBuckets(CONFIG), frames, height, width, uniform) == expected


def test_the_interval_counts():
    assert one(ResolutionBuckets(CONFIG, frame_interval=3), 48, 200, 256) is None
    assert one(ResolutionBuckets(CONFIG, frame_interval=3), 49, 200, 256) == ("144p", 16, "0.75")


@given(st.data())
def test_rows_do_not_depend_on_each_other(data):
    sizes = st.lists(
        st.tuples(st.sampled_from([1, 20, 40, 80, 300]), st.integers(50, 1500), st.integers(50, 1500)),
        min_size=1,
        max_size=20,
    )
    rows = np.array(data.draw(sizes))
    buckets = ResolutionBuckets(CONFIG)
    draws = keep_draws(3, 1)
    together = buckets.assign(rows[:, 0], rows[:, 1], rows[:, 2], draws)
    for number, row in enumerate(rows):
        alone = buckets.assign(row[:1], row[1:2], row[2:], lambda rows, number=number: draws(rows + number))
        assert alone[0] == together[number]


SLOTS = st.dictionaries(
    st.sampled_from([1, 2, 16, 64]),
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(1, 9)),
    min_size=1,
)


def one_after_the_other(buckets, frames, height, width, drawn):
    """The rule as it is written: a row stays with each slot's probability, if it came that far."""
    left = 1.0
    for position in buckets.tried(frames, height, width):
        left *= 1 - buckets.slots[position].keep
        if drawn < 1 - left:
            return buckets.nearest(position, height, width)
    return NO_BUCKET


@given(
    config=st.dictionaries(st.sampled_from(sorted(RESOLUTIONS)), SLOTS, min_size=1),
    interval=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_tables_say_what_the_rule_says(config, interval, seed):
    rng = np.random.default_rng(seed)
    frames = rng.choice([1, 2, 3, 6, 7, 16, 17, 49, 200], 50)
    heights, widths = (2 ** rng.uniform(5, 12, (2, 50))).astype(int)
    buckets = ResolutionBuckets(config, frame_interval=interval)
    drawn = rng.random(50)
    found = buckets.assign(frames, heights, widths, lambda rows: drawn[rows])
    rows = zip(frames.tolist(), heights.tolist(), widths.tolist(), drawn, strict=True)
    assert found.tolist() == [one_after_the_other(buckets, *row) for row in rows]


def test_the_shares_of_slots_are_those_of_the_config():
    buckets = ResolutionBuckets({"144p": {16: (0.6, 8)}, "480p": {16: (0.5, 4)}, "720p": {32: (0.25, 1)}})
    count = 100_000
    found = buckets.assign([100] * count, [720] * count, [1280] * count, keep_draws(3, 1))
    names = [buckets[index].resolution if index >= 0 else None for index in np.unique(found)]
    shares = dict(zip(names, np.unique(found, return_counts=True)[1] / count, strict=True))
    assert shares == {
        name: pytest.approx(share, abs=0.006)
        for name, share in ((None, 0.15), ("720p", 0.25), ("480p", 0.375), ("144p", 0.225))
    }


def test_text_as_number_of_frames():
    as_json = {"480p": {"16": [0.5, 2], "1": [1, 4]}}
    assert ResolutionBuckets(as_json).slots == ResolutionBuckets({"480p": {1: (1.0, 4), 16: (0.5, 2)}}).slots


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "the bucket config is empty; allowed: at least one"),
        ({"480": {1: (1.0, 4)}}, "unknown resolution '480'; allowed: 144p, 256"),
        ({"480p": {}}, "the bucket config is empty"),
        ({"480p": {0: (1.0, 4)}}, "bucket_config 480p 0: the number of frames; allowed: whole numbers"),
        ({"480p": {"many": (1.0, 4)}}, "bucket_config 480p many"),
        ({"480p": {1: (1.0,)}}, r"is \(1.0,\); allowed: \(keep probability, batch size\)"),
        ({"480p": {1: (1.5, 4)}}, "the keep probability is 1.5; allowed: 0 to 1"),
        ({"480p": {1: (float("nan"), 4)}}, "the keep probability is nan; allowed: 0 to 1"),
        ({"480p": {1: ("all", 4)}}, "the keep probability is 'all'; allowed: 0 to 1"),
        ({"480p": {1: (0.5, None)}}, "the batch size is missing; allowed: none only where nothing is kept"),
        ({"480p": {1: (0.5, 0)}}, "the batch size is 0; allowed: whole numbers of 1 or more"),
        ({"480p": {1: (0.5, True)}}, "the batch size is True; allowed: whole numbers of 1 or more"),
        ({"480p": {1: (0.5, 2), "1": (0.5, 2)}}, "twice; allowed: once"),
    ],
)
def test_wrong_configs(config, message):
    with pytest.raises(ValueError, match=message):
        ResolutionBuckets(config)


def test_wrong_rows():
    buckets = ResolutionBuckets(CONFIG)
    with pytest.raises(ValueError, match=r"are \(2,\), \(2,\) and \(1,\); allowed: one number per row"):
        buckets.assign([1, 1], [4, 4], [4], always)
    with pytest.raises(ValueError, match="of a row is below 1; allowed: 1 or more"):
        buckets.assign([1, 0], [4, 4], [4, 4], always)
    with pytest.raises(ValueError, match="frame_interval is 0; allowed"):
        ResolutionBuckets(CONFIG, frame_interval=0)
    with pytest.raises(IndexError, match="allowed: 0 to 101"):
        buckets.size(102)
    assert buckets.assign([], [], [], always).tolist() == []


# ---------------------------------------------------------------------------------------------------- draws


def test_keep_draws_are_uniform_and_independent():
    rows = np.arange(100_000)
    drawn = [keep_draws(seed, epoch)(rows) for seed in (7, 8) for epoch in (0, 1)]
    for values in drawn:
        assert values.min() >= 0
        assert values.max() < 1
        counts = np.bincount((values * 50).astype(int), minlength=50)
        assert ((counts - 2000) ** 2 / 2000).sum() < 49 + 5 * 98**0.5
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.015
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.015


def test_draws_are_functions_of_their_key():
    rows = np.array([5, 99, 3])
    values = keep_draws(1, 2)(rows)
    assert keep_draws(1, 2)(rows[::-1]).tolist() == values[::-1].tolist()
    assert keep_draws(1, 3)(rows).tolist() != values.tolist()
    assert generator(1, 2, 3).random() == generator(1, 2, 3).random() != generator(1, 3, 2).random()
    assert keyed_bits(rows.astype(np.uint64), 1).tolist() != keyed_bits(rows.astype(np.uint64), 2).tolist()


@given(
    total=st.integers(1, 500), frames=st.integers(1, 60), stride=st.integers(1, 5), seed=st.integers(0, 99)
)
def test_clips_lie_inside_their_video(total, frames, stride, seed):
    if int(total * 0.8 // stride) == 0:
        with pytest.raises(ValueError, match="no frame is left"):
            clip_span(total, frames, stride=stride, skip_start=0.1, keep_until=0.9)
        return
    span = clip_span(total, frames, stride=stride, skip_start=0.1, keep_until=0.9)
    taken = span.draw(generator(seed))
    assert len(taken) == span.count <= frames
    assert taken[0] >= span.first_start
    assert taken[-1] < 0.9 * total
    assert (np.diff(taken) >= 1).all()
    assert (np.diff(taken) <= stride).all()


@given(
    total=st.integers(1, 300), frames=st.integers(1, 64), interval=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_evenly_spaced_frames_lie_inside_their_video(total, frames, interval, seed):
    if total < frames:
        return
    start = int(generator(seed).integers(0, latest_start(total, frames, interval) + 1))
    taken = evenly_spaced(total, frames, interval, start)
    assert len(taken) == frames
    assert taken[0] == start
    assert taken[-1] < total
    assert (np.diff(taken) >= 1).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: clip_span(0, 1),
        lambda: clip_span(10, 1, skip_start=0.5, keep_until=0.5),
        lambda: clip_span(10, 1, skip_start=-0.1),
        lambda: clip_span(10, 1, keep_until=float("nan")),
        lambda: clip_span(100, 9).frames(91),
        lambda: evenly_spaced(10, 4, 0, 0),
        lambda: evenly_spaced(10, 4, 2, 2),
        lambda: evenly_spaced(3, 4, 1, 0),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(ValueError, match="allowed"):
        call()


def test_every_resolution_has_its_name():
    assert all(name == entry.name for name, entry in RESOLUTIONS.items())
    assert [entry.pixels for entry in RESOLUTIONS.values()] == sorted(e.pixels for e in RESOLUTIONS.values())
