"""`ea-train` from the outside: the recipes one by one and in one command, and what it says to a mistake."""

import contextlib
import io
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file

import ea_dit
import ea_vae
from ea_data.media import write_video
from ea_dit.pipelines import load_components
from ea_dit.text.bytes import load_byte_encoder
from ea_train import cli, latent_cache
from ea_train.bundle import bundle_model
from ea_train.loop import trainer as trainer_module
from ea_train.sources import ProceduralClips


@pytest.fixture
def fails(capsys):
    """Run the command, expect status 2 and return its one line."""

    def run(*arguments):
        try:
            status = cli.main(list(arguments))
        except SystemExit as stopped:
            status = stopped.code
        lines = capsys.readouterr().err.splitlines()
        assert (status, len(lines)) == (2, 1), lines
        return lines[0]

    return run


def _train(recipe, folder, *more):
    return cli.main([recipe, "--preset", "tiny", "--device", "cpu", "--output", str(folder), *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What `ea-train default` makes, and what it says."""
    folder = tmp_path_factory.mktemp("default")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(latent_cache, "SHARD_CLIPS", 8)
        patch.setattr(trainer_module, "open_trackers", lambda loop, directory, finished: [])
        with contextlib.redirect_stdout(said):
            assert _train("default", folder, *FEWER) == 0
    return folder, said.getvalue()


FEWER = ["--set", "text.loop.steps=2", "--set", "dit_pictures.loop.steps=1", "--set", "dit.loop.steps=2"]


def test_one_command_makes_the_whole_model(whole):
    folder, said = whole
    assert [line for line in said.splitlines() if line.startswith("==")] == [
        "== default-pictures",
        "== default-vae",
        "== default-text",
        "== default-dit-pictures",
        "== default-dit",
    ]
    assert f"ea-app generate PROMPT --model {folder / 'model'}" in said
    assert load_components(folder / "model", dtype="float32", device="cpu").text_encoder is not None
    training = json.loads((folder / "model/training.json").read_text())
    assert training["preset"] == "tiny"
    assert training["dit"]["steps"] == 2
    assert training["vae"]["val/psnr"] > 0


def test_started_again_it_finds_everything_finished(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 8)
    folder = shutil.copytree(whole[0], tmp_path / "again")
    weights = {path: path.read_bytes() for path in (folder / "model").rglob("*.safetensors")}
    assert _train("default", folder, *FEWER) == 0
    assert all(path.read_bytes() == content for path, content in weights.items())


def _parts(whole):
    return ["--vae", str(whole[0] / "vae/export"), "--text", str(whole[0] / "text/export")]


def test_recipes_alone_make_a_model(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 8)
    parts = _parts(whole)
    assert _train("default-dit", tmp_path / "dit", *parts) == 0
    shown = capsys.readouterr()
    assert "latents: shard 1/1" in shown.err
    assert "step 4/4" in shown.err
    assert f"exported to {tmp_path / 'dit/export'}" in shown.out
    ea_vae.load_vae(whole[0] / "vae/export")
    load_byte_encoder(whole[0] / "text/export")
    ea_dit.load_transformer(tmp_path / "dit/export")
    (weights,) = (tmp_path / "dit/export").glob("*.safetensors")
    with safe_open(weights, framework="pt") as file:
        facts = file.metadata()
    assert (facts["recipe"], facts["preset"], facts["steps"]) == ("default-dit", "tiny", "4")
    assert float(facts["val/loss"]) > 0
    size = bundle_model(
        vae=whole[0] / "vae/export",
        text=whole[0] / "text/export",
        transformer=tmp_path / "dit/export",
        output=tmp_path / "model",
        info={"name": "tiny"},
        training={"steps": 4},
    )
    assert size == sum(path.stat().st_size for path in (tmp_path / "model").rglob("*.safetensors"))
    assert load_components(tmp_path / "model", dtype="float32", device="cpu").text_encoder is not None
    # Finished runs answer at once and export again; another setting is another run.
    assert _train("default-dit", tmp_path / "dit", *parts) == 0
    assert _train("default-dit", tmp_path / "dit", *parts, "--set", "loop.seed=1") == 2
    assert "loop.seed is 1, but the run in" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_starts_from_an_export(whole, tmp_path, capsys):
    short, folder = ["--set", "loop.steps=1"], whole[0]
    assert _train("default-vae", tmp_path / "more", *short, "--init", str(folder / "vae/export")) == 0
    assert _train("default-text", tmp_path / "text2", *short, "--init", str(folder / "text/export")) == 0
    capsys.readouterr()
    export = folder / "pictures/export"
    both = ["--pictures", str(export), "--init", str(export)]
    assert _train("default-vae", tmp_path / "both", *both) == 2
    assert "--pictures and --init: give one of them" in capsys.readouterr().err
    wider = ["--set", "channels=[8, 8, 8, 16]", "--init", str(export)]
    assert _train("default-vae", tmp_path / "wider", *wider) == 2
    assert "export does not fit these settings: decoder.conv_in" in capsys.readouterr().err.splitlines()[-1]


def test_two_runs_do_not_share_a_folder(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run/.lock"):
        assert _train("default-text", tmp_path / "run") == 2
    assert f"{tmp_path / 'run'} is in use by another run" in capsys.readouterr().err


def test_own_footage(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 8)
    rows = []
    for name in ("one", "two"):
        noise = np.random.default_rng(len(rows)).integers(0, 255, (7, 24, 32, 3)).astype(np.uint8)
        write_video(tmp_path / f"{name}.mp4", noise, fps=8)
        rows.append({"file_path": f"{name}.mp4", "text": f"clip {name}", "type": "video"})
    manifest = tmp_path / "clips.json"
    manifest.write_text(json.dumps(rows))
    short = ["--data", str(manifest), "--set", "loop.steps=1"]
    assert _train("default-vae", tmp_path / "vae", *short) == 0
    parts = ["--vae", str(tmp_path / "vae/export"), "--text", str(whole[0] / "text/export")]
    assert _train("default-dit", tmp_path / "dit", *parts, *short) == 0


def test_a_caption_that_no_encoder_reads_is_named(whole, tmp_path, capsys):
    write_video(tmp_path / "clip.mp4", np.zeros((5, 16, 16, 3), dtype=np.uint8), fps=8)
    row = {"file_path": "clip.mp4", "text": "word " * 60, "type": "video"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    capsys.readouterr()
    assert _train("default-dit", tmp_path / "dit", *_parts(whole), "--data", str(tmp_path / "m.jsonl")) == 2
    assert "m.jsonl:1: prompt is 300 bytes" in capsys.readouterr().err


def test_a_dry_run_prints_the_settings_and_makes_nothing(tmp_path, capsys):
    assert _train("default-dit", tmp_path / "run", "--dry-run", "--set", "loop.steps=9") == 0
    assert json.loads(capsys.readouterr().out)["loop"]["steps"] == 9
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["default-vae", "--set", "loop.stepz=1"], "config.loop: unknown key 'stepz'"),
        (["default-vae", "--set", "loop.steps"], "write it as name=value"),
        (["default-vae", "--set", "loop.steps=x"], "config.loop.steps: expected int"),
        (["default-vae", "--device", "tpu"], "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        (["default-vae", "--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["default-vae", "--device", "meta"], "device 'meta' computes nothing"),
        (["default-vae", "--preset", "huge"], "argument --preset: invalid choice: 'huge'"),
        (["default-vae", "--data", "nothing.json"], "nothing.json"),
        (["default-vae", "--vae", "x"], "unrecognized arguments: --vae x"),
        (["default-dit"], "--vae: give the folder that `ea-train default-vae` exported to"),
        (["default-dit", "--vae", "x"], "--text: give the folder that `ea-train default-text` exported to"),
        (["default-dit", "--vae", "x", "--text", "y"], "no such file"),
        (["everything"], "invalid choice: 'everything'"),
        (["default", "--init", "x"], "unrecognized arguments: --init x"),
        (["default", "--set", "loop.steps=1"], "override 'loop.steps': 'loop' is not a group of settings"),
        (["default-dit", "--init", "x"], "--vae: give the folder"),
        (["default-vae", "--init", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, fails, tmp_path):
    preset = [] if arguments == ["everything"] or "--preset" in arguments else ["--preset", "tiny"]
    line = fails(*arguments, *preset, "--output", str(tmp_path / "run"))
    assert line.startswith("ea-train")
    assert message in line


def test_a_mistake_that_a_worker_finds_is_one_line_too(fails, tmp_path, monkeypatch):
    def broken(self, index, **size):
        raise ValueError("clip.mp4 is damaged")

    monkeypatch.setattr(ProceduralClips, "clip", broken)
    options = ["--preset", "tiny", "--device", "cpu", "--set", "loop.num_workers=1"]
    line = fails("default-vae", *options, "--output", str(tmp_path / "run"))
    assert line == "ea-train: error: ValueError: clip.mp4 is damaged"
    assert multiprocessing.active_children() == []  # or the process would wait for them when it ends


def test_no_recipe_is_a_mistake(fails):
    assert "RECIPE" in fails()


def test_help_needs_no_torch():
    code = (
        "import sys; from ea_train import cli\n"
        "try: cli.main(['default-dit', '--help'])\n"
        "finally: print(sorted({'torch', 'yaml', 'numpy'} & sys.modules.keys()))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    assert "--vae DIR" in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_kill_9_costs_nothing(tmp_path):
    options = ["--preset", "tiny", "--device", "cpu", "--set", "loop.checkpoint_minutes=0"]
    arguments = ["default-vae", *options, "--set", "loop.steps=8", "--output"]
    code = "import sys; from ea_train.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments, str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 3/"):
                process.kill()
                break
    assert not (tmp_path / "killed/export").exists()
    assert cli.main([*arguments, str(tmp_path / "killed")]) == 0
    assert cli.main([*arguments, str(tmp_path / "straight")]) == 0
    last = "checkpoints/step-00000008"
    for path in sorted((tmp_path / "straight" / last).glob("*.safetensors")):
        expected, found = load_file(path), load_file(tmp_path / "killed" / last / path.name)
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert (tmp_path / "straight/tensorboard").is_dir()
