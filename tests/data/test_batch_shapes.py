"""The shape of a batch and its assembly: options, ranks that agree, pixels, masks, and what is refused."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ea_data.geometry.aspect import ASPECTS, CROP_WEIGHTS
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.geometry.tokens import FrameGrid
from ea_data.masks import RELEASED_WEIGHTS
from ea_data.sampling import generator
from ea_data.training.collate import BatchCollator, ClipSample, fit_clip
from ea_data.training.order import BatchOrder
from ea_data.training.sampler import BucketSampler, SampleKey
from ea_data.training.shapes import BatchShape, ShapeOptions, aspect_bucket_ids, batch_shape, repeat_videos

RELEASED = ShapeOptions(
    video_sample_size=256,
    image_sample_size=1024,
    token_sample_size=512,
    video_sample_n_frames=49,
    random_hw_adapt=True,
    training_with_video_token_length=True,
)


def shape_of(options, kind="video", sizes=((720, 1280),), frames=300, seed=0, step=0):
    return batch_shape(options, kind, sizes, frames, rng=generator(seed), shared=generator(step))


def shapes_of(options, count=400, **arguments):
    return [shape_of(options, seed=seed, **arguments) for seed in range(count)]


def key(row=0, epoch=0, batch=0, lead=(0, 0)):
    return SampleKey(row, 0, epoch, batch, lead)


def sample(row=0, kind="video", size=(5, 40, 64), **changes):
    frames = np.random.default_rng(row).integers(0, 256, (*size, 3), dtype=np.uint8)
    return ClipSample(**{"key": key(row), "kind": kind, "frames": frames, "text": f"clip {row}", **changes})


# ---------------------------------------------------------------------------------------------------- shapes


def test_without_options_the_size_is_that_of_the_nearest_bucket():
    assert shape_of(ShapeOptions()) == BatchShape(17, 384, 672)
    assert shape_of(ShapeOptions(), sizes=[(1280, 720), (720, 1280)]) == BatchShape(17, 672, 384)
    assert shape_of(ShapeOptions(enable_bucket=False, video_sample_size=500)) == BatchShape(17, 496, 496)
    assert shape_of(ShapeOptions(image_sample_size=1024), "image", frames=1) == BatchShape(1, 768, 1344)


@pytest.mark.parametrize(
    ("grid", "frames", "expected"),
    [
        (FrameGrid(4, True), 16, 13),
        (FrameGrid(4, True), 3, 1),
        (FrameGrid(8, False), 15, 8),
        (FrameGrid(8, False), 7, 1),
    ],
)
def test_short_clips_are_cut_to_lengths_of_the_autoencoder(grid, frames, expected):
    assert shape_of(ShapeOptions(grid=grid), frames=frames).frames == expected


def test_sides_are_drawn_among_those_that_the_file_is_large_enough_for():
    # (720 + 1280) / 2 x 1.25 = 1250: all sides; a file of 240 x 426 allows 256 and 384.
    sides = {256, 384, 512, 640, 768, 896, 1024}
    expected = {ASPECTS.size(int(ASPECTS.nearest(720, 1280)), side) for side in sides}
    assert {(shape.height, shape.width) for shape in shapes_of(RELEASED)} == expected
    small = {(shape.height, shape.width) for shape in shapes_of(RELEASED, sizes=[(720, 1280), (240, 426)])}
    assert small == {ASPECTS.size(int(ASPECTS.nearest(720, 1280)), side) for side in (256, 384)}
    tiny = {shape.height for shape in shapes_of(RELEASED, sizes=[(64, 64)])}
    assert tiny == sides


@given(height=st.integers(100, 2000), width=st.integers(100, 2000), seed=st.integers(0, 10_000))
def test_clips_stay_near_the_token_budget(height, width, seed):
    shape = shape_of(RELEASED, sizes=[(height, width)], seed=seed)
    pixels = shape.frames * shape.height * shape.width
    # A bucket has at most as many pixels as the square of its side, up to rounding of its aspect.
    assert pixels <= 1.03 * RELEASED.budget
    assert pixels * shape.repeat <= 1.03 * RELEASED.budget
    assert shape.repeat in (1, 2, 4)


def test_resolutions_are_divided_as_often_as_released():
    options = ShapeOptions(image_sample_size=1024, video_sample_size=256, random_hw_adapt=True)
    shapes = shapes_of(options, 2000, kind="image", sizes=[(500, 500)], frames=1)
    drawn = Counter(shape.height for shape in shapes)
    assert set(drawn) == {
        1024,
        816,
        672,
        512,
        256,
    }  # 1024 divided by 1, 1.25, 1.5, 2 and 4, in multiples of 16
    assert drawn[1024] / 2000 == pytest.approx(0.75, abs=0.04)
    videos = shapes_of(ShapeOptions(video_sample_size=768, random_hw_adapt=True), sizes=[(500, 500)])
    assert {shape.height for shape in videos} == {768, 608, 512}


def test_random_aspects_come_as_often_as_released():
    options = ShapeOptions(random_ratio_crop=True)
    drawn = Counter((shape.height, shape.width) for shape in shapes_of(options, 4000))
    sizes = {name: ASPECTS.size(ASPECTS.names.index(name)) for name in CROP_WEIGHTS}
    assert set(drawn) == set(sizes.values())
    total = sum(CROP_WEIGHTS.values())
    for name, size in sizes.items():
        share = CROP_WEIGHTS[name] / total
        assert drawn[size] / 4000 == pytest.approx(share, abs=5 * (share / 4000) ** 0.5)


def test_one_clip_in_ten_is_cut_short():
    options = ShapeOptions(video_sample_n_frames=49, random_frame_crop=True)
    drawn = Counter(shape.frames for shape in shapes_of(options, 2000))
    assert set(drawn) == set(range(5, 50, 4))
    assert drawn[49] / 2000 == pytest.approx(0.9, abs=0.03)
    assert {shape.frames for shape in shapes_of(options, 50, frames=3)} == {1}


def test_pictures_have_one_frame_whatever_is_set():
    options = ShapeOptions(random_frame_crop=True, keep_all_node_same_token_length=True)
    assert {shape.frames for shape in shapes_of(options, 20, kind="image", frames=1)} == {1}


@pytest.mark.parametrize("world", range(1, 9))
def test_all_ranks_have_the_same_token_budget_when_asked(world):
    options = ShapeOptions(video_sample_n_frames=49, keep_all_node_same_token_length=True)
    budgets = {49 * side**2 for side in (256, 384, 512)}
    rng = np.random.default_rng(0)
    sizes = rng.integers(300, 1500, (60, 2))
    buckets = aspect_bucket_ids(np.ones(60, bool), sizes[:, 0], sizes[:, 1])
    order = BatchOrder(buckets, 2, seed=4)
    ranks = [iter(BucketSampler(order, rank=rank, world_size=world)) for rank in range(world)]
    collate = BatchCollator(options, seed=4)
    found = set()
    for _ in range(12):
        shapes = []
        for rank in ranks:
            keys = next(rank)
            empty = np.zeros((60, *sizes[keys[0].row], 3), np.uint8)
            shapes.append(collate.shape([ClipSample(each, "video", empty) for each in keys]))
        # One budget explains all ranks: each has the longest clips that fit it.
        fitting = {
            budget
            for budget in budgets
            if all(
                shape.frames == min(49, options.grid.fit(budget / (shape.height * shape.width)))
                for shape in shapes
            )
        }
        assert fitting
        found |= fitting
    assert found == budgets


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video_sample_size": 8}, "video_sample_size is 8; allowed: 16"),
        ({"image_sample_size": 0}, "image_sample_size is 0; allowed: 16"),
        ({"token_sample_size": -1}, "token_sample_size is -1; allowed: 16"),
        ({"video_sample_n_frames": 0}, "video_sample_n_frames is 0; allowed: 1"),
        (
            {"random_ratio_crop": True, "enable_bucket": False},
            "random_ratio_crop is set without enable_bucket",
        ),
        ({"token_rule": "readme"}, "token_rule is 'readme'; allowed: documented, original"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        ShapeOptions(**options)


def test_wrong_batches():
    with pytest.raises(ValueError, match="0 files and 300 frames; allowed: 1 or more"):
        shape_of(ShapeOptions(), sizes=[])
    with pytest.raises(ValueError, match="1 files and 0 frames; allowed: 1 or more"):
        shape_of(ShapeOptions(), frames=0)


def test_videos_come_several_times_and_pictures_once():
    videos = np.array([True, False, True, False, False])
    assert repeat_videos(videos, 2).tolist() == [1, 3, 4, 0, 2, 0, 2]
    assert sorted(repeat_videos(videos).tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="video_repeat is 0; allowed: 1 or more"):
        repeat_videos(videos, 0)


# --------------------------------------------------------------------------------------------------- batches


def test_a_clip_is_scaled_and_cut_around_its_centre():
    frames = np.zeros((2, 40, 80, 3), np.uint8)
    frames[:, :, 40:] = 255
    frames[..., 1] = 100
    clip = fit_clip(frames, BatchShape(2, 20, 20))
    assert clip.shape == (2, 3, 20, 20)
    assert clip.dtype == torch.float32
    assert (clip[:, 0, :, :9].max(), clip[:, 0, :, 11:].min()) == (-1, 1)
    assert torch.allclose(clip[:, 1], torch.tensor(100 / 127.5 - 1), atol=1e-6)


def test_a_clip_of_the_right_size_is_not_touched():
    frames = sample(size=(3, 16, 32)).frames
    frames.flags.writeable = False
    clip = fit_clip(frames, BatchShape(2, 16, 32))
    assert torch.equal(
        ((clip + 1) * 127.5).round().byte(), torch.from_numpy(frames[:2].copy()).permute(0, 3, 1, 2)
    )


def test_a_batch_holds_its_samples():
    samples = [sample(3, size=(9, 40, 64)), sample(8, size=(6, 64, 100))]
    batch = BatchCollator(ShapeOptions(video_sample_size=64))(samples)
    assert batch.shape == BatchShape(5, 48, 80)
    assert batch.pixels_BTCHW.shape == (2, 5, 3, 48, 80)
    assert torch.equal(batch.pixels_BTCHW[1], fit_clip(samples[1].frames, batch.shape))
    assert batch.texts == ("clip 3", "clip 8")
    assert [key.row for key in batch.keys] == [3, 8]
    assert batch.kind == "video"
    assert batch.masks_BTHW is batch.control_BTCHW is None
    assert batch.mask_kinds == ()


def test_buckets_of_resolution_and_frames_are_shapes():
    buckets = ResolutionBuckets({"144p": {16: (1.0, 2)}, "240p": {4: (1.0, 2)}})
    assigned = buckets.assign([20, 20], [320, 180], [180, 320], lambda rows: rows * 0.0).tolist()
    collate = BatchCollator(buckets, masks=True)
    portrait, landscape = (
        collate([sample(row, key=key(row)._replace(bucket=bucket), size=(20, 60, 90))])
        for row, bucket in enumerate(assigned)
    )
    assert [shape.pixels_BTCHW.shape for shape in (portrait, landscape)] == [
        (1, 16, 3, 256, 144),
        (1, 16, 3, 144, 256),
    ]
    assert portrait.masks_BTHW.shape == (1, 16, 256, 144)


def test_control_frames_are_cut_like_the_clip():
    samples = [sample(row, control=sample(row + 10).frames) for row in (1, 2)]
    batch = BatchCollator(ShapeOptions(video_sample_size=64))(samples)
    assert torch.equal(batch.control_BTCHW[0], fit_clip(samples[0].control, batch.shape))


def test_masks_belong_to_their_samples():
    collate = BatchCollator(ShapeOptions(video_sample_size=64), seed=5, masks=True)
    both, alone = collate([sample(1), sample(2)]), collate([sample(2)])
    assert both.masks_BTHW.shape == (2, 5, *both.pixels_BTCHW.shape[3:])
    assert both.masks_BTHW.dtype == torch.bool
    assert set(both.mask_kinds) <= set(RELEASED_WEIGHTS)
    assert both.mask_kinds[1] == alone.mask_kinds[0]
    assert torch.equal(both.masks_BTHW[1], alone.masks_BTHW[0])
    drawn = {collate([sample(2, key=key(2, epoch))]).mask_kinds for epoch in range(30)}
    assert len(drawn) > 3
    only = BatchCollator(ShapeOptions(video_sample_size=64), masks=True, mask_weights={"last": 1})
    assert only([sample(1)]).mask_kinds == ("last",)


def test_shapes_depend_on_seed_epoch_and_batch_alone():
    large = np.zeros((60, 900, 900, 3), np.uint8)

    def shape(seed=0, row=0, **place):
        return BatchCollator(RELEASED, seed=seed).shape([ClipSample(key(row, **place), "video", large)])

    assert shape(row=1, epoch=2, batch=3) == shape(row=9, epoch=2, batch=3)
    first = [shape(batch=batch) for batch in range(20)]
    assert [shape(batch=batch, seed=1) for batch in range(20)] != first
    assert [shape(batch=batch, epoch=1) for batch in range(20)] != first
    assert len(set(first)) > 3


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "a batch has no samples; allowed: 1 or more"),
        ([sample(1), sample(2, "image", (1, 40, 64))], "holds videos and images; allowed: one kind"),
        ([sample(1), sample(2, key=key(2, batch=1))], "samples of two batches are in one; allowed"),
        (
            [sample(1), sample(2, control=sample(3).frames)],
            "only some samples of a batch have control frames",
        ),
        ([sample(1, control=sample(3, size=(2, 40, 64)).frames)], "a clip has 2 frames; allowed: 5 or more"),
        ([sample(1, frames=np.zeros((5, 40, 64), np.uint8))], r"frames are uint8 \(5, 40, 64\); allowed"),
        ([sample(1, frames=np.zeros((5, 40), np.uint8))], r"frames are uint8 \(5, 40\); allowed"),
        ([sample(1, frames=np.zeros((5, 40, 64, 3)))], "frames are float64 .*allowed: uint8"),
        ([sample(1, frames=np.zeros((0, 40, 64, 3), np.uint8))], "allowed"),
    ],
)
def test_wrong_samples(samples, message):
    with pytest.raises(ValueError, match=message):
        BatchCollator(ShapeOptions(video_sample_size=64))(samples)
