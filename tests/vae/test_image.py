"""The image autoencoder of V1 and Open-Sora."""

import pytest
import torch

from ea_vae import ExecutionPlan, ImageVaeConfig, latents_to_frames
from ea_vae.families.kl2d.presets import PRESETS

RELEASED = ImageVaeConfig().to_dict()


@torch.no_grad()
def test_every_frame_is_on_its_own(image_vae, video):
    posterior = image_vae.encode(video)
    assert posterior.mean.shape == (2, 4, 9, 2, 3)
    assert torch.allclose(posterior.mean[:, :, 3:4], image_vae.encode(video[:, :, 3:4]).mean, atol=1e-5)
    whole = ExecutionPlan()
    assert torch.allclose(posterior.mean, image_vae.encode(video, plan=whole).mean, atol=1e-5)
    decoded = image_vae.decode(posterior.mean, num_frames=7)
    assert decoded.shape == (2, 3, 7, 16, 24)
    assert torch.allclose(decoded, image_vae.decode(posterior.mean, plan=whole)[:, :, :7], atol=1e-5)
    frames = latents_to_frames(image_vae, posterior.mean * image_vae.config.scaling_factor, num_frames=7)
    assert torch.allclose(frames, (decoded.clamp(-1, 1) + 1) / 2, atol=1e-5)


def test_time_is_not_compressed(image_vae):
    assert (image_vae.geometry.time, image_vae.geometry.space) == (1, 8)
    assert image_vae.geometry.latent_frames(7) == image_vae.geometry.pixel_frames(7) == 7


@torch.no_grad()
def test_sizes_are_rounded_down(image_vae):
    """Open-Sora encodes 426 pixels to 53 latents."""
    latents = image_vae.encode(torch.zeros(1, 3, 1, 17, 30)).mean
    assert latents.shape == (1, 4, 1, *image_vae.geometry.latent_size(17, 30)) == (1, 4, 1, 2, 3)


@torch.no_grad()
def test_tiles_keep_the_shape(image_vae):
    plan = ExecutionPlan(tile_encoder=True, tile_decoder=True, tile_pixels=32, tile_latents=4)
    latents = image_vae.encode(torch.zeros(1, 3, 2, 40, 72), plan=plan).mean
    assert latents.shape == (1, 4, 2, 5, 9)
    assert image_vae.decode(latents, plan=plan).shape == (1, 3, 2, 40, 72)


def test_every_parameter_learns(image_vae, video):
    reconstruction, posterior = image_vae(video, torch.Generator().manual_seed(0))
    assert reconstruction.shape == video.shape
    ((reconstruction - video).abs().mean() + 1e-6 * posterior.kl().mean()).backward()
    dead = [name for name, p in image_vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # What is the same for every key moves no attention weight.
    assert [name for name in dead if not name.endswith("key.bias")] == []


def test_wrong_shapes_are_named(image_vae):
    with pytest.raises(
        ValueError, match=r"video must have the shape \[B, 3, T, H, W\], got \[1, 4, 1, 8, 8\]"
    ):
        image_vae.encode(torch.zeros(1, 4, 1, 8, 8))
    with pytest.raises(ValueError, match="height must be at least 8, got 7"):
        image_vae.encode(torch.zeros(1, 3, 1, 7, 8))
    with pytest.raises(ValueError, match=r"latents must have the shape \[B, 4, T, H, W\]"):
        image_vae.decode(torch.zeros(1, 16, 1, 2, 2))


@pytest.mark.parametrize("name", PRESETS)
def test_released_spelling_round_trip(name):
    assert ImageVaeConfig.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_keys_that_change_nothing_are_skipped():
    noise = {"_diffusers_version": "0.11", "sample_size": 256, "force_upcast": True, "shift_factor": None}
    assert ImageVaeConfig.from_dict(RELEASED | noise) == ImageVaeConfig()


def test_missing_keys_take_the_defaults_of_the_class_that_wrote_the_file():
    config = ImageVaeConfig.from_dict({**RELEASED, "scaling_factor": 0.2})
    assert config.scaling_factor == 0.2
    short = {
        name: value for name, value in RELEASED.items() if name not in ("layers_per_block", "_class_name")
    }
    assert ImageVaeConfig.from_dict(short).layers_per_block == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_chanels": 4}, "unknown key 'latent_chanels'; did you mean 'latent_channels'"),
        ({"shift_factor": 0.1}, "shift_factor must be None, got 0.1"),
        ({"use_quant_conv": False}, "use_quant_conv must be True, got False"),
        ({"norm_num_groups": 7}, "norm_num_groups .7. must divide block_out_channels"),
        (
            {"down_block_types": ["SpatialDownBlock3D"] * 4},
            "down_block_types must hold 4 of DownEncoderBlock2D",
        ),
        ({"latent_channels": 0}, "latent_channels must be a whole number of at least 1"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ImageVaeConfig.from_dict({**RELEASED, **change})
