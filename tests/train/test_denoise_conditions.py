"""What the network is given in training: exact channel layouts, and how often something is left out."""

import dataclasses

import pytest
import torch
from denoise_models import MemoryBatches

from ea_dit.pipelines.channels import resize_to_latents
from ea_train.model import ModelConfig, load_networks
from ea_train.tasks.base import Place
from ea_train.tasks.denoise_conditions import ConditionConfig
from ea_train.tasks.denoise_live import EncodingConfig, LiveClips

ALWAYS = ConditionConfig(
    inpaint_zeroed=0.0, control_dropout=0.0, reference_dropout=0.0, picture_dropout=0.0, null_text=0.0
)
NEVER = ConditionConfig(
    inpaint_zeroed=1.0, control_dropout=1.0, reference_dropout=1.0, picture_dropout=1.0, null_text=1.0
)


@pytest.fixture(scope="module")
def networks(tiny_model):
    """Loads the networks of a family once; nothing here trains them."""
    loaded = {}

    def get(family):
        if family not in loaded:
            loaded[family] = load_networks(ModelConfig(path=str(tiny_model(family))), torch.device("cpu"))
        return loaded[family]

    return get


def source_of(parts, conditions=ALWAYS, **data):
    return LiveClips(parts, MemoryBatches(parts.traits.variant, **data), conditions)


def sample_of(source, seed=0, **changes):
    batch = {**source.batch(0, Place.alone(0), 2), **changes}
    return batch, source.prepare(batch, torch.Generator().manual_seed(seed))


def encoded_mode(parts, video_BTCHW):
    with torch.no_grad():
        mode = parts.vae.encode(video_BTCHW.transpose(1, 2)).mode()
    return mode * parts.vae.config.scaling_factor


@pytest.fixture
def certain(monkeypatch):
    """Posteriors without chance: a sample is the mode."""
    from ea_vae.latents import Posterior

    monkeypatch.setattr(Posterior, "sample", lambda self, generator=None: self.mean)


def test_the_mask_channel_is_scaled_and_kept_pixels_follow(networks, certain):
    parts = networks("v5.1-7b-inp")
    parts.transformer.config = dataclasses.replace(parts.transformer.config, add_noise_in_inpaint_model=False)
    quiet = dataclasses.replace(parts)  # traits are read anew
    batch, sample = sample_of(source_of(quiet))
    channels = sample.conditioning.inpaint_latents
    assert channels.shape == (2, 17, 2, 4, 4)
    masks = batch["masks"][:, None]
    kept = resize_to_latents((~masks).float(), (2, 4, 4)) * parts.vae.config.scaling_factor
    torch.testing.assert_close(channels[:, :1], kept)
    assert float(channels[0, 0, 0].min()) == pytest.approx(parts.vae.config.scaling_factor)
    pixels = batch["pixels"].masked_fill(batch["masks"][:, :, None], -1.0)
    torch.testing.assert_close(channels[:, 1:], encoded_mode(parts, pixels), rtol=1e-4, atol=1e-5)
    # Of the second clip nothing is kept: its channels are zero where the share says so.
    assert bool(channels[1].any())
    _, zeroed = sample_of(source_of(quiet, NEVER))
    assert not bool(zeroed.conditioning.inpaint_latents[1].any())
    assert bool(zeroed.conditioning.inpaint_latents[0].any())


def test_kept_pixels_get_a_little_noise(networks, certain):
    parts = networks("v5.1-12b-inp")
    assert parts.traits.inpaint.noisy_pixels
    first, other = (sample_of(source_of(parts), seed)[1].conditioning.inpaint_latents for seed in (0, 1))
    again = sample_of(source_of(parts), 0)[1].conditioning.inpaint_latents
    assert torch.equal(first, again)
    assert not torch.equal(first[0, 1:], other[0, 1:])
    # Pixels that are to be made stay at -1 without noise.
    torch.testing.assert_close(first[1], other[1])


def test_v3_and_v4_encode_the_mask_like_a_picture(networks, certain):
    parts = networks("v4-inp")
    batch, sample = sample_of(source_of(parts))
    channels = sample.conditioning.inpaint_latents
    assert channels.shape[1] == 8
    pictures = batch["masks"][:, :, None].expand(-1, -1, 3, -1, -1).float()
    latents = channels.shape[2]
    expected = encoded_mode(parts, pictures[:, : parts.vae.geometry.pixel_frames(latents)])
    torch.testing.assert_close(channels[:, :4], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["v3-inp", "v4-inp"])
def test_clip_sees_the_reference_or_a_mask(family, networks):
    parts = networks(family)
    batch, sample = sample_of(source_of(parts))
    given = sample.conditioning
    frames = torch.stack([batch["pixels"][0, 0], batch["pixels"][1, 1]])
    encoded = parts.image_encoder.encode((frames + 1) / 2)
    states = encoded.pooled_BE if parts.traits.image_states == "pooled" else encoded.patches_BSP
    torch.testing.assert_close(given.clip_states, states)
    assert given.clip_mask.shape == (2, parts.traits.image_tokens)
    assert bool((given.clip_mask == 1).all())
    hidden = sample_of(source_of(parts, NEVER))[1].conditioning
    assert bool((hidden.clip_mask == 0).all())


