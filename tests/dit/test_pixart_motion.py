"""The PixArt family itself: shapes, refusals, gradients, V1's two files."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import randomise

from ea_dit import Conditioning, load_transformer, save_transformer
from ea_dit.families.pixart_motion import MotionConfig, PixArtMotion, PixArtMotionConfig
from ea_kernels.runtime.files import WEIGHTS_NAME

IMAGE = PixArtMotionConfig(num_layers=2, num_attention_heads=2, attention_head_dim=16, caption_channels=12)
V1 = replace(IMAGE, motion=(MotionConfig(max_frames=6, grid=2),))
V3 = replace(
    IMAGE,
    num_layers=4,
    in_channels=12,
    clip_channels=10,
    clip_tokens=3,
    num_skips=2,
    first_skip_block=2,
    motion=(MotionConfig(max_frames=6), MotionConfig(max_frames=6, attention=("temporal", "global"))),
)
SIZED = replace(IMAGE, attention_head_dim=48, size_conditions=True)


def tiny(config):
    return randomise(PixArtMotion(config))


def inputs(config, batch=2, frames=3, height=4, width=8):
    torch.manual_seed(1)
    given = {
        "hidden_BCTHW": torch.randn(batch, 4, frames, height, width),
        "timestep_B": torch.rand(batch) * 1000,
        "text_BME": torch.randn(batch, 5, 12),
        "text_mask_BM": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])[:batch],
    }
    if config is V3:
        latents = torch.randn(batch, 8, frames, height, width)
        image, mask = torch.randn(batch, 10), torch.ones(batch, 3)
        given["conditioning"] = Conditioning(inpaint_latents=latents, clip_states=image, clip_mask=mask)
    if config is SIZED:
        size, ratio = torch.full((batch, 2), 512.0), torch.ones(batch, 1)
        given["conditioning"] = Conditioning(resolution=size, aspect_ratio=ratio)
    return given


def with_conditions(given, **changes):
    return given | {"conditioning": replace(given.get("conditioning") or Conditioning(), **changes)}


@pytest.mark.parametrize(("config", "frames"), [(IMAGE, 1), (V1, 3), (V3, 3), (SIZED, 1)])
def test_every_parameter_gets_a_gradient(config, frames):
    model = tiny(config)
    out = model(**inputs(config, frames=frames))
    assert out.shape == (2, 8, frames, 4, 8)
    out.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_new_model_predicts_zero_and_its_motion_modules_add_nothing():
    model = PixArtMotion(V1)
    assert model(**inputs(V1)).abs().max() == 0
    x = torch.randn(1, 3 * 8, 32)
    assert torch.equal(model.blocks[0].motion(x, (3, 2, 4)), x)


def test_recompute_changes_nothing():
    model = tiny(V3)
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model(**inputs(V3), recompute=recompute).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_padding_and_masked_image_tokens_have_no_influence():
    model, given = tiny(V3).eval(), inputs(V3)
    noise = torch.randn(2, 5, 12)
    changed = torch.where(given["text_mask_BM"][..., None] == 0, noise, given["text_BME"])
    with torch.no_grad():
        torch.testing.assert_close(model(**given), model(**given | {"text_BME": changed}))
        masked = with_conditions(given, clip_mask=torch.zeros(2, 3))
        absent = with_conditions(given, clip_mask=None, clip_states=None)
        torch.testing.assert_close(model(**masked), model(**absent))
        assert not torch.allclose(model(**given), model(**absent))


def test_frames_meet_in_motion_modules_only():
    given = inputs(V1)
    other = given["hidden_BCTHW"].clone()
    other[:, :, 2] += 1
    with torch.no_grad():
        for model, meets in ((tiny(V1), True), (PixArtMotion(V1), False)):
            torch.nn.init.normal_(model.head.projection.weight)
            change = (model(**given | {"hidden_BCTHW": other}) - model(**given)).abs().amax(dim=(0, 1, 3, 4))
            assert bool(change[0] > 0) is meets
            assert change[2] > 0


def test_positions_of_a_photo_can_be_left_out():
    kinds = [MotionConfig(max_frames=6, photo_positions=given) for given in (True, False)]
    models = [tiny(replace(IMAGE, motion=(kind,))).eval() for kind in kinds]
    with torch.no_grad():
        photos = [model(**inputs(IMAGE, frames=1)) for model in models]
        clips = [model(**inputs(IMAGE, frames=2)) for model in models]
    assert not torch.allclose(*photos)
    assert torch.equal(*clips)


def test_low_precision_stays_close():
    model, given = tiny(V3).eval(), inputs(V3)
    with torch.no_grad():
        exact = model(**given)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(**given)
        low = model.to(torch.bfloat16)(**given)
    assert mixed.dtype == low.dtype == torch.bfloat16
    for rough in (mixed, low):
        assert (rough.float() - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (V1, {"hidden_BCTHW": torch.zeros(2, 4, 3, 4, 6)}, "must be multiples of 4, got 4 x 6"),
        (V1, {"hidden_BCTHW": torch.zeros(2, 4, 7, 4, 8)}, "takes at most 6 latent frames, got 7"),
        (V1, {"hidden_BCTHW": torch.zeros(2, 5, 3, 4, 8)}, r"takes 4 input channels .* got 5$"),
        (V1, {"second_text_BNE": torch.zeros(2, 5, 12)}, "no input for a second text encoder"),
        (V1, {"text_mask_BM": torch.ones(2, 4)}, r"text_mask_BM must have shape \[2, 5\], got \[2, 4\]"),
        (IMAGE, {}, "takes one frame: it is an image model, got 3"),
        (
            V1,
            {"text_BME": torch.zeros(2, 5, 7)},
            r"text states must have shape \[2, 5, 12\], got \[2, 5, 7\]",
        ),
        (V3, {"conditioning": None}, r"takes 12 input channels .* got 4$"),
        (
            SIZED,
            {"conditioning": None, "hidden_BCTHW": torch.zeros(2, 4, 1, 4, 8)},
            "needs resolution .* and aspect_ratio",
        ),
    ],
)
def test_wrong_inputs_are_named(config, change, message):
    with pytest.raises(ValueError, match=message):
        tiny(config)(**inputs(config) | change)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (
            V1,
            {"inpaint_latents": torch.zeros(2, 8, 3, 4, 8)},
            "no input for inpaint_latents; it takes no cond",
        ),
        (V1, {"resolution": torch.zeros(2, 2)}, "no input for resolution"),
        (
            V3,
            {"control_latents": torch.zeros(2, 8, 3, 4, 8)},
            "no input for control_latents; it takes inpaint",
        ),
        (V3, {"clip_states": None}, "clip_mask needs clip_states"),
        (
            V3,
            {"clip_states": torch.zeros(2, 3, 10)},
            r"clip_states must have shape \[2, 10\], got \[2, 3, 10\]",
        ),
        (SIZED, {"clip_states": torch.zeros(2, 10)}, "no input for clip_states; it takes resolution, aspect"),
    ],
)
def test_conditions_without_an_input_are_named(config, change, message):
    with pytest.raises(ValueError, match=message):
        tiny(config)(**with_conditions(inputs(config), **change))


@pytest.mark.parametrize("config", [IMAGE, V1, V3, SIZED])
def test_saving_and_loading(config, tmp_path):
    model = tiny(config)
    save_transformer(model, tmp_path)
    loaded = load_transformer(tmp_path)
    assert loaded.config == config
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ValueError, match="has no layout of its own in diffusers"):
        save_transformer(model, tmp_path, diffusers=True)


@pytest.fixture
def two_files(tmp_path):
    """V1 as it is released: an image model, and its motion modules in a file of their own."""
    model = tiny(V1)
    save_transformer(model, tmp_path / "both")
    tensors = load_file(tmp_path / "both" / WEIGHTS_NAME)
    motion = {name: tensor for name, tensor in tensors.items() if ".attn_temporal." in name}
    image = PixArtMotion(IMAGE)
    image.load_state_dict(
        {name: tensor for name, tensor in model.state_dict().items() if ".motion." not in name}
    )
    save_transformer(image, tmp_path / "image")
    save_file(motion, tmp_path / "motion.safetensors")
    return model, tmp_path / "image", tmp_path / "motion.safetensors"


def test_a_motion_module_completes_an_image_model(two_files):
    model, image, motion = two_files
    assert load_transformer(image).config == IMAGE
    loaded = load_transformer(image, motion_module=motion)
    # V1 has eight heads and squares of 2 x 2; the rest is read from the file.
    assert loaded.config == V1
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_both_files_are_read_strictly(two_files, tmp_path):
    _, image, motion = two_files
    tensors = load_file(motion)
    first = sorted(tensors)[0]

    def load(state):
        save_file(state, tmp_path / "other.safetensors")
        return load_transformer(image, motion_module=tmp_path / "other.safetensors")

    with pytest.raises(ValueError, match=r"missing tensor 'transformer_blocks.0.attn_temporal"):
        load({name: tensor for name, tensor in tensors.items() if name != first})
    with pytest.raises(ValueError, match=r"unexpected tensor 'transformer_blocks.0.attn_temporal.extra'"):
        load(tensors | {"transformer_blocks.0.attn_temporal.extra": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"tensor 'proj_out.bias' is in .* as well"):
        load(tensors | {"proj_out.bias": torch.zeros(32)})
    with pytest.raises(ValueError, match=r"other.safetensors: no motion modules: a tensor named"):
        load({"unrelated": torch.zeros(1)})


def test_overrides_replace_values_of_the_file(tmp_path):
    save_transformer(tiny(V1), tmp_path)
    kind = {"num_attention_heads": 4, "temporal_position_encoding_max_len": 6, "block_size": 1}
    loaded = load_transformer(tmp_path, overrides={"motion_module_kwargs": kind})
    assert loaded.config.motion == (MotionConfig(num_attention_heads=4, max_frames=6),)
