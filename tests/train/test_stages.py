"""The stages of the reports: their numbers, and that their tiny twins train."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_seed_commands import make_data

from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.training.shapes import ShapeOptions
from ea_dit.pipelines.tiny import make_tiny
from ea_train.cli import main
from ea_train.recipes import find, stage
from ea_train.recipes.stage_names import STAGE_NAMES

# Tokens of a clip: 16 x 16 pixels and four frames to a token, the first frame alone but in V4.
TOKENS = {
    "v4-9216": (256, 144 // 4),
    "v4-36864": (512, 144 // 4),
    "v4-82944": (768, 144 // 4),
    "v4-147456": (1024, 144 // 4),
    "v5-3328": (256, 13),
    "v5-13312": (512, 13),
    "v5-53248-i2v": (1024, 13),
    "v5-control-13312": (512, 13),
    "v5.1-53248-i2v": (1024, 13),
}
# Batch and steps, as the reports of V4, V5 and V5.1 have them.
REPORTED = {
    "v4-9216": (1024, 60_000),
    "v4-36864": (192, 16_000),
    "v4-82944": (192, 5_000),
    "v4-147456": (96, 5_000),
    "v5-3328": (1536, 66_500),
    "v5-13312": (768, 30_000),
    "v5-13312-i2v": (384, 5_000),
    "v5-53248-i2v": (196, 5_000),
    "v5-control-13312": (128, 5_000),
    "v5-control-53248": (96, 2_000),
    "v5.1-3328": (1024, 100_000),
    "v5.1-13312": (512, 60_000),
    "v5.1-13312-i2v": (256, 5_000),
    "v5.1-53248-i2v": (256, 5_000),
}
MODELS = {
    "paper-images": "v1-image",
    "paper-motion": "v1-image",
    "paper-whole": "v2-t2v",
    "paper-quality": "v3-inp",
    "v4": "v4-inp",
    "v5-control": "v5-12b-inp",
    "v5.1": "v5.1-12b-t2v",
    "v5": "v5-12b-t2v",
    "open-sora": "open-sora-1.1",
}


def test_the_command_line_knows_all_stages():
    assert tuple(stage.STAGES) == STAGE_NAMES


@pytest.mark.parametrize("name", TOKENS)
def test_token_lengths_are_those_of_the_names(name):
    side, latent_frames = TOKENS[name]
    shapes = stage.config(name).data.recipe.shapes
    assert shapes.token_sample_size == side
    assert (side // 16) ** 2 * latent_frames == int(name.removesuffix("-i2v").rpartition("-")[2])
    assert shapes.video_sample_n_frames in (4 * latent_frames, 4 * latent_frames - 3)


@pytest.mark.parametrize("name", REPORTED)
def test_batches_and_steps_are_those_of_the_reports(name):
    loop = stage.config(name).loop
    assert (loop.batch_size * loop.grad_accum, loop.steps) == REPORTED[name]


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_every_stage_has_a_tiny_twin(name):
    large, small = stage.config(name), stage.config(f"{name}-tiny")
    assert type(small) is type(large)
    assert (small.loop.steps, small.loop.precision) == (4, "fp32")
    assert (small.adapter, small.objective, small.conditions) == (
        large.adapter,
        large.objective,
        large.conditions,
    )
    if large.data.recipe.buckets is None:
        assert isinstance(large.data.recipe.shapes, ShapeOptions)
    else:
        assert isinstance(large.data.recipe.layout, ResolutionBuckets)
        assert large.data.recipe.clip.stride == 3


def test_what_learns_in_the_stages_of_the_paper():
    motion = stage.config("paper-motion")
    assert motion.model.motion == "v2-t2v"
    assert motion.adapter.kind == "parts"
    assert stage.config("paper-whole").adapter.kind == "all"
    assert stage.config("v5-13312-i2v").model.in_channels == 33
    assert stage.config("v5-control-53248").conditions.mode == "control"
    assert stage.config("open-sora-1.1-images").objective.levels.density == "speed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: --preset"),
        (["--preset", "v6"], "argument --preset: invalid choice: 'v6'"),
        (["--preset", "v5-13312-tiny"], "model.path is empty"),
    ],
)
def test_mistakes(words, message, tmp_path, capsys):
    try:
        status = main(["stage", "--output", str(tmp_path / "run"), "--device", "cpu", *words])
    except SystemExit as stopped:
        status = stopped.code
    lines = capsys.readouterr().err.splitlines()
    assert (status, len(lines)) == (2, 1), lines
    assert message in lines[0]


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match=r"preset must be one of paper-images, .*, got 'v5-13313-tiny'"):
        find("stage").config("v5-13313-tiny")


def family(name):
    return next(model for start, model in MODELS.items() if name.startswith(start))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six clips with control videos, and six pictures."""
    folder = make_data(tmp_path_factory.mktemp("stages") / "clips", side=32, frames=20, rows=6)
    rng = np.random.default_rng(1)
    rows = []
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
        rows.append({"file_path": f"{number}.png", "text": f"picture {number}", "type": "image"})
    (folder / "pictures.json").write_text(json.dumps(rows))
    return folder


def train(name, data, tmp_path):
    torch.manual_seed(0)
    model = make_tiny(family(name), tmp_path / "model")
    rows = "pictures.json" if "images" in name else "metadata.json"
    options = ["--preset", f"{name}-tiny", "--device", "cpu", "--output", str(tmp_path / "run")]
    return main(
        ["stage", *options, "--model", str(model), "--data", str(data / rows), "--set", "loop.steps=2"]
    )


@pytest.mark.parametrize("name", ["v5.1-13312"])
def test_a_tiny_stage_trains(name, data, tmp_path, capsys):
    assert train(name, data, tmp_path) == 0, capsys.readouterr().err
    assert list((tmp_path / "run/export").glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in STAGE_NAMES if name != "v5.1-13312"])
def test_every_tiny_stage_trains(name, data, tmp_path, capsys):
    if name.startswith("open-sora"):
        data = _wide(data, tmp_path)
    assert train(name, data, tmp_path) == 0, capsys.readouterr().err
    assert list((tmp_path / "run/export").glob("*.safetensors"))


def _wide(data, tmp_path):
    """Clips and pictures of the smallest size that Open-Sora has a bucket for."""
    folder = make_data(tmp_path / "wide", side=256, frames=20, rows=3)
    for number in range(6):
        Image.open(data / f"{number}.png").resize((256, 256)).save(folder / f"{number}.png")
    (folder / "pictures.json").write_text((data / "pictures.json").read_text())
    return folder
