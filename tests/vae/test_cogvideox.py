"""The CogVideoX-style autoencoder."""

import pytest
import torch

from ea_vae import CogVideoXConfig, ExecutionPlan
from ea_vae.families.cogvideox.presets import PRESETS

RELEASED = CogVideoXConfig().to_dict()


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 7, 9])
@torch.no_grad()
def test_any_length_comes_back_after_padding(cogvideox, video, num_frames):
    clip = video[:, :, :num_frames]
    latents = cogvideox.encode(cogvideox.geometry.pad_frames(clip)).mode()
    assert latents.shape[2] == cogvideox.geometry.latent_frames(num_frames)
    assert cogvideox.decode(latents, num_frames=num_frames).shape == clip.shape


@torch.no_grad()
def test_two_or_three_frames_are_padded_instead_of_refused(cogvideox, video):
    latents = cogvideox.encode(video[:, :, :3]).mode()
    assert latents.shape[2] == 2
    assert cogvideox.decode(latents, num_frames=3).shape[2] == 3


@torch.no_grad()
def test_slices_are_part_of_the_function(cogvideox, video):
    latents = cogvideox.encode(video).mean
    assert torch.equal(cogvideox.encode_clip(video).mean, latents)
    assert torch.equal(cogvideox.decode_clip(latents), cogvideox.decode(latents))
    uncut = cogvideox.encode(video, plan=ExecutionPlan()).mean
    assert uncut.shape == latents.shape
    assert not torch.allclose(uncut, latents, atol=1e-3)


def test_every_parameter_learns(cogvideox, video):
    reconstruction, posterior = cogvideox(video, torch.Generator().manual_seed(0))
    assert reconstruction.shape == video.shape
    ((reconstruction - video).abs().mean() + 1e-6 * posterior.kl().mean()).backward()
    dead = [name for name, p in cogvideox.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_tiles_are_half_of_the_training_size_and_only_for_decoding():
    config = CogVideoXConfig(use_tiling=True)
    with torch.device("meta"):
        from ea_vae import CogVideoXVae

        plan = CogVideoXVae(config.edited(block_out_channels=(32,) * 4)).default_plan
    assert (plan.tile_pixels, plan.tile_latents) == ((240, 360), (30, 45))
    assert (plan.tile_encoder, plan.tile_decoder, plan.tile_corner) == (False, True, False)


def test_wrong_input_is_named(cogvideox, video):
    with pytest.raises(ValueError, match=r"video must have the shape \[B, 3, T, H, W\]"):
        cogvideox.encode(video[:, :2])
    with pytest.raises(ValueError, match="width must be a positive multiple of 8, got 20"):
        cogvideox.encode(video[..., :20])
    with pytest.raises(ValueError, match="encoder_slice_frames must be a multiple of 4, got 6"):
        cogvideox.encode(video, plan=ExecutionPlan(encoder_slice_frames=6))
    with pytest.raises(ValueError, match="decoder_slice_latents must be even, got 3"):
        cogvideox.decode(torch.zeros(1, 4, 4, 2, 2), plan=ExecutionPlan(decoder_slice_latents=3))
    with pytest.raises(ValueError, match="num_frames must be from 1 to 9, got 10"):
        cogvideox.decode(torch.zeros(1, 4, 3, 2, 2), num_frames=10)


@pytest.mark.parametrize("name", PRESETS)
def test_released_spelling_round_trip(name):
    assert CogVideoXConfig.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_slices_without_a_released_spelling_cannot_be_written():
    with pytest.raises(ValueError, match="no place for encoder_slice_frames other than 4 and 8"):
        CogVideoXConfig(encoder_slice_frames=12).to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_chanels": 4}, "unknown key 'latent_chanels'"),
        ({"use_quant_conv": True}, "use_quant_conv must be False, got True"),
        ({"norm_eps": 1e-5}, "norm_eps must be 1e-06, got 1e-05"),
        ({"temporal_compression_ratio": 3}, "temporal_compression_ratio must be a power of 2 up to 8, got 3"),
        ({"temporal_compression_ratio": 8}, "encoder_slice_frames must be a multiple of 8, got 4"),
        ({"up_block_types": ["CogVideoXUpBlock3D"]}, "up_block_types must hold 4 of CogVideoXUpBlock3D"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        CogVideoXConfig.from_dict({**RELEASED, **change})
