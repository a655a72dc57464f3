"""The V4 denoiser: config, released size, shapes, refusals, gradients, precision."""

from dataclasses import replace

import pytest
import torch
from tiny import randomise

from ea_dit import Conditioning, load_transformer, save_transformer
from ea_dit.families.hunyuan3d import Hunyuan3D, Hunyuan3DConfig
from ea_dit.families.hunyuan3d.keymap import key_map
from ea_dit.families.hunyuan3d.presets import PRESETS
from ea_dit.layers.rope import rope_2d

TINY = Hunyuan3DConfig(
    num_layers=4,
    num_attention_heads=2,
    attention_head_dim=8,
    mlp_ratio=2.3,
    cross_attention_dim=12,
    cross_attention_dim_t5=16,
    pooled_projection_dim=6,
    text_len=3,
    text_len_t5=5,
    n_query=4,
    projection_dim=10,
)
PLAIN = replace(TINY, in_channels=4, enable_clip_in_inpaint=False)


def tiny(config=TINY):
    return randomise(Hunyuan3D(config))


def inputs(batch=2, frames=3, height=4, width=6, **conditions):
    torch.manual_seed(1)
    conditions = {
        "inpaint_latents": torch.randn(batch, 8, frames, height, width),
        "clip_states": torch.randn(batch, 9, 10),
        "clip_mask": torch.ones(batch, 4),
    } | conditions
    return {
        "hidden_BCTHW": torch.randn(batch, 4, frames, height, width),
        "timestep_B": torch.rand(batch) * 1000,
        "text_BME": torch.randn(batch, 3, 12),
        "second_text_BNF": torch.randn(batch, 5, 16),
        "text_mask_BM": torch.tensor([[1, 1, 0]] * batch),
        "second_text_mask_BN": torch.tensor([[1, 0, 0, 0, 0]] * batch),
        "conditioning": Conditioning(**conditions),
    }


@torch.no_grad()
def run(model, **change):
    return model(**inputs() | change)


def test_a_new_model_predicts_zero():
    out = Hunyuan3D(TINY)(**inputs())
    assert out.shape == (2, 8, 3, 4, 6)
    assert out.abs().max() == 0


