"""`scripts/train.py CONFIG` of Open-Sora: its config files are read and never run, and train."""

import json
from pathlib import Path

import pytest
from test_seed_commands import make_data

from ea_dit import load_transformer
from ea_train.compat.importing import import_flags
from ea_train.compat.parser import Launch
from ea_train.compat.python_config import read_python_config
from ea_train.compat.running import main
from ea_train.compat.runs import run_of
from ea_train.compat.settings import applied
from ea_train.recipes import find

BUCKETS = """
# the first stage
dataset = dict(type="VariableVideoTextDataset", data_path=None, num_frames=None, frame_interval=3,
               image_size=(None, None), transform_name="resize_crop")
bucket_config = {"144p": {1: (0.5, 48), 16: (1.0, 6)}, "256": {1: (0.5, 24), 64: (0.0, None)}}
mask_ratios = {"mask_no": 0.75, "mask_quarter_random": 0.125, "mask_image_head": 0.125}
num_workers = 4 * 2
"""
RUN = """
dtype = "bf16"
grad_checkpoint = False
plugin = "zero2"
sp_size = 1
model = dict(type="STDiT2-XL/2", from_pretrained=None, input_sq_size=512, qk_norm=True)
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", micro_batch_size=4)
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", model_max_length=200)
scheduler = dict(type="iddpm-speed", timestep_respacing="")
seed = 42
outputs = "outputs"
wandb = False
epochs = 2
log_every = 10
ckpt_every = 500
load = None
batch_size = None
lr = 2e-5
grad_clip = 1.0
"""


@pytest.fixture
def config(tmp_path):
    """Write a config file; its path."""

    def write(text):
        (tmp_path / "config.py").write_text(text)
        return str(tmp_path / "config.py")

    return write


def test_values_are_read(config):
    text = '"""About."""\nside: int = 256\nsize = (side // 2, -side)\n'
    text += 'model = dict(type="x", inner={"a": [1.5, None, True]})\nlr = 1e-4 * 2\n'
    found = read_python_config(Path(config(text)))
    assert found == {
        "side": 256,
        "size": (128, -256),
        "model": {"type": "x", "inner": {"a": [1.5, None, True]}},
        "lr": 2e-4,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os", "line 1: import is no assignment"),
        ("a = 1\nb = open('x').read()", "line 2: open('x').read() is no plain value"),
        ("a = missing", "line 1: missing is no plain value"),
        ("a, b = 1, 2", "line 1: (a, b) is no name"),
        ("a = 'x' * 9", "line 1: 'x' is no number"),
        ("a = 1 / 0", "line 1: division by zero"),
        ("a = {**{}}", "is no plain value"),
        ("a = {[]: 1}", "line 1: unhashable"),
        ("a = 9 ** 9 ** 9", "is no plain value"),
        ("a = (", "is no Python"),
    ],
)
def test_what_would_have_to_be_run_is_refused(text, message, config):
    with pytest.raises(ValueError, match=r"^\S+config.py") as caught:
        read_python_config(Path(config(text)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def run(path, *flags, processes=1):
    arguments = [path, "--data-path", "clips.csv", "--ckpt-path", "model", *flags]
    return run_of("opensora", arguments, Launch(processes=processes))


def test_a_config_with_buckets_fills_a_recipe(config):
    found = run(config(BUCKETS + RUN), "--seed", "7", processes=64)
    assert (found.recipe, found.epochs, str(found.output)) == ("finetune", 2, "outputs")
    settings = applied(find("finetune").config("gpu"), found.settings)
    recipe = settings.data.recipe
    assert recipe.buckets["144p"] == {1: (0.5, 48), 16: (1.0, 6)}
    assert recipe.buckets["256"][64] == (0.0, None)
    assert (recipe.clip.stride, recipe.masks.draw, recipe.masks.weights["mask_no"]) == (3, "frames", 0.75)
    assert (settings.model.path, settings.data.manifest, settings.data.root) == ("model", "clips.csv", ".")
    assert (settings.loop.seed, settings.loop.num_workers, settings.loop.ema_decay) == (7, 8, 0.9999)
    assert (settings.loop.sharding, settings.loop.checkpoint_every) == ("fsdp2", 500)
    assert (settings.optim.lr, settings.optim.max_grad_norm, settings.optim.weight_decay) == (2e-5, 1.0, 0.0)
    assert (settings.objective.loss, settings.objective.levels.density) == ("iddpm", "speed")
    notes = dict(found.notes)
    assert "is no folder here" in notes["vae.from_pretrained"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour = 1", "unknown key colour in the config"),
        ("scheduler = dict(type='edm')", "scheduler.type is 'edm'; allowed: iddpm, iddpm-speed"),
        ("dtype = 'int8'", "dtype is 'int8'; allowed: bf16, fp16, fp32"),
        ("image_size = (240, 426)", "dataset.image_size is (240, 426); allowed: (N, N), or a bucket_config"),
        ("bucket_config = {'144p': 3}", "bucket_config must be {resolution: {frames:"),
        ("mask_ratios = [1]", "mask_ratios must be a dict of numbers, got [1]"),
    ],
)
def test_mistakes_are_one_line(change, message, config, capsys):
    path = config(RUN + change)
    assert main("opensora", [path, "--data-path", "clips.csv", "--ckpt-path", "model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Open-Sora's train.py: error: ")
    assert message in line


def test_what_is_missing_is_named(config, capsys):
    path = config(RUN)
    assert main("opensora", [path, "--ckpt-path", "model"]) == 2
    assert "--data-path is missing" in capsys.readouterr().err
    assert main("opensora", [path, "--data-path", "clips.csv"]) == 2
    assert "--ckpt-path is missing" in capsys.readouterr().err
    assert main("opensora", ["nowhere.py", "--data-path", "clips.csv"]) == 2
    assert "nowhere.py cannot be read" in capsys.readouterr().err


def test_a_command_of_1_0_trains(config, tiny_model, tmp_path, capsys):
    data = make_data(tmp_path / "data", side=32, frames=8, rows=2)
    text = (
        RUN
        + f"""
num_frames = 5
frame_interval = 1
image_size = (32, 32)
use_image_transform = False
outputs = {str(tmp_path / "run")!r}
scheduler = dict(type="iddpm")
epochs = 1
num_workers = 0
batch_size = 2
"""
    )
    model = tiny_model("open-sora-1.0")
    flags = ["--ckpt-path", str(model), "--data-path", str(rooted(data)), "--batch-size", "1"]
    assert main("opensora", [config(text), *flags]) == 0, capsys.readouterr().err
    assert "step 2/2" in capsys.readouterr().err
    load_transformer(tmp_path / "run/export")


def rooted(data):
    """The manifest with paths from anywhere."""
    rows = json.loads((data / "metadata.json").read_text())
    for row in rows:
        row.pop("control_file_path")
        row["file_path"] = str(data / row["file_path"])
    (data / "rooted.json").write_text(json.dumps(rows))
    return data / "rooted.json"


def test_a_script_becomes_a_recipe(config):
    path = config(BUCKETS + RUN)
    shown = import_flags(
        f"torchrun --nproc_per_node=8 scripts/train.py {path} --data-path clips.csv --ckpt-path model", {}
    )
    assert "# ea-train finetune --output outputs --preset gpu" in shown
    assert "144p:" in shown
    assert "manifest: clips.csv  # --data-path" in shown
