"""The released spelling of the autoencoder's configuration."""

from typing import get_args

import pytest

from ea_vae import MagvitConfig
from ea_vae.families.magvit.config import MODE_FLAGS, TemporalModeName
from ea_vae.families.magvit.presets import PRESETS
from ea_vae.families.magvit.temporal import TEMPORAL_MODES

RELEASED = MagvitConfig().to_dict()


@pytest.mark.parametrize("name", PRESETS)
def test_released_spelling_round_trip(name):
    assert MagvitConfig.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        (("slice_mag_vae",), "slices"),
        (("slice_mag_vae", "slice_compression_vae"), "neighbours"),
        (("slice_compression_vae", "cache_compression_vae"), "cached-decoder"),
        (("cache_compression_vae", "cache_mag_vae", "slice_mag_vae"), "cached"),
        ((), "whole"),
    ],
)
def test_the_first_flag_that_is_set_chooses_the_way_through_time(flags, mode):
    released = RELEASED | dict.fromkeys(MODE_FLAGS, False) | dict.fromkeys(flags, True)
    assert MagvitConfig.from_dict(released).temporal_mode == mode


def test_the_ways_through_time_are_named_in_one_order():
    assert list(TEMPORAL_MODES) == list(get_args(TemporalModeName))
    with pytest.raises(ValueError, match=r"temporal_mode must be one of cached, .* got 'fast'"):
        MagvitConfig(temporal_mode="fast")


def test_an_uncommon_config_survives_the_round_trip():
    config = MagvitConfig(
        block_out_channels=(8, 16, 16),
        down_block_types=("SpatialTemporalDownBlock3D",) * 3,
        up_block_types=("SpatialTemporalUpBlock3D",) * 3,
        norm_num_groups=4,
        temporal_mode="whole",
        per_frame_norm=False,
        mid_attention="spatial",
        use_tiling_decoder=True,
        tile_stages=3,
    )
    assert MagvitConfig.from_dict(config.to_dict()) == config
    assert (config.geometry.time, config.geometry.space) == (4, 4)


def test_keys_that_change_nothing_are_skipped():
    noise = {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.30",
        "sample_size": 256,
        "norm_type": "group",
    }
    assert MagvitConfig.from_dict({**RELEASED, **noise, "force_upcast": True}) == MagvitConfig()


def test_block_types_may_be_the_text_of_a_tuple():
    text = str(tuple(RELEASED["down_block_types"]))
    assert MagvitConfig.from_dict({**RELEASED, "down_block_types": text}) == MagvitConfig()
    with pytest.raises(ValueError, match="down_block_types must be a list"):
        MagvitConfig.from_dict({**RELEASED, "down_block_types": "a b"})


def test_missing_keys_take_the_defaults_of_the_class_that_wrote_the_file():
    without = {name: value for name, value in RELEASED.items() if name != "scaling_factor"}
    assert MagvitConfig.from_dict(without).scaling_factor == 0.1825
    assert MagvitConfig.from_dict({"_class_name": "AutoencoderKLMagvit"}) == MagvitConfig()


def test_an_old_config_that_names_no_mode_is_that_of_v2():
    """It carries the name of the image autoencoder and leaves out every key that came later."""
    stages = {"down_block_types": RELEASED["down_block_types"], "up_block_types": RELEASED["up_block_types"]}
    old = MagvitConfig.from_dict(
        {"_class_name": "AutoencoderKL", "ch": 128, "ch_mult": [1, 2, 4, 4], **stages}
    )
    assert old == PRESETS["v2"].edited(scaling_factor=0.1825)
    assert MagvitConfig.from_dict({"sample_size": 256, **stages}) == old


def test_channels_may_be_given_as_multiples():
    config = MagvitConfig.from_dict({**RELEASED, "block_out_channels": None, "ch": 32})
    assert config.block_out_channels == (32, 64, 128, 128)


def test_time_factor_eight():
    config = MagvitConfig(down_block_types=("SpatialTemporalDownBlock3D",) * 4, encoder_slice_frames=8)
    assert (config.geometry.time, config.geometry.space) == (8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_out_chanels": [8]}, "unknown key 'block_out_chanels'"),
        ({"scaling_factor": 0}, "scaling_factor must be above 0, got 0"),
        ({"scaling_factor": -0.7}, "scaling_factor must be above 0, got -0.7"),
        ({"scaling_factor": float("nan")}, "scaling_factor must be a finite number, got nan"),
        ({"scaling_factor": float("inf")}, "scaling_factor must be a finite number, got inf"),
        ({"scaling_factor": "x"}, "scaling_factor must be a number, got 'x'"),
        ({"layers_per_block": 10**9}, "layers_per_block must be at most 1000000, got 1000000000"),
        ({"layers_per_block": 101}, "layers_per_block must be at most 100 and .*, got 101 and 4"),
        ({"block_out_channels": [32, 32, 32, 32 * 10**9]}, "block_out_channels must be at most 1000000"),
        ({"norm_num_groups": 7}, "norm_num_groups .7. must divide block_out_channels"),
        ({"down_block_types": ["SpatialDownBlock3D"]}, "down_block_types must hold 4 of"),
        ({"down_block_types": ["DownEncoderBlock2D"] * 4}, "down_block_types must hold 4 of"),
        ({"act_fn": "relu"}, "act_fn must be 'silu'"),
        ({"mini_batch_encoder": 6}, "encoder_slice_frames .* multiple of 4"),
        (
            {"mini_batch_decoder": 0},
            "decoder_slice_latents .mini_batch_decoder. must be a whole",
        ),
        ({"latent_channels": -4}, "latent_channels must be a whole number of at least 1"),
        ({"tile_overlap_factor": 1.0}, "tile_overlap_factor must be in"),
        ({"block_out_channels": "wide"}, "block_out_channels must be a list"),
        ({"block_out_channels": [128, "x", 512, 512]}, "block_out_channels must be a whole number"),
        ({"layers_per_block": "two"}, "layers_per_block must be a whole number"),
        ({"scaling_factor": "big"}, "scaling_factor must be a number"),
        ({"spatial_group_norm": "yes"}, "per_frame_norm .spatial_group_norm. must be true or false"),
        (
            {"mid_block_use_attention": True, "mid_block_attention_type": "2d"},
            "must be one of none, 3d, spatial, temporal, spatial_temporal; got '2d'",
        ),
        (
            {"cache_mag_vae": False, "slice_compression_vae": True, "mini_batch_encoder": 6},
            "encoder_slice_frames .mini_batch_encoder. must be a multiple of 4",
        ),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MagvitConfig.from_dict({**RELEASED, **change})


def test_constructor_refuses_unknown_fields():
    with pytest.raises(TypeError):
        MagvitConfig(latent_chanels=4)
