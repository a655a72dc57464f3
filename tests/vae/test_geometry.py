"""Frame and latent arithmetic."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ea_vae import LatentGeometry, crop_video

MAGVIT = LatentGeometry()
geometries = st.builds(LatentGeometry, time=st.sampled_from([1, 2, 4, 8]), space=st.sampled_from([1, 8, 16]))
V2, V3, V4 = (LatentGeometry(rule=rule) for rule in ("slices", "pairs", "groups"))
IMAGE = LatentGeometry(time=1, any_size=True)


@pytest.mark.parametrize(
    ("frames", "latents"), [(1, 1), (2, 2), (4, 2), (5, 2), (6, 3), (9, 3), (17, 5), (49, 13)]
)
def test_latent_frames(frames, latents):
    assert MAGVIT.latent_frames(frames) == latents


@given(geometries, st.integers(1, 500))
def test_rounding_brackets_a_length(geometry, frames):
    low, high = geometry.round_frames_down(frames), geometry.round_frames_up(frames)
    assert low <= frames <= high
    assert high - low in (0, geometry.time)
    assert geometry.is_whole(frames) == (low == high)
    assert geometry.pixel_frames(geometry.latent_frames(frames)) == high


@pytest.mark.parametrize(
    ("geometry", "whole"),
    [
        (MAGVIT, [1, 5, 9, 13, 17, 21, 25]),
        (V2, [1, 5, 9, 10, 14, 18, 19, 23, 27]),
        (V3, [1, 8, 9, 16, 17, 24, 25]),
        (V4, [1, 8, 12, 16, 20, 24]),
        (LatentGeometry(rule="pairs", time=8), [1, 16, 17]),
        (IMAGE, list(range(1, 28))),
    ],
)
def test_whole_lengths_of_every_rule(geometry, whole):
    assert [n for n in range(1, 28) if geometry.is_whole(n)] == whole


@pytest.mark.parametrize(
    ("geometry", "frames", "latents"),
    [(V2, 18, 6), (V2, 21, 8), (V3, 17, 5), (V3, 12, 4), (V4, 24, 6), (V4, 17, 5), (V4, 2, 2), (IMAGE, 7, 7)],
)
def test_latent_frames_of_every_rule(geometry, frames, latents):
    assert geometry.latent_frames(frames) == latents


@given(st.sampled_from([V2, V3, V4, IMAGE]), st.integers(1, 200))
def test_rounding_gives_the_nearest_whole_lengths(geometry, frames):
    low, high = geometry.round_frames_down(frames), geometry.round_frames_up(frames)
    assert low <= frames <= high
    assert geometry.is_whole(low)
    assert geometry.is_whole(high)
    assert not any(map(geometry.is_whole, range(low + 1, high)))
    assert geometry.pixel_frames(geometry.latent_frames(frames)) == high


def test_slices_that_do_not_fit_are_named():
    uneven = LatentGeometry(rule="slices", slice_frames=9, slice_latents=2)
    with pytest.raises(ValueError, match="slices of 9 frames and of 2 latent frames do not fit"):
        uneven.latent_frames(100)
    assert V2.cut(slice_frames=5, slice_latents=2).latent_frames(10) == 4


def test_bad_geometries_are_named():
    with pytest.raises(ValueError, match="rule must be one of causal, slices, pairs, groups, got 'odd'"):
        LatentGeometry(rule="odd")
    with pytest.raises(ValueError, match="slice_frames must be at least 1, got 0"):
        LatentGeometry(slice_frames=0)


def test_image_autoencoders_take_any_size():
    assert IMAGE.latent_size(240, 426) == (30, 53)
    with pytest.raises(ValueError, match="width must be at least 8, got 7"):
        IMAGE.latent_size(8, 7)


@given(geometries, st.integers(1, 40), st.integers(1, 40))
def test_sizes_round_up_to_what_can_be_encoded(geometry, height, width):
    new_height, new_width = geometry.round_size_up(height, width)
    assert 0 <= new_height - height < geometry.space
    assert geometry.latent_size(new_height, new_width) == (
        new_height // geometry.space,
        new_width // geometry.space,
    )


def test_latent_shape():
    assert MAGVIT.latent_shape(batch=2, channels=16, num_frames=17, height=64, width=128) == (2, 16, 5, 8, 16)


@pytest.mark.parametrize(
    ("height", "width", "name"), [(12, 16, "height"), (16, 4, "width"), (0, 8, "height")]
)
def test_indivisible_sizes_are_named(height, width, name):
    with pytest.raises(ValueError, match=f"{name} must be a positive multiple of 8"):
        MAGVIT.latent_size(height, width)


def test_empty_lengths_are_refused():
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        MAGVIT.latent_frames(0)
    with pytest.raises(ValueError, match="num_latent_frames must be at least 1"):
        MAGVIT.pixel_frames(0)


def test_padding_repeats_the_edge_and_cropping_undoes_it():
    video = torch.randn(1, 3, 7, 10, 15)
    padded = MAGVIT.pad_size(MAGVIT.pad_frames(video))
    assert padded.shape == (1, 3, 9, 16, 16)
    assert torch.equal(padded[:, :, 7], padded[:, :, 6])
    assert torch.equal(padded[..., 15, :], padded[..., 9, :])
    assert torch.equal(crop_video(padded, num_frames=7, height=10, width=15), video)


def test_nothing_is_copied_when_nothing_is_missing():
    video = torch.zeros(1, 3, 5, 8, 8)
    assert MAGVIT.pad_size(MAGVIT.pad_frames(video)) is video


@pytest.mark.parametrize(
    ("geometry", "frames", "shared"),
    [
        (LatentGeometry(), 17, [1, 5, 9, 13]),
        (LatentGeometry(time=1), 5, [1, 2, 3, 4]),
        (LatentGeometry(rule="slices"), 27, [9, 18]),
        (LatentGeometry(rule="slices"), 23, [5, 14]),
        (LatentGeometry(rule="pairs"), 24, [8, 16]),
        (LatentGeometry(rule="pairs"), 17, [8, 16]),
        (LatentGeometry(rule="groups"), 16, [8, 12]),
        (LatentGeometry(), 16, []),
    ],
)
def test_tails_that_another_clip_can_begin_with(geometry, frames, shared):
    assert [tail for tail in range(frames + 2) if geometry.shares_tail(frames, tail)] == shared
