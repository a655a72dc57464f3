"""Decoding slice by slice gives the frames of decoding in one go, to the bit."""

from dataclasses import replace

import pytest
import torch

from ea_vae import latents_to_frames, stream_frames

MAGVIT = ["v2", "v3", "v4", "v5.1"]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def autoencoder(generation, image_vae, cogvideox):
    """Any family by name, with its latents of some frames."""
    others = {"image": image_vae, "cogvideox": cogvideox}

    def build(name, count, **changes):
        vae = others[name] if name in others else generation(name, **changes)
        shape = (1, vae.config.latent_channels, count, 3, 5)
        return vae, torch.randn(shape, generator=torch.Generator().manual_seed(4))

    return build


def counted(vae, module="decoder"):
    """Lengths of what goes through the decoder, as it happens."""
    lengths = []
    getattr(vae, module).register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape))
    return lengths


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("name", [*MAGVIT, "image", "cogvideox"])
def test_slices_put_together_are_the_clip(autoencoder, name, count):
    vae, latents = autoencoder(name, count)
    whole = vae.decode(latents)
    slices = list(vae.stream_decode(latents))
    assert torch.equal(torch.cat(slices, dim=2), whole)
    assert count < 7 or len(slices) > 1
    shown = list(stream_frames(vae, latents))
    assert torch.equal(torch.cat(shown, dim=2), latents_to_frames(vae, latents))
    assert len(shown) == (len(slices) if vae.smoothed_slice_frames is None else 1)


def test_a_slice_is_computed_when_it_is_asked_for(autoencoder):
    vae, latents = autoencoder("v5.1", 7)
    passes = counted(vae)
    slices = vae.stream_decode(latents)
    assert not passes
    assert next(slices).shape[2] == 1
    assert len(passes) == 1
    assert sum(part.shape[2] for part in slices) == 24


@pytest.mark.parametrize("name", ["v4", "v5.1", "image"])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 7])
def test_slices_after_the_last_frame_that_is_kept_are_not_computed(autoencoder, name, num_frames):
    vae, latents = autoencoder(name, 7)
    passes = counted(vae)
    whole = vae.decode(latents)
    all_passes, _ = len(passes), passes.clear()
    kept = list(vae.stream_decode(latents, num_frames=num_frames))
    assert torch.equal(torch.cat(kept, dim=2), whole[:, :, :num_frames])
    assert all(part.shape[2] for part in kept)
    assert len(passes) == len(kept)
    assert num_frames > 2 or len(kept) < all_passes


def test_tiles_and_batches_give_all_frames_at_once(autoencoder):
    vae, latents = autoencoder("v5.1", 4)
    tiles = replace(vae.default_plan, tile_decoder=True, tile_pixels=8, tile_latents=2, tile_overlap=0.0)
    small = latents[..., :2, :2]
    assert len(list(vae.stream_decode(small, plan=tiles))) > 1, "one tile is no reason to wait"
    (tiled,) = vae.stream_decode(latents, plan=tiles)
    assert torch.equal(tiled, vae.decode(latents, plan=tiles))
    both = torch.cat((latents, latents.flip(-1)))
    (batched,) = vae.stream_decode(both, plan=vae.default_plan.edited(batch_size=1))
    assert torch.equal(batched, torch.cat([vae.decode(one) for one in both.split(1)]))


@pytest.mark.parametrize("name", ["v3", "v5.1"])
def test_mistakes_are_told_before_a_slice_is_asked_for(autoencoder, name):
    vae, latents = autoencoder(name, 5)
    for stream in (vae.stream_decode, lambda *given, **kept: stream_frames(vae, *given, **kept)):
        with pytest.raises(ValueError, match=r"latents must have the shape \[B, 4, T, H, W\], got \[4, 5"):
            stream(latents[0])
        with pytest.raises(ValueError, match=r"latents must have the shape .*, got \[1, 4, 0, 3, 5\]"):
            stream(latents[:, :, :0])
        with pytest.raises(ValueError, match="num_frames must be from 1 to 17, got 99"):
            stream(latents, num_frames=99)


def test_slices_carry_gradients(autoencoder):
    vae, latents = autoencoder("v5.1", 5)
    with torch.enable_grad():
        _, *others = vae.stream_decode(latents.requires_grad_())
        others[0].sum().backward()
    assert latents.grad[:, :, 1].abs().sum() > 0
    assert not latents.grad[:, :, -1].any(), "a frame that comes later"
