"""Frame and latent arithmetic."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ea_vae import LatentGeometry, crop_video

MAGVIT = LatentGeometry()
geometries = st.builds(LatentGeometry, time=st.sampled_from([1, 2, 4, 8]), space=st.sampled_from([1, 8, 16]))


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
