"""The released commands run as they are, on tiny models and a generated data set."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ea_dit
from ea_data.media import write_video
from ea_dit.pipelines.tiny import make_tiny
from ea_train.compat.command import read_commands
from ea_train.compat.running import launch_of, main

COMMANDS = Path(__file__).parent / "commands"
CONTROL = (
    "train_control_v5.1",
    "train_control_v5.1_deepspeed",
    "train_control_v5",
    "train_control_v5_deepspeed",
)
TINY = {
    "EasyAnimateV5.1-12b-zh-Control": "v5.1-12b-control",
    "EasyAnimateV5-12b-zh-Control": "v5-12b-control",
}


def make_data(folder, *, side, frames, rows=2):
    """Clips of noise, each with another one that steers it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    found = []
    for number in range(rows):
        for name in (f"clip{number}.mp4", f"control{number}.mp4"):
            write_video(folder / name, rng.integers(0, 255, (frames, side, side, 3), np.uint8), fps=8)
        row = {"file_path": f"clip{number}.mp4", "control_file_path": f"control{number}.mp4"}
        found.append({**row, "text": f"noise {number}", "type": "video"})
    (folder / "metadata.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands name: models, data, DeepSpeed's settings."""
    folder = tmp_path_factory.mktemp("seed")
    for name, family in TINY.items():
        make_tiny(family, folder / "models/Diffusion_Transformer" / name)
    make_data(folder / "datasets/internal_datasets", side=256, frames=16)
    (folder / "config").mkdir()
    (folder / "config/zero_stage2_config.json").write_text('{"zero_optimization": {"stage": 2}}')
    return folder


def command_line(name):
    """The command behind a script's variables, with our module in the place of its file."""
    (command,) = read_commands((COMMANDS / f"{name}.sh").read_text(), {})
    options = [word for pair in command.launcher.items() for word in pair if word]
    deepspeed = "--use_deepspeed" in options
    if deepspeed and importlib.util.find_spec("deepspeed") is None:
        # What accelerate would say to the process if DeepSpeed were there to be asked for.
        said = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
        return ["-m", f"ea_train.compat.{command.script}", *command.arguments], said
    # Without a GPU, accelerate would start DeepSpeed with no process at all.
    options += ["--num_processes", "1"] if deepspeed else []
    launch = ["-m", "accelerate.commands.launch", *options, "-m", f"ea_train.compat.{command.script}"]
    return [*launch, *command.arguments], {}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CONTROL)
def test_a_control_command_runs_as_it_is(name, place, tmp_path):
    pytest.importorskip("accelerate")
    arguments, said = command_line(name)
    # A tiny model has no need of eight readers of files, and a test none of a hundred epochs.
    fewer = ["--max_train_steps", "1", "--dataloader_num_workers", "0", "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *arguments, *fewer],
        cwd=place,
        env={**os.environ, **said, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"exported to {tmp_path / 'out/export'}" in done.stderr
    exported = ea_dit.load_transformer(tmp_path / "out/export", dtype=torch.float32)
    assert all(torch.isfinite(parameter).all() for parameter in exported.parameters())


SMALL = [
    "--image_sample_size=32", "--video_sample_size=32", "--token_sample_size=32", "--video_sample_n_frames=5",
    "--video_sample_stride=1", "--video_repeat=1", "--train_batch_size=1", "--seed=1", "--enable_bucket",
    "--learning_rate=1e-3", "--loss_type=flow",
]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tiny control model and clips of 32 x 32."""
    folder = tmp_path_factory.mktemp("small")
    make_tiny("v5.1-7b-control", folder / "model")
    make_data(folder / "data", side=32, frames=8, rows=3)
    return folder


def flags(small, out, *more):
    named = [
        f"--pretrained_model_name_or_path={small / 'model'}",
        f"--train_data_dir={small / 'data'}",
        f"--train_data_meta={small / 'data/metadata.json'}",
        f"--output_dir={out}",
    ]
    return [*named, *SMALL, *more]


def test_parts_learn_for_so_many_epochs(small, tmp_path, capsys):
    words = ["--train_mode=control_ref", "--trainable_modules", "proj_out", "--num_train_epochs=2"]
    more = ["--gradient_accumulation_steps=2", "--checkpointing_steps=2", "--config_path=config/absent.yaml"]
    assert main("train_control", flags(small, tmp_path / "run", *words, *more)) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "train_control.py: 21 flags as settings of `ea-train finetune`" in shown.err
    assert "--config_path: the directory of the model says itself" in shown.err
    assert "step 4/4" in shown.err  # two epochs of three batches, two of them to a step
    settings = json.loads((tmp_path / "run/config.json").read_text())
    assert settings["loop"]["steps"] == 4
    assert settings["optim"]["clipping"] == "abnormal"
    assert (tmp_path / "run/facts.json").is_file()
    before = _weights(small / "model/transformer")
    after = _weights(tmp_path / "run/export")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "proj_out" in name}
    checkpoints = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert checkpoints == ["step-00000002", "step-00000004"]
    # The same command finds its run finished.
    assert main("train_control", flags(small, tmp_path / "run", *words, *more)) == 0


def test_a_lora(small, tmp_path, capsys):
    shutil.copytree(small / "data", tmp_path / "data")
    make_tiny("v5.1-7b-inp", tmp_path / "model")
    words = ["--rank=2", "--network_alpha=1", "--train_mode=inpaint", "--max_train_steps=1"]
    assert main("train_lora", flags(tmp_path, tmp_path / "run", *words)) == 0, capsys.readouterr().err
    (file,) = (tmp_path / "run/export").glob("*.safetensors")
    names = load_file(file)
    assert any(name.startswith("lora_unet_") for name in names)


def _weights(folder):
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainable_modules", ".", "--loss_type=ddpm"], "objective.loss 'ddpm' does not fit the model"),
        (["--trainable_modules", ".", "--train_mode=control"], "conditions.mode must be auto or control_ref"),
        (["--trainable_modules", "no_such"], "no_such"),
        (["--trainable_modules", ".", "--train_data_meta=nowhere.json"], "nowhere.json"),
        (["--trainable_modules", ".", "--lr_scheduler=sqrt"], "optim.lr_scheduler: 'sqrt' is not one of"),
        ([], "train_control.py: error: --trainable_modules is missing"),
        (["--trainable_modules", ".", "--sead=1"], "error: unknown flag --sead; did you mean '--seed'?"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, message, small, tmp_path, capsys):
    mode = [] if "--train_mode=control" in words else ["--train_mode=control_ref"]
    assert main("train_control", flags(small, tmp_path / "run", *mode, "--max_train_steps=1", *words)) == 2
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("train_control.py: error")
    ]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "run/checkpoints").exists()


def test_other_processes_say_only_what_is_wrong(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    words = ["--trainable_modules", ".", "--train_mode=control_ref", "--lr_scheduler=sqrt"]
    assert main("train_control", flags(small, tmp_path / "run", *words)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train_control.py: error: ")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, None, False)),
        ({"WORLD_SIZE": "8", "ACCELERATE_MIXED_PRECISION": "bf16"}, (8, "bf16", False)),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, (1, None, True)),
    ],
)
def test_what_launchers_say(environment, expected):
    launch = launch_of(environment)
    assert (launch.processes, launch.precision, launch.deepspeed) == expected


def test_a_world_of_nobody_is_refused():
    with pytest.raises(ValueError, match="WORLD_SIZE must be a number from 1, got '0'"):
        launch_of({"WORLD_SIZE": "0"})