def test_control_then_reference(networks, certain):
    parts = networks("v5.1-7b-control")
    batch, sample = sample_of(source_of(parts))
    control, reference = sample.conditioning.control_latents.split(16, dim=1)
    torch.testing.assert_close(control, encoded_mode(parts, batch["control"]), rtol=1e-4, atol=1e-5)
    frames = torch.stack([batch["pixels"][0, :1], batch["pixels"][1, 1:2]])
    torch.testing.assert_close(reference[:, :, :1], encoded_mode(parts, frames), rtol=1e-4, atol=1e-5)
    assert not bool(reference[:, :, 1:].any())
    assert not bool(sample_of(source_of(parts, NEVER))[1].conditioning.control_latents.any())


def test_each_clip_loses_its_control_alone(networks):
    parts = networks("v5-7b-control")
    source = source_of(parts, ConditionConfig())
    batch = source.batch(0, Place.alone(0), 2)
    used = []
    for seed in range(40):
        control = source.prepare(batch, torch.Generator().manual_seed(seed)).conditioning.control_latents
        assert control.shape[1] == 16  # no reference
        used.append(control.flatten(1).any(dim=1))
    share = torch.stack(used).float()
    assert 0.65 < float(share.mean()) < 0.95
    assert bool((share[:, 0] != share[:, 1]).any())


def test_cameras_are_resized_rays(networks):
    parts = networks("v5.1-12b-camera")
    batch, sample = sample_of(source_of(parts))
    rays = sample.conditioning.control_latents[:, :6]
    expected = 6 * resize_to_latents(batch["rays"].transpose(1, 2), (2, 4, 4))
    torch.testing.assert_close(rays, expected)


def test_open_sora_is_told_sizes_and_holds_frames(networks):
    parts = networks("open-sora-1.1")
    _, sample = sample_of(source_of(parts))
    given = sample.conditioning
    assert given.resolution.tolist() == [[32.0, 32.0]] * 2
    assert given.aspect_ratio.tolist() == [[1.0]] * 2
    assert given.num_frames.tolist() == [5.0, 5.0]
    assert given.fps.tolist() == [24.0, 24.0]  # one that is not known counts as 24
    assert sample.frame_mask_BT.tolist() == [[False, True, True, True, True], [True] * 5]
    still = sample_of(source_of(parts, frames=1))[1].conditioning
    assert still.fps.tolist() == [120.0, 120.0]


def test_captions_are_replaced_by_stored_states(networks):
    parts = networks("open-sora-1.0")
    _, kept = sample_of(source_of(parts))
    _, dropped = sample_of(source_of(parts, NEVER))
    null = parts.transformer.null_text(*kept.text.states_BLE.shape[:2])
    torch.testing.assert_close(dropped.text.states_BLE, null)
    assert not torch.equal(kept.text.states_BLE, dropped.text.states_BLE)
    assert torch.equal(kept.text.mask_BL, dropped.text.mask_BL)


def test_latents_are_drawn_in_small_batches(networks):
    parts = networks("v5.1-7b-t2v")
    sources = [
        LiveClips(parts, MemoryBatches(), ALWAYS, EncodingConfig(vae_batch=number)) for number in (1, 2)
    ]
    one, two = (sample_of(source)[1].latents_BCthw for source in sources)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert not torch.equal(one, sample_of(sources[0], seed=1)[1].latents_BCthw)


@pytest.mark.parametrize(
    ("family", "missing", "message"),
    [
        ("v5.1-7b-inp", "masks", r"'inpaint' needs masks; set data\.recipe\.masks\.draw to inpaint"),
        ("v5.1-7b-control", "control", r"'control_ref' needs control videos; set data\.recipe\.control"),
        ("v5.1-12b-camera", "rays", r"'control_camera_ref' needs cameras; set data\.recipe\.control"),
    ],
)
def test_batches_that_lack_what_the_mode_needs(family, missing, message, networks):
    with pytest.raises(ValueError, match=message):
        sample_of(source_of(networks(family)), **{missing: None})


@pytest.mark.parametrize(
    ("family", "own", "other"),
    [
        ("v5.1-7b-t2v", "normal", "inpaint"),
        ("v5.1-7b-inp", "inpaint", "normal"),
        ("v5-7b-control", "control", "control_ref"),
        ("v5.1-7b-control", "control_ref", "control"),
        ("v5.1-12b-camera", "control_camera_ref", "control_ref"),
        ("open-sora-1.1", "frames", "inpaint"),
    ],
)
def test_the_mode_is_that_of_the_transformer(family, own, other, networks):
    parts = networks(family)
    assert source_of(parts, ConditionConfig(mode="auto")).conditions.mode == own
    assert source_of(parts, ConditionConfig(mode=own)).conditions.mode == own
    message = rf"conditions\.mode must be auto or {own} for this transformer, got '{other}'"
    with pytest.raises(ValueError, match=message):
        source_of(parts, ConditionConfig(mode=other))


def test_shares_that_are_none():
    with pytest.raises(ValueError, match=r"conditions\.control_dropout must be from 0 to 1, got 1\.2"):
        ConditionConfig(control_dropout=1.2)
    with pytest.raises(ValueError, match=r"encoding\.vae_batch must be at least 1, got 0"):
        EncodingConfig(vae_batch=0)
