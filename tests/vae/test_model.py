"""The network: causality, carried state, gradients, number types, lengths, wrong shapes."""

import pytest
import torch

from ea_vae import TemporalCache

ROUNDING = 2e-5


@pytest.mark.parametrize("mid_attention", ["none", "spatial"])
@torch.no_grad()
def test_slices_equal_the_whole_clip(config, make, video, mid_attention):
    vae = make(config.edited(mid_attention=mid_attention, layers_per_block=2))
    cached, whole = vae.encode(video), vae.encode_clip(video)
    assert torch.allclose(cached.mean, whole.mean, atol=ROUNDING)
    assert torch.allclose(vae.decode(whole.mean), vae.decode_clip(whole.mean), atol=ROUNDING)


@torch.no_grad()
def test_the_future_does_not_change_the_past(vae, video):
    changed = video.clone()
    changed[:, :, 5:] = 0.0
    assert torch.equal(vae.encode_clip(video).mean[:, :, :2], vae.encode_clip(changed).mean[:, :, :2])
    latents = vae.encode_clip(video).mean
    shorter = vae.decode_clip(latents[:, :, :2])
    assert torch.allclose(vae.decode_clip(latents)[:, :, :5], shorter, atol=ROUNDING)


@torch.no_grad()
def test_the_cache_is_a_value(vae, video):
    """A cache can be kept and used twice; the model remembers nothing."""
    _, cache = vae.encode_slice(video[:, :, :1], TemporalCache())
    first, _ = vae.encode_slice(video[:, :, 1:5], cache)
    vae.encode_slice(video[:, :, 5:], cache)
    again, _ = vae.encode_slice(video[:, :, 1:5], cache)
    assert torch.equal(first, again)
    assert not list(vae.buffers())


def test_slices_are_differentiable_and_have_the_gradients_of_the_whole(config, make, video):
    gradients = []
    for run in (lambda vae: vae.encode(video).mean, lambda vae: vae.encode_clip(video).mean):
        vae = make(config)
        vae.decode(run(vae)).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in vae.parameters()])
    for sliced, whole in zip(*gradients, strict=True):
        assert torch.allclose(sliced, whole, atol=1e-4, rtol=1e-3)


def test_every_parameter_learns(vae, video):
    reconstruction, posterior = vae(video, torch.Generator().manual_seed(0))
    assert reconstruction.shape == video.shape
    ((reconstruction - video).abs().mean() + 1e-6 * posterior.kl().mean()).backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_mixed_precision_and_memory_formats(config, make, video, memory_format):
    vae = make(config.edited(mid_attention="spatial", layers_per_block=2))
    expected = vae.decode_clip(vae.encode_clip(video).mean).detach()
    vae = vae.to(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        actual = vae.decode_clip(vae.encode_clip(video.to(memory_format=memory_format)).mean)
    assert actual.dtype == torch.bfloat16
    assert actual.is_contiguous(memory_format=memory_format)
    assert (actual - expected).abs().max() < 0.1 * expected.abs().max()
    actual.float().mean().backward()


@torch.no_grad()
def test_linear_doubling_skips_the_first_frame(config, make, video):
    """Norms over the slice and linear doubling: the cut is part of the function, the lengths stay."""
    vae = make(config.edited(per_frame_norm=False))
    latents = vae.encode(video).mean
    assert vae.decode(latents).shape == vae.decode_clip(latents).shape == video.shape
    assert not torch.allclose(vae.encode_clip(video).mean, latents, atol=1e-3)


@pytest.mark.parametrize("num_frames", [1, 2, 4, 5, 6, 8])
@torch.no_grad()
def test_any_length_comes_back(vae, video, num_frames):
    clip = video[:, :, :num_frames]
    latents = vae.encode(clip).mode()
    assert latents.shape == vae.geometry.latent_shape(
        batch=2, channels=4, num_frames=num_frames, height=16, width=24
    )
    assert vae.decode(latents, num_frames=num_frames).shape == clip.shape


def test_posterior_draws_from_the_generator(vae, video):
    posterior = vae.encode(video)
    first = posterior.sample(torch.Generator().manual_seed(3))
    assert torch.equal(first, posterior.sample(torch.Generator().manual_seed(3)))
    assert not torch.equal(first, posterior.sample(torch.Generator().manual_seed(4)))
    assert torch.equal(posterior.mode(), posterior.mean)
    assert posterior.kl().shape == (2,)
    assert (posterior.kl() > 0).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 9, 16), r"video must have the shape \[B, 3, T, H, W\]"),
        ((1, 4, 9, 16, 16), r"video must have the shape \[B, 3, T, H, W\]"),
        ((1, 3, 0, 16, 16), "video must have the shape"),
        ((1, 3, 9, 12, 16), "height must be a positive multiple of 8, got 12"),
        ((1, 3, 9, 16, 7), "width must be a positive multiple of 8, got 7"),
    ],
)
def test_wrong_videos_are_named(vae, shape, message):
    with pytest.raises(ValueError, match=message):
        vae.encode(torch.zeros(shape))


def test_wrong_latents_are_named(vae):
    with pytest.raises(ValueError, match=r"latents must have the shape \[B, 4, T, H, W\]"):
        vae.decode(torch.zeros(1, 16, 2, 2, 2))
    with pytest.raises(ValueError, match="num_frames must be from 1 to 5, got 6"):
        vae.decode(torch.zeros(1, 4, 2, 2, 2), num_frames=6)
