"""Configs of the PixArt family: released vocabulary, released sizes."""

from dataclasses import replace

import pytest
import torch

from ea_dit.families.pixart_motion import MotionConfig, PixArtMotion, PixArtMotionConfig
from ea_dit.families.pixart_motion.keymap import key_map
from ea_dit.families.pixart_motion.presets import PRESETS

# The arithmetic of the sizes, written out: D 1152, text 4096, 4 channels in, 8 out, patches of 2 x 2.
D = 1152
LINEAR = D * D + D
BLOCK = 6 * D + 8 * LINEAR + (4 * D * D + 4 * D) + (4 * D * D + D)
EMBEDDINGS = (256 * D + D + LINEAR) + (6 * D * D + 6 * D) + (4096 * D + D + LINEAR) + (16 * D + D)
IMAGE = EMBEDDINGS + 28 * BLOCK + 2 * D + (32 * D + 32)
ATTENTION = 2 * D + 3 * D * D + LINEAR
MOTION = 2 * D + 2 * LINEAR + 2 * ATTENTION + 2 * D + (8 * D * D + 8 * D) + (4 * D * D + D)
SKIPS = 13 * LINEAR
SIZES = 2 * (256 * D // 3 + D // 3 + (D // 3) ** 2 + D // 3)
CLIP = (768 * 8 * D + 8 * D) + (64 * D * D + 8 * D)
PARAMETERS = {
    "v1-image": IMAGE,
    "v1-t2v": IMAGE + 28 * MOTION,
    "v2-t2v": IMAGE + 28 * MOTION + SKIPS,
    "v2-t2v-128": IMAGE + 28 * MOTION + SKIPS + SIZES,
    "v3-inp": IMAGE + 28 * MOTION + SKIPS + CLIP + 8 * 4 * D,
}


def on_meta(config):
    with torch.device("meta"):
        return PixArtMotion(config)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_parameter_counts_of_released_sizes(name):
    model = on_meta(PRESETS[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def test_the_motion_module_file_of_v1_has_its_published_size():
    state = on_meta(PRESETS["v1-t2v"]).state_dict()
    numbers = sum(tensor.numel() for name, tensor in state.items() if ".motion." in name)
    assert round(4 * numbers / 2**30 + 0.05, 1) == 4.1


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_configs_survive_the_released_vocabulary(name):
    values = PRESETS[name].to_dict()
    assert PixArtMotionConfig.from_dict(values) == PRESETS[name]
    # Released sizes need no names of ours.
    assert not {"num_skips", "position_scale", "size_conditions", "clip_channels"} & values.keys()


def test_what_the_original_would_infer_otherwise_is_written_by_name():
    odd = replace(PRESETS["v3-inp"], num_layers=6, num_skips=2, first_skip_block=4, clip_channels=None)
    values = odd.to_dict()
    assert values["clip_channels"] is None
    assert values["num_skips"] == 2
    assert PixArtMotionConfig.from_dict(values) == odd


def test_what_the_original_infers():
    values = PRESETS["v1-image"].to_dict()
    large = PixArtMotionConfig.from_dict(values | {"sample_size": 128})
    assert large.size_conditions
    assert (large.position_scale, large.position_extent) == (2, 32)
    assert PixArtMotionConfig.from_dict(values | {"in_channels": 12}).clip_channels == 768
    linked = PixArtMotionConfig.from_dict(values | {"enable_uvit": True})
    assert linked.skip_sources == dict(zip(range(15, 28), range(12, -1, -1), strict=True))
    assert replace(linked, num_layers=17).skip_sources == {15: 12, 16: 11}


def test_files_of_diffusers_name_what_they_do():
    values = PRESETS["v1-image"].to_dict() | {"_class_name": "PixArtTransformer2DModel", "sample_size": 128}
    read = PixArtMotionConfig.from_dict
    assert read(values | {"use_additional_conditions": False}).size_conditions is False
    assert read(values | {"use_additional_conditions": None}).size_conditions is True
    assert read(values | {"interpolation_scale": 4}).position_scale == 4


def test_squares_belong_to_the_grid_type():
    values = PRESETS["v1-t2v"].to_dict()
    assert PixArtMotionConfig.from_dict(values).motion == (MotionConfig(grid=2),)
    plain = PixArtMotionConfig.from_dict(values | {"motion_module_type": "Vanilla"})
    assert plain.motion == (MotionConfig(grid=1),)


def test_bookkeeping_is_passed_over():
    values = PRESETS["v3-inp"].to_dict() | {"decay": 0.9999, "optimization_step": 7, "upcast_attention": True}
    assert PixArtMotionConfig.from_dict(values) == PRESETS["v3-inp"]


MOTION_KEY = "motion_module_kwargs"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wings": 2}, "unknown key 'wings'"),
        ({"patch_3d": True}, "patch_3d must be False, got True"),
        ({"activation_fn": "geglu"}, "activation_fn must be 'gelu-approximate', got 'geglu'"),
        ({"in_channels": None}, "in_channels is missing"),
        ({"num_layers": 0}, "num_layers must be a whole number of at least 1, got 0"),
        ({"cross_attention_dim": 64}, "cross_attention_dim must be .* = 1152, got 64"),
        (
            {"basic_block_type": "selfattentiontemporal"},
            "basic_block_type must be one of motionmodule, global",
        ),
        ({"basic_block_type": "basic"}, "basic_block_type must be one of motionmodule, global"),
        ({"motion_module_type": "Spline"}, "motion_module_type must be VanillaGrid or Vanilla"),
        ({MOTION_KEY: None}, "motion_module_kwargs is missing"),
        ({"basic_block_type": "global_motionmodule"}, "motion_module_kwargs_even is missing"),
        ({MOTION_KEY: {"heads": 3}}, "motion_module_kwargs: unknown key 'heads'"),
        (
            {MOTION_KEY: {"attention_block_types": ["Spatial"]}},
            "made of Temporal_Self, Global_Self, got 'Spatial'",
        ),
        ({MOTION_KEY: {"temporal_attention_dim_div": 2}}, "temporal_attention_dim_div must be 1, got 2"),
        ({MOTION_KEY: {"num_attention_heads": 7}}, r"multiple of 7 \(heads of a motion module\), got 1152"),
    ],
)
def test_unsupported_config_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        PixArtMotionConfig.from_dict(PRESETS["v1-t2v"].to_dict() | change)


@pytest.mark.parametrize("name", ["v1-t2v", "v2-t2v-128", "v3-inp"])
def test_key_map_renames_every_tensor_and_back(name):
    config = replace(PRESETS[name], num_layers=2)
    table = key_map(config)
    for ours in on_meta(config).state_dict():
        released = table.to_released(ours)
        assert released != ours
        assert table.to_ours(released) == (ours,)


def test_a_caption_that_only_training_used_is_passed_over():
    assert key_map(PRESETS["v1-image"]).to_ours("caption_projection.y_embedding") == ()
