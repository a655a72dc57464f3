"""Recipes of data: what they read, and what they refuse."""

import json
import pickle

import pytest

from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.training.recipe import ClipOptions, DataRecipe, MaskOptions
from ea_data.training.shapes import ShapeOptions

FULL = """
shapes:
  video_sample_size: 256
  grid: {step: 8, causal: false}
batch_size: 2
video_repeat: 3
clip: {stride: 2, skip_head: 0, min_frames: 5}
captions: {dropout: 0.2, min_length: 3, max_length: 400, forbidden: [watermark]}
masks: {draw: inpaint, weights: {first_few: 1, all: 3}}
control: video
reference: {mode: random, first: 0.5}
random_flip: true
remainder: drop
seed: 7
"""


def written(tmp_path, text, name="recipe.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_yaml_file_is_read_and_survives_json(tmp_path):
    recipe = DataRecipe.from_file(written(tmp_path, FULL))
    assert recipe.shapes is not None
    assert (recipe.shapes.video_sample_size, recipe.shapes.grid.step) == (256, 8)
    assert (recipe.skips, recipe.masks.inpaint_weights) == ((0.0, 0.1), {"first_few": 1.0, "all": 3.0})
    assert recipe.captions.forbidden == ("watermark",)
    text = json.dumps(recipe.to_dict())
    assert DataRecipe.from_file(written(tmp_path, text, "recipe.json")) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_an_empty_file_is_the_default(tmp_path):
    recipe = DataRecipe.from_file(written(tmp_path, "# nothing\n", "recipe.yml"))
    assert recipe == DataRecipe()
    assert recipe.layout == ShapeOptions()
    assert recipe.skips == (0.1, 0.1)
    assert (recipe.captions.dropout, recipe.random_flip, recipe.video_repeat) == (0.1, False, 1)


def test_buckets_survive_json(tmp_path):
    recipe = DataRecipe.from_file(
        written(tmp_path, "buckets: {240p: {1: [1, 64], 16: [0.5, 8]}, 720p: {16: [0, null]}}")
    )
    assert isinstance(recipe.layout, ResolutionBuckets)
    assert [slot.batch_size for slot in recipe.layout.slots] == [None, 8, 64]
    assert recipe.skips == (0.0, 0.0)
    assert DataRecipe.from_mapping(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"batchsize": 1},
            "recipe: unknown key 'batchsize'; allowed are batch_size, buckets, captions, clip",
        ),
        ({1: 2}, "recipe: unknown key '1'; allowed are batch_size"),
        ({"clip": {"strid": 1}}, "recipe.clip: unknown key 'strid'; allowed are min_frames, skip_head"),
        ({"clip": 3}, "recipe.clip: expected a group of settings, got 3"),
        ({"clip": {"stride": 0}}, "recipe.clip.stride is 0; allowed: 1 to 10000"),
        ({"clip": {"stride": 1.5}}, "recipe.clip.stride: expected int, got 1.5"),
        ({"clip": {"skip_head": 1}}, "recipe.clip.skip_head is 1.0; allowed: 0 or more and below 1"),
        (
            {"clip": {"skip_head": 0.5, "skip_tail": 0.5}},
            "recipe.clip.skip_head and skip_tail are 0.5 and 0.5",
        ),
        ({"clip": {"skip_head": 0.95}}, "recipe.clip.skip_head and clip.skip_tail are (0.95, 0.1); allowed"),
        ({"clip": {"timeout": 0}}, "recipe.clip.timeout is 0.0; allowed: above 0 seconds, at most"),
        ({"captions": {"dropout": 1.5}}, "recipe.captions.dropout is 1.5; allowed: 0 to 1"),
        ({"captions": {"dropout": True}}, "recipe.captions.dropout: expected a finite number, got True"),
        ({"captions": {"min_length": 9, "max_length": 8}}, "recipe.captions.max_length is 8; allowed: 9 or"),
        ({"captions": {"forbidden": [" "]}}, "recipe.captions.forbidden has an empty word"),
        ({"captions": {"forbidden": "logo"}}, "recipe.captions.forbidden: expected a list, got 'logo'"),
        ({"masks": {"draw": False}}, "recipe.masks.draw: False is not one of 'none', 'inpaint', 'frames'"),
        ({"masks": {"weights": {"all": 1}}}, "recipe.masks.weights are given with draw 'none'; allowed: inp"),
        (
            {"masks": {"draw": "inpaint", "weights": {"al": 1}}},
            "recipe.masks.weights names 'al'; allowed: all",
        ),
        (
            {"masks": {"draw": "inpaint", "weights": {"all": 0}}},
            "recipe.masks.weights are {'all': 0.0}; allo",
        ),
        ({"masks": {"draw": "inpaint", "weights": [1]}}, "recipe.masks.weights: expected names with values"),
        (
            {"masks": {"draw": "frames", "weights": {"mask_no": 2}}},
            "recipe.masks.weights: the ratio of mask_no",
        ),
        ({"control": "depth"}, "recipe.control: 'depth' is not one of 'none', 'video', 'camera'"),
        ({"control": "camera", "random_flip": True}, "recipe.random_flip is set with control 'camera'"),
        (
            {"reference": {"mode": "last"}},
            "recipe.reference.mode: 'last' is not one of 'none', 'first', 'rand",
        ),
        ({"reference": {"first": -0.1}}, "recipe.reference.first is -0.1; allowed: 0 to 1"),
        ({"batch_size": 0}, "recipe.batch_size is 0; allowed: 1 to 65536"),
        ({"video_repeat": 0}, "recipe.video_repeat is 0; allowed: 1 to 10000"),
        ({"seed": -1}, "recipe.seed is -1; allowed: 0 to"),
        ({"run": 2}, "recipe.remainder is 'keep' and run 2; allowed: drop or repeat"),
        ({"remainder": "lose"}, "recipe.remainder: 'lose' is not one of 'keep', 'drop', 'repeat'"),
        ({"shapes": {"video_sample_size": 8}}, "recipe.shapes.video_sample_size is 8; allowed: 16 to 16384"),
        ({"shapes": {"grid": {"step": 0}}}, "recipe.shapes.grid.step is 0; allowed: 1 to 10000 frames"),
        ({"shapes": {"token_rule": "mine"}}, "recipe.shapes.token_rule: 'mine' is not one of"),
        ({"buckets": {}}, "recipe.buckets: the bucket config is empty; allowed: at least one"),
        ({"buckets": {"99p": {1: [1, 1]}}}, "recipe.buckets: unknown resolution '99p'; allowed: "),
        ({"batch_size": 10**20}, f"recipe.batch_size is {10**20}; allowed: 1 to 65536"),
        ({"video_repeat": 10**20}, f"recipe.video_repeat is {10**20}; allowed: 1 to 10000"),
        ({"run": 10**20}, f"recipe.run is {10**20}; allowed: 1 to 65536"),
        ({"seed": 1 << 63}, f"recipe.seed is {1 << 63}; allowed: 0 to {(1 << 63) - 1}"),
        ({"clip": {"stride": 10**20}}, f"recipe.clip.stride is {10**20}; allowed: 1 to 10000"),
        ({"clip": {"timeout": 1e12}}, "recipe.clip.timeout is 1000000000000.0; allowed: above 0 seconds"),
        (
            {"shapes": {"token_sample_size": 16385}},
            "recipe.shapes.token_sample_size is 16385; allowed: 16 to",
        ),
        (
            {"shapes": {"video_sample_n_frames": 10**20}},
            f"recipe.shapes.video_sample_n_frames is {10**20}; allowed: 1 to 10000",
        ),
        ({"shapes": {"grid": {"step": 10**20}}}, f"recipe.shapes.grid.step is {10**20}; allowed: 1 to 10000"),
        (
            {"clip": {"min_frames": 18}},
            "recipe.clip.min_frames is 18 and shapes.video_sample_n_frames 17; allowed: clip.min_frames not",
        ),
        (
            {"buckets": {"240p": {16: [1, 10**20]}}},
            f"recipe.buckets.240p.16: the batch size is {10**20}; allowed: 1 to 65536",
        ),
        (
            {"buckets": {"240p": {10**20: [1, 1]}}},
            f"recipe.buckets.240p: a number of frames is {10**20}; allowed: 1 to 10000",
        ),
        ({"buckets": {"240p": {"x": [1, 1]}}}, "recipe.buckets.240p: expected int, got 'x'"),
        ({"buckets": {"240p": {1: [1, 1], "1": [1, 1]}}}, "recipe.buckets.240p: 1 is named twice"),
        ({"buckets": {"240p": {1: 3}}}, "recipe.buckets.240p.1: expected a list, got 3"),
        (
            {"buckets": {"240p": {1: [2, 1]}}},
            "recipe.buckets: bucket_config 240p 1: the keep probability is 2",
        ),
        (
            {"buckets": {"240p": {1: [1, 1]}}, "shapes": {}},
            "recipe.buckets and shapes are both given; allowed",
        ),
        (
            {"buckets": {"240p": {1: [1, 1]}}, "batch_size": 2},
            "recipe.batch_size is 2 with buckets; allowed: 1",
        ),
        (
            {"buckets": {"240p": {1: [1, 1]}}, "clip": {"min_frames": 2}},
            "recipe.clip.min_frames is 2 with buckets; allowed: 1",
        ),
        (
            {"buckets": {"240p": {1: [1, 1]}}, "clip": {"skip_tail": 0.1}},
            "recipe.clip.skip_head or clip.skip_tail is 0.1 with buckets; allowed: 0",
        ),
    ],
)
def test_a_wrong_recipe_is_one_line_with_the_name(values, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared
        DataRecipe.from_mapping(values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("recipe.yaml", "clip: [", "line 1: not YAML: "),
        ("recipe.yaml", "- 1", "expected names with values, got list"),
        ("recipe.yaml", "[" * 5000, "not YAML: "),
        ("recipe.json", "{", "not JSON: "),
        ("recipe.json", "[" * 100_000, "not JSON: brackets within brackets"),
        (
            "recipe.yaml",
            "seed: 1\nclip: {stride: 1, stride: 2}",
            " line 2: 'stride' is named twice; allowed: ",
        ),
        ("recipe.yaml", "seed: 1\nrun: 1\nseed: 1", " line 3: 'seed' is named twice; allowed: once"),
        ("recipe.json", '{"seed": 1, "seed": 2}', "'seed' is named twice"),
        ("recipe.toml", "", "unknown suffix '.toml'; allowed: .yaml, .yml, .json"),
        ("recipe.yaml", "seed: -1", ": recipe.seed is -1; allowed: "),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, text, message):
    path = written(tmp_path, text, name)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared
        DataRecipe.from_file(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*none\.yaml: No such file"):
        DataRecipe.from_file(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"bytes\.yaml: not UTF-8 text"):
        DataRecipe.from_file(tmp_path / "bytes.yaml")
    written(tmp_path, "#" * (1 << 20) + "\n", "large.yaml")
    with pytest.raises(ValueError, match=r"large\.yaml: more than 1048576 bytes"):
        DataRecipe.from_file(tmp_path / "large.yaml")


def test_the_groups_check_themselves():
    with pytest.raises(ValueError, match=r"^stride is 0; allowed: 1 to 10000"):
        ClipOptions(stride=0)
    assert sum(MaskOptions(draw="frames").frame_ratios.values()) == pytest.approx(1)
