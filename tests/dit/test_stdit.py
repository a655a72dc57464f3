"""STDiT: shapes, gradients, what is refused, saving and loading."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ea_dit import Conditioning, load_transformer, save_transformer
from ea_dit.families.stdit import STDiT, STDiTConfig
from ea_dit.families.stdit.keymap import key_map
from ea_dit.families.stdit.presets import PRESETS
from ea_dit.families.stdit.released import config_of_shapes

TINY2 = STDiTConfig(hidden_size=24, depth=2, num_heads=2, caption_channels=10, model_max_length=6)
TINY1 = replace(TINY2, architecture="STDiT")
BOTH = pytest.mark.parametrize("config", [TINY1, TINY2], ids=["stdit", "stdit2"])


def tiny(config):
    model = STDiT(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def inputs(config, batch=2, frames=3, **change):
    torch.manual_seed(1)
    conditions = {}
    if config.is_stdit2:
        conditions = {
            "resolution": torch.tensor([[32.0, 48.0]] * batch),
            "aspect_ratio": torch.full((batch, 1), 0.667),
            "num_frames": torch.full((batch,), float(frames)),
            "fps": torch.full((batch,), 24.0),
        }
    given = {
        "hidden_BCTHW": torch.randn(batch, 4, frames, 4, 6),
        "timestep_B": torch.tensor([900, 3][:batch]),
        "text_BME": torch.randn(batch, 6, 10),
        "text_mask_BM": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]][:batch]).bool(),
    }
    given |= {name: value for name, value in change.items() if name in given}
    conditions |= {name: value for name, value in change.items() if name not in given}
    return given | {"conditioning": Conditioning(**conditions)}


@BOTH
def test_a_new_model_predicts_zero_and_ignores_captions_and_other_frames(config):
    model = STDiT(config)
    out = model(**inputs(config))
    assert out.shape == (2, 8, 3, 4, 6)
    assert out.abs().max() == 0
    assert model.blocks[0].cross.out.weight.abs().max() == 0
    assert model.blocks[0].temporal.out.weight.abs().max() == 0
    (out - 1).square().sum().backward()
    assert model.head.projection.weight.grad.abs().max() > 0


@BOTH
def test_every_parameter_gets_a_gradient_with_and_without_recompute(config):
    model = tiny(config)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model(**inputs(config, frame_mask=mask), recompute=recompute).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@BOTH
def test_padding_of_the_caption_and_frames_at_the_timestep_change_nothing(config):
    model, given = tiny(config), inputs(config)
    with torch.no_grad():
        plain = model(**given)
        padded = given["text_BME"].clone()
        padded[1, 2:] = 5.0
        assert torch.equal(model(**given | {"text_BME": padded}), plain)
        every = inputs(config, frame_mask=torch.ones(2, 3, dtype=torch.bool))
        torch.testing.assert_close(model(**every), plain)
        one = inputs(config, frame_mask=torch.tensor([[False, True, True], [True, True, True]]))
        assert (model(**one)[0] - plain[0]).abs().max() > 1e-3


@BOTH
def test_a_short_mask_is_tiled_over_prompts_and_null_captions(config):
    model, given = tiny(config), inputs(config)
    mask = given["text_mask_BM"][1:]
    with torch.no_grad():
        tiled = model(**given | {"text_mask_BM": mask})
        written = model(**given | {"text_mask_BM": mask.repeat(2, 1)})
    assert torch.equal(tiled, written)


def test_null_captions_are_cut_or_repeat_their_last_row():
    model = tiny(TINY2)
    assert model.null_text(3).shape == (3, 6, 10)
    assert torch.equal(model.null_text(1, 4)[0], model.null_text_ME[:4])
    longer = model.null_text(2, 8)
    assert torch.equal(longer[1, :6], model.null_text_ME)
    assert torch.equal(longer[:, 6:], model.null_text_ME[-1].expand(2, 2, -1))


@BOTH
def test_odd_sizes_are_filled_up_and_cut(config):
    given = inputs(config, hidden_BCTHW=torch.randn(2, 4, 3, 5, 7))
    assert tiny(config)(**given).shape == (2, 8, 3, 5, 7)


def test_frames_may_be_patched_together():
    config = replace(TINY2, patch_size=(2, 2, 2))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert tiny(config)(**inputs(config, frame_mask=mask)).shape == (2, 8, 3, 4, 6)


@BOTH
def test_low_precision_stays_close(config):
    model, given = tiny(config), inputs(config)
    with torch.no_grad():
        exact = model(**given)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(**given)
        low = model.to(torch.bfloat16)(**given)
    for rough in (mixed, low):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() / exact.norm() < 0.1


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (TINY1, {"hidden_BCTHW": torch.randn(2, 3, 3, 4, 6)}, "takes 4 channels, got 3"),
        (TINY1, {"text_BME": torch.randn(2, 6, 9)}, "text states must be 10 wide, got 9"),
        (TINY1, {"text_mask_BM": torch.ones(2, 5)}, r"text_mask must fit 2 texts of 6 tokens, got \[2, 5\]"),
        (TINY1, {"text_mask_BM": torch.ones(3, 6)}, r"text_mask must fit 2 texts of 6 tokens, got \[3, 6\]"),
        (TINY1, {"frame_mask": torch.ones(2, 4)}, "frame_mask must have one entry per frame, got 4"),
        (TINY1, {"fps": torch.ones(2)}, "has no input for fps; it takes frame_mask"),
        (TINY2, {"fps": None}, "needs fps; it takes resolution, aspect_ratio, num_frames, fps"),
        (TINY2, {"num_frames": torch.ones(1)}, "num_frames must have 2 rows, got 1"),
        (TINY2, {"clip_states": torch.ones(2, 1, 4)}, "has no input for clip_states"),
    ],
)
def test_wrong_inputs_are_named(config, change, message):
    with pytest.raises(ValueError, match=message):
        tiny(config)(**inputs(config, **change))


@BOTH
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_saving_and_loading(tmp_path, config, dtype):
    model = tiny(config)
    save_transformer(model, tmp_path, dtype=dtype)
    loaded = load_transformer(tmp_path)
    assert loaded.config == config
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(dtype or tensor.dtype))
    with pytest.raises(ValueError, match="STDiT has no layout of its own in diffusers"):
        save_transformer(model, tmp_path, diffusers=True)


@BOTH
def test_bare_weights_tell_their_config(tmp_path, config):
    wide = replace(config, hidden_size=144, num_heads=2, depth=1)
    released = key_map(wide).export(STDiT(wide).state_dict())
    if not wide.is_stdit2:
        released |= {"pos_embed": torch.zeros(1, 64, 144), "pos_embed_temporal": torch.zeros(1, 4, 144)}
    save_file(released, tmp_path / "weights.safetensors")
    loaded = load_transformer(tmp_path)
    if wide.is_stdit2:
        assert loaded.config == wide
    else:
        assert loaded.config == replace(wide, space_scale=0.25, input_size=(4, 16, 16))


def test_bare_weights_that_do_not_tell_the_heads_are_refused():
    shapes = {name: tuple(t.shape) for name, t in key_map(TINY1).export(STDiT(TINY1).state_dict()).items()}
    with pytest.raises(ValueError, match="num_heads cannot be told from a width of 24"):
        config_of_shapes(shapes)
    assert config_of_shapes({"proj.weight": (3, 3)}) is None


@pytest.mark.parametrize(("part", "trained"), [("not_temporal", {"temporal"}), ("text", None)])
def test_freezing(part, trained):
    model = STDiT(replace(TINY2, freeze=part))
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if trained is None:
        assert moving
        assert not any(".cross." in name for name in moving)
    else:
        assert moving
        assert all(".temporal." in name for name in moving)


# Published counts; that of 1.1 includes the 36 rotary frequencies, a buffer here.
PARAMETERS = {"v1.0-16x256": 759_620_768, "v1.0-16x512": 759_620_768, "v1.0-64x512": 759_620_768}
PARAMETERS["v1.1"] = 767_452_100 - 36


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_released_sizes(name):
    config = PRESETS[name]
    with torch.device("meta"):
        model = STDiT(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert STDiTConfig.from_dict(config.to_dict()) == config
    table = key_map(config)
    for ours in model.state_dict():
        released = table.to_released(ours)
        assert ours in table.to_ours(released)
    assert config_of_shapes_of(model, config) == replace(config, **UNTOLD[config.architecture])


UNTOLD = {
    "STDiT": {"input_size": (None, None, None), "space_scale": 1.0, "time_scale": 1.0},
    "STDiT2": {},
}


def config_of_shapes_of(model, config):
    released = key_map(config).export(model.state_dict())
    values = config_of_shapes({name: tuple(tensor.shape) for name, tensor in released.items()})
    return STDiTConfig.from_dict(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"swa_layers": 3}, "unknown key 'swa_layers' for STDiT2; known: "),
        ({"space_scale": 0.5}, "unknown key 'space_scale' for STDiT2"),
        ({"depth": None}, "depth is missing"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"drop_path": 0.1}, "drop_path must be 0, got 0.1"),
        ({"no_temporal_pos_emb": True}, "no_temporal_pos_emb must be False, got True"),
        ({"freeze": "all"}, "freeze must be None or 'not_temporal' or 'text', got 'all'"),
        ({"hidden_size": 1150}, "hidden_size must be a multiple of 4, got 1150"),
        ({"hidden_size": 1024}, "hidden_size must be a multiple of 3, got 1024"),
        ({"num_heads": 7}, "hidden_size must be a multiple of 7, got 1152"),
        ({"patch_size": 2}, "patch_size must be three numbers"),
        ({"mlp_ratio": 0}, "mlp_ratio must be a number above 0, got 0"),
        ({"architectures": ["STDiT3"], "model_type": "STDiT3"}, "neither class of Open-Sora"),
    ],
)
def test_wrong_configs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        STDiTConfig.from_dict(PRESETS["v1.1"].to_dict() | change)


def test_configs_are_recognised_by_their_content():
    released = {"hidden_size": 24, "depth": 1, "num_heads": 2, "caption_channels": 10}
    assert STDiTConfig.from_dict(released | {"qk_norm": False}).architecture == "STDiT2"
    assert STDiTConfig.from_dict(released | {"time_scale": 1.0}).architecture == "STDiT"
    bookkeeping = {"model_type": "stdit2", "transformers_version": "4.38.2", "enable_flash_attn": True}
    assert STDiTConfig.from_dict(released | bookkeeping).is_stdit2
    with pytest.raises(ValueError, match="neither class"):
        STDiTConfig.from_dict(released)
