"""Networks that begin as smaller ones give the same output until their new parts learn."""

import dataclasses

import pytest
import torch

from ea_dit import load_transformer, save_transformer
from ea_dit.families.pixart_motion import PixArtMotion
from ea_dit.families.pixart_motion.config import MotionConfig
from ea_dit.pipelines.growing import motion_config, widened, widened_config, with_motion
from ea_dit.types import Conditioning


@pytest.fixture(scope="module")
def network(directory):
    """Loads the transformer of a family once."""
    loaded = {}

    def get(family):
        if family not in loaded:
            loaded[family] = load_transformer(directory(family) / "transformer", dtype="float32")
        return loaded[family]

    return get


@torch.no_grad()
def frame_by_frame(image, x, *text):
    return torch.cat([image(frame, *text) for frame in x.split(1, dim=2)], dim=2)


def given(channels, width, *, frames=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, frames, 8, 8, generator=generator)
    return x, torch.tensor([500.0, 20.0]), torch.randn(2, 5, width, generator=generator)


@pytest.mark.parametrize("preset", ["v1-t2v", "v2-t2v", "v3-inp"])
def test_a_video_model_begins_as_its_image_model(preset, network):
    image = network("v1-image")
    config = motion_config(image.config, preset)
    video = with_motion(image, config)
    assert video.config.motion
    assert video.config.in_channels == image.config.in_channels
    call = given(4, image.config.caption_channels)
    with torch.no_grad():
        assert torch.equal(video(*call), frame_by_frame(image, *call))
    learns = [name for name, parameter in video.named_parameters() if parameter.requires_grad]
    assert len(learns) == len(list(video.parameters()))


def test_long_connections_begin_at_zero_and_learn(network):
    image = network("v1-image")
    config = dataclasses.replace(
        image.config, motion=(MotionConfig(max_frames=8),), num_skips=1, first_skip_block=1
    )
    assert config.skip_sources == {1: 0}
    video = with_motion(image, config, seed=3)
    call = given(4, image.config.caption_channels)
    with torch.no_grad():
        assert torch.equal(video(*call), frame_by_frame(image, *call))
    video(*call).square().mean().backward()
    assert bool(video.skips[0].weight.grad.any())
    assert bool(video.blocks[0].motion.project_out.weight.grad.any())
    with torch.no_grad():
        video.skips[0].weight.normal_()
        assert not torch.equal(video(*call), frame_by_frame(image, *call))


def test_what_is_grown_is_saved_and_loaded(network, tmp_path):
    image = network("v1-image")
    video = with_motion(image, motion_config(image.config, "v2-t2v"))
    save_transformer(video, tmp_path)
    again = load_transformer(tmp_path)
    assert isinstance(again, PixArtMotion)
    assert again.config == video.config
    call = given(4, image.config.caption_channels)
    with torch.no_grad():
        assert torch.equal(again(*call), video(*call))


def test_the_same_seed_grows_the_same(network):
    image = network("v1-image")
    config = motion_config(image.config, "v1-t2v")
    torch.manual_seed(1)
    one = with_motion(image, config, seed=5).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = with_motion(image, config, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_condition_channels_begin_unread(network):
    text = network("v5.1-7b-t2v")
    inpaint = widened(text, 33)
    x, time, states = given(16, text.config.text_embed_dim)
    conditioning = Conditioning(inpaint_latents=torch.randn(2, 17, 3, 8, 8))
    with torch.no_grad():
        torch.testing.assert_close(inpaint(x, time, states, conditioning=conditioning), text(x, time, states))
    assert widened(inpaint, 33) is inpaint
    # A mask is no control video: what an inpaint model makes of it is forgotten.
    trained = network("v5.1-7b-inp")
    control = widened(trained, 48)
    weight = control.patch_embed.weight
    assert torch.equal(weight[:, :16], trained.patch_embed.weight[:, :16])
    assert not bool(weight[:, 16:].any())
    plain = network("v5-7b-control")
    reference = widened_config(plain.config, 48)
    assert torch.equal(widened(plain, 48).patch_embed.weight[:, :32], plain.patch_embed.weight)
    assert reference.in_channels == 48


def test_what_cannot_grow(network):
    image = network("v1-image")
    with pytest.raises(ValueError, match="motion modules must be those of v1-t2v, v2-t2v, "):
        motion_config(image.config, "v1-image")
    with pytest.raises(ValueError, match="motion modules are added to an image model of V1"):
        motion_config(network("v2-t2v").config, "v1-t2v")
    with pytest.raises(ValueError, match="may differ from the image model in motion, num_skips"):
        with_motion(image, dataclasses.replace(image.config, num_layers=3))
    with pytest.raises(ValueError, match="in_channels must be one of 16, 22, 32, 33, 38, 48"):
        widened(network("v5.1-7b-t2v"), 20)
    with pytest.raises(ValueError, match=r"no place for .* of the image model"):
        with_motion(network("v2-t2v"), dataclasses.replace(network("v2-t2v").config, motion=(), num_skips=0))
