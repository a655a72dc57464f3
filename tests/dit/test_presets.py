"""Released sizes, built without memory."""

from dataclasses import replace

import pytest

from ea_dit.families.mmdit import MMDiT, MMDiTConfig
from ea_dit.families.mmdit.keymap import key_map
from ea_dit.families.mmdit.presets import PRESETS
from ea_dit.pipelines.variants import variant_of
from ea_kernels.runtime.weights import build_on_meta

# Published sizes of the InP weights, and what the other variants have more or fewer.
PARAMETERS = {
    "v5-7b": 6_813_097_536,
    "v5-12b": 11_797_692_480,
    "v5.1-7b": 6_814_670_912,
    "v5.1-12b": 11_799_265_856,
}
DIFFERENCE = {
    "v5": {"inp": 0, "t2v": -208_896, "control": -12_288},
    "v5.1": {"inp": 0, "t2v": -208_896, "control": 184_320, "camera": 61_440},
}
VARIANT = {"inp": "inpaint", "t2v": "text", "control": "control", "camera": "camera"}


def on_meta(config):
    return build_on_meta(lambda: MMDiT(config))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_parameter_count_is_the_published_one(name):
    size, variant = name.rsplit("-", 1)
    expected = PARAMETERS[size] + DIFFERENCE[size.split("-")[0]][variant]
    assert sum(parameter.numel() for parameter in on_meta(PRESETS[name]).parameters()) == expected


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_variant_and_config_round_trip(name):
    config = PRESETS[name]
    assert variant_of(config) == VARIANT[name.rsplit("-", 1)[1]]
    assert MMDiTConfig.from_dict(config.to_dict()) == replace(config, mmdit_layers=config.num_joint_layers)


@pytest.mark.parametrize("diffusers", [False, True], ids=["easyanimate", "diffusers"])
@pytest.mark.parametrize("name", ["v5.1-7b-inp", "v5-7b-t2v"])
def test_key_map_renames_every_tensor_and_back(name, diffusers):
    config = replace(PRESETS[name], num_layers=3, mmdit_layers=2)
    table = key_map(config, diffusers=diffusers)
    for ours in on_meta(config).state_dict():
        released = table.to_released(ours)
        assert released != ours
        assert table.to_ours(released) == (ours,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"swa_layers": [1]}, "swa_layers must be null"),
        ({"num_layer": 3}, "unknown key 'num_layer'; did you mean 'num_layers'"),
        ({"activation_fn": "geglu"}, "activation_fn must be 'gelu-approximate'"),
        ({"time_position_encoding_type": "2d_rope"}, "time_position_encoding_type must be '3d_rope'"),
        ({"attention_head_dim": 40}, "attention_head_dim must be a positive multiple of 16"),
        ({"in_channels": None}, "in_channels is missing"),
        ({"in_channels": 8}, "in_channels .8. must be at least out_channels"),
        ({"norm_eps": "x"}, "norm_eps must be a finite number, got 'x'"),
        ({"after_norm": "x"}, "after_norm must be true or false, got 'x'"),
        ({"num_layers": 10**9}, "num_layers must be at most 1000, got 1000000000"),
        ({"num_attention_heads": 10**9}, "num_attention_heads must be at most 1000000, got 1000000000"),
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, got 0"),
        ({"text_embed_dim": "wide"}, "text_embed_dim must be a whole number of at least 1, got 'wide'"),
    ],
)
def test_unsupported_config_is_refused_by_name(change, message):
    values = PRESETS["v5.1-12b-t2v"].to_dict() | change
    with pytest.raises(ValueError, match=message):
        MMDiTConfig.from_dict(values)


def test_config_rejects_unknown_fields_but_reads_bookkeeping():
    with pytest.raises(TypeError):
        MMDiTConfig(widht=3)
    values = PRESETS["v5.1-12b-t2v"].to_dict() | {"optimization_step": 7, "use_ema_warmup": False}
    assert MMDiTConfig.from_dict(values).num_layers == 48


def test_channels_that_fit_no_variant_are_refused():
    with pytest.raises(ValueError, match="in_channels must be one of 16, 22, 32, 33, 38, 48"):
        variant_of(MMDiTConfig(in_channels=20))