def test_every_parameter_gets_a_gradient():
    model = tiny()
    half_an_image = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]])
    model(**inputs(clip_mask=half_an_image)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_recompute_changes_nothing():
    model = tiny()
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model(**inputs(), recompute=recompute).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_samples_of_a_batch_do_not_touch_each_other():
    model, both = tiny(), inputs()
    conditioning = both.pop("conditioning")
    alone = {name: tensor[1:] for name, tensor in both.items()}
    alone["conditioning"] = Conditioning(
        inpaint_latents=conditioning.inpaint_latents[1:],
        clip_states=conditioning.clip_states[1:],
        clip_mask=conditioning.clip_mask[1:],
    )
    torch.testing.assert_close(run(model)[1:], run(model, **alone), atol=1e-5, rtol=1e-5)


def test_low_precision_stays_close():
    model = tiny()
    exact = run(model)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(model)
    low = run(model.to(torch.bfloat16))
    assert low.dtype == torch.bfloat16
    for rough in (mixed, low):
        assert (rough.float() - exact).norm() / exact.norm() < 0.05


def test_no_image_is_an_image_that_is_masked():
    model = tiny()
    masked = inputs(clip_mask=torch.zeros(2, 4))["conditioning"]
    without = inputs(clip_states=None, clip_mask=None)["conditioning"]
    given = inputs(clip_mask=None)["conditioning"]
    assert torch.equal(run(model, conditioning=masked), run(model, conditioning=without))
    assert torch.equal(run(model, conditioning=given), run(model))
    assert not torch.equal(run(model, conditioning=without), run(model))


def test_padding_is_replaced_and_no_mask_means_no_padding():
    model = tiny()
    text = inputs()["text_BME"]
    other_padding = torch.cat((text[:, :2], torch.randn(2, 1, 12)), dim=1)
    assert torch.equal(run(model, text_BME=other_padding), run(model))
    ones = run(model, text_mask_BM=torch.ones(2, 3), second_text_mask_BN=torch.ones(2, 5))
    assert torch.equal(run(model, text_mask_BM=None, second_text_mask_BN=None), ones)
    assert not torch.equal(ones, run(model))


def test_size_ids_are_those_of_the_latents_unless_given():
    model = tiny()
    released = torch.tensor([[1024.0, 1024.0, 32.0, 48.0, 0.0, 0.0]] * 2)
    assert torch.equal(run(model, conditioning=inputs(size_ids=released)["conditioning"]), run(model))
    other = inputs(size_ids=released * 2)["conditioning"]
    assert not torch.equal(run(model, conditioning=other), run(model))


def test_frame_positions_are_added_to_videos_only():
    model = tiny()
    picture = inputs(frames=1)
    before = model(**picture)
    for block in model.blocks:
        block.frame_table_FD.zero_()
    assert torch.equal(model(**picture), before)
    assert not torch.equal(run(model), run(tiny()))


def test_plain_models_take_no_image():
    model = tiny(PLAIN)
    plain = Conditioning()
    assert run(model, conditioning=plain).shape == (2, 8, 3, 4, 6)
    with pytest.raises(ValueError, match=r"no input for clip_states; it takes inpaint_latents, size_ids"):
        run(model, conditioning=Conditioning(clip_states=torch.randn(2, 9, 10)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditioning": None}, "takes 12 input channels .* got 4$"),
        ({"text_BME": torch.randn(2, 4, 12)}, r"reads 3 and 5 text tokens, got \(4, 5\)"),
        ({"text_mask_BM": torch.ones(2, 5)}, r"a mask must be \[2, 3\], got \[2, 5\]"),
        (
            {"conditioning": inputs(size_ids=torch.ones(2, 4))["conditioning"]},
            r"size_ids must be \(batch, 6\)",
        ),
        (
            {"conditioning": inputs(clip_states=torch.randn(2, 8, 10))["conditioning"]},
            "a square number of patch tokens, got 8",
        ),
        (
            {"conditioning": inputs(ref_latents=torch.randn(2, 4, 1, 4, 6))["conditioning"]},
            "no input for ref_latents",
        ),
        (inputs(height=5), "latent height and width must be multiples of 2, got 5 x 6"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        tiny()(**inputs() | change)


@pytest.mark.parametrize(
    "config", [TINY, PLAIN, replace(TINY, projection_dim=12)], ids=["clip", "plain", "same"]
)
def test_saving_and_loading(tmp_path, config):
    model = tiny(replace(config, rope_in_first_block=False))
    save_transformer(model, tmp_path)
    loaded = load_transformer(tmp_path)
    assert loaded.config == model.config
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    with pytest.raises(ValueError, match="no layout of its own in diffusers"):
        save_transformer(model, tmp_path, diffusers=True)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_released_size_builds_without_memory(name):
    config = PRESETS[name]
    with torch.device("meta"):
        model = Hunyuan3D(config)
    assert (config.width, config.mlp_width, config.base_grid) == (1408, 6144, (32, 32))
    assert config.latent_channels == 4
    assert config.condition_channels == (8 if name == "v4-inp" else 0)
    assert sum("skip.norm.weight" in name for name in model.state_dict()) == 19
    assert Hunyuan3DConfig.from_dict(config.to_dict()) == config
    assert model.text_padding.shape == (77 + 256, 1024)


def test_key_map_renames_every_tensor_and_back():
    with torch.device("meta"):
        model = Hunyuan3D(TINY)
    table = key_map(TINY)
    for ours in model.state_dict():
        released = table.to_released(ours)
        assert released != ours
        assert ours in table.to_ours(released)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 3}, "unknown key 'widht'; known: add_noise_in_inpaint_model, .* and [0-9]+ more"),
        ({"in_channels": None}, "in_channels is missing"),
        ({"num_layers": 5}, "num_layers must be a multiple of 2, got 5"),
        ({"attention_head_dim": 6}, "attention_head_dim must be a multiple of 4"),
        ({"hidden_size": 20}, r"hidden_size must be num_attention_heads \* attention_head_dim = 16, got 20"),
        ({"basic_block_type": "motionmodule"}, "basic_block_type must be 'basic', got 'motionmodule'"),
        ({"time_position_encoding_type": "3d_rope"}, "time_position_encoding_type must be '2d_rope'"),
        ({"n_query": 5}, "n_query must be a square number, got 5"),
        ({"cross_attention_dim_t5": 12}, "cross_attention_dim_t5 must be a multiple of 8, got 12"),
        ({"in_channels": 2}, r"in_channels \(2\) must be at least the latents' \(4\)"),
        ({"mlp_ratio": 0}, "mlp_ratio must be a number above 0, got 0"),
        ({"text_len": "77"}, "text_len must be a whole number of at least 1, got '77'"),
    ],
)
def test_unsupported_config_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Hunyuan3DConfig.from_dict(TINY.to_dict() | change)


def test_config_reads_what_releases_leave_out():
    values = TINY.to_dict()
    for name in ("rope_in_first_block", "enable_clip_in_inpaint", "hidden_size", "time_position_encoding"):
        del values[name]
    assert Hunyuan3DConfig.from_dict(values | {"decay": 0.9999, "sample_size": 128}) == TINY
    plain = Hunyuan3DConfig.from_dict(values | {"in_channels": 4, "enable_clip_in_inpaint": True})
    assert not plain.enable_clip_in_inpaint
    with pytest.raises(ValueError, match="enable_clip_in_inpaint must be false for a model without"):
        replace(TINY, in_channels=4)


def test_picture_angles_are_laid_out_column_row():
    cos, sin = rope_2d((3, 4), 8, base=(4, 4))
    angles = torch.atan2(sin, cos).view(3, 4, 4)
    # Three rows fill three of the four rows of the base grid, half a row down: rounded to even, none.
    assert torch.allclose(angles[..., 0], torch.arange(4.0).expand(3, 4), atol=1e-6)
    assert torch.allclose(angles[..., 2], torch.arange(3.0)[:, None].expand(3, 4), atol=1e-6)
    with pytest.raises(ValueError, match="head_dim must be a multiple of 4"):
        rope_2d((2, 2), 6, base=(4, 4))
