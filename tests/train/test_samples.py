"""Clips of a model in training: what is written, that nothing else changes, and what cannot be made."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ea_data.media import read_video, write_video
from ea_dit.lora import LoraUse
from ea_dit.pipelines import GenerationPipeline, GenerationRequest, load_pipeline
from ea_train import cli
from ea_train.loop import trainer as trainer_module
from ea_train.loop.norms import block_of
from ea_train.panels import contact_sheet, grid_frames
from ea_train.recipes import find
from ea_train.samples import Panel, SampleConfig

PROMPTS = "samples.prompts=[a red circle, 一个红色的圆]"
QUICK = ("samples.num_steps=2", "loop.validate_every=2")


def run(recipe, output, model, data, *sets):
    options = [part for value in sets for part in ("--set", value)]
    places = ["--model", str(model), "--data", str(data), "--output", str(output)]
    return cli.main([recipe, "--preset", "tiny", "--device", "cpu", *places, *options])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def facts(folder, step):
    return json.loads((folder / f"samples/step-{step:06d}.json").read_text())


def final(folder):
    return {path.name: load_file(path) for path in sorted((folder / "export").glob("*.safetensors"))}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[file][name]) for file in one for name, value in one[file].items())


@pytest.mark.parametrize("recipe", ["finetune", "finetune-lora"])
def test_training_gets_the_same_bits_with_and_without_clips(recipe, tiny_model, clips, tmp_path):
    model, data = tiny_model("v5.1-7b-inp"), clips()
    more = ("samples.num_steps=1", "samples.every=1", PROMPTS)
    few = ("loop.steps=2", "loop.validate_every=1", "loop.ema_decay=0.9")
    assert run(recipe, tmp_path / "with", model, data, *few, *more) == 0
    assert run(recipe, tmp_path / "without", model, data, *few) == 0
    assert same(final(tmp_path / "with"), final(tmp_path / "without"))
    steps = [f"step-{step:06d}{kind}" for step in (1, 2) for kind in (".json", ".mp4", ".png")]
    assert names(tmp_path / "with/samples") == steps
    assert not (tmp_path / "without/samples").exists()
    logs = [
        [{name: value for name, value in json.loads(line).items() if "loss" in name} for line in text]
        for text in ((tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("with", "without"))
    ]
    assert logs[0] == logs[1]


def test_the_clips_are_those_of_the_pipeline_with_the_export(tiny_model, clips, tmp_path, monkeypatch):
    """As anyone gets them later: the same prompt, seed and weights."""
    shown = []
    keep = "ea_train.loop.samples.grid_frames"
    monkeypatch.setattr(keep, lambda rows: shown.append(rows) or grid_frames(rows))
    model = tiny_model("v5.1-7b-inp")
    more = ("loop.ema_decay=0.5", "samples.negative_prompt=blue", "optim.lr=0.3")
    assert run("finetune-lora", tmp_path / "run", model, clips(), PROMPTS, "samples.num_steps=2", *more) == 0
    (rows,) = shown
    assert [[panel.label for panel in row] for row in rows] == [["before", "now"]] * 2
    request = GenerationRequest(
        prompt="a red circle", negative_prompt="blue", height=32, width=32, num_frames=5, num_steps=2, seed=43
    )
    use = LoraUse(path=tmp_path / "run/export/lora.safetensors")
    for panel, loras in zip(rows[0], ([], [use]), strict=True):
        pipeline = load_pipeline(model, dtype="float32", device="cpu", loras=loras)
        frames = pipeline(request).frames_uint8()[0].numpy()
        difference = np.abs(frames.astype(int) - panel.frames_THWC).max()
        assert difference <= 1, panel.label
    assert (rows[0][0].frames_THWC != rows[0][1].frames_THWC).any()


def test_a_continued_run_makes_no_clip_twice_and_loses_none(tiny_model, clips, tmp_path, monkeypatch):
    model, data, folder = tiny_model("v5.1-7b-inp"), clips(), tmp_path / "run"
    every = ("samples.every=1", "samples.num_steps=1", PROMPTS)
    every += ("loop.steps=3", "loop.checkpoint_minutes=0", "loop.keep_checkpoints=9")
    assert run("finetune", folder, model, data, *every) == 0
    films = {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
    for step in (2, 3):  # as if it had been killed after the clips of step 2, before its checkpoint
        shutil.rmtree(folder / "checkpoints" / f"step-{step:08d}")
    for path in (folder / "samples").glob("step-000003.*"):
        path.unlink()
    made, pipeline = [], GenerationPipeline.__call__
    monkeypatch.setattr(
        GenerationPipeline, "__call__", lambda self, request: made.append(request) or pipeline(self, request)
    )
    assert run("finetune", folder, model, data, *every) == 0
    assert len(made) == 2, "only those of step 3"
    sheets = {name: content for name, content in films.items() if not name.endswith(".mp4")}
    assert sheets == {name: (folder / "samples" / name).read_bytes() for name in sheets}
    # Clips of something else in the folder are not taken for this run's.
    made.clear()
    shutil.rmtree(folder / "checkpoints")
    assert run("finetune", folder, model, data, *every, "optim.lr=0.01") == 0
    assert len(made) == 6


@pytest.mark.parametrize(
    ("family", "controls", "condition"),
    [
        ("v5.1-7b-control", ("edges",), "video"),
        pytest.param("v5.1-7b-control", ("edges",), "picture", marks=pytest.mark.slow),
        ("v5.1-12b-camera", ("camera",), "pan left"),
        ("v5.1-7b-inp", (), "picture"),
    ],
)
def test_conditions_steer_the_clips(family, controls, condition, tiny_model, clips, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (9, 40, 48, 3), dtype=np.uint8)
    given = {"video": tmp_path / "given.mp4", "picture": tmp_path / "given.png"}
    write_video(given["video"], frames)
    Image.fromarray(frames[0]).save(given["picture"])
    value = json.dumps([str(given.get(condition, condition)), ""])
    more = (PROMPTS, f"samples.conditions={value}", "samples.num_steps=1", "loop.steps=1")
    assert run("finetune", tmp_path / "run", tiny_model(family), clips(*controls), *more) == 0
    found = facts(tmp_path / "run", 1)["clips"]
    assert [clip["condition"] for clip in found] == json.loads(value)
    assert read_video(tmp_path / "run/samples/step-000001.mp4").frames.shape[0] == 5


@pytest.mark.parametrize(
    ("family", "sets", "message"),
    [
        ("v5.1-7b-inp", ["samples.conditions=[a, b, c]"], "must be none or one for each prompt (2), got 3"),
        ("v5.1-7b-inp", ["samples.width=33"], "samples, prompt 1: width must be a multiple of 16"),
        ("v5.1-7b-inp", ["samples.every=-1"], "samples.every must be at least 0, got -1"),
        ("v5.1-7b-inp", ["samples.num_steps=0"], "samples, prompt 1: num_steps must be"),
        ("v5.1-7b-inp", ["samples.sampler=fast"], "samples, prompt 1: sampler must be one of"),
        ("v5.1-7b-inp", ["samples.conditions=[none.png, '']"], "prompt 1: cannot read none.png"),
        ("v5.1-7b-t2v", ["samples.conditions=[a.png, '']"], "a text model takes no conditions"),
        ("v5.1-7b-inp", ["loop.trackers=[paper]"], "loop.trackers must be some of tensorboard, wandb"),
    ],
)
def test_what_does_not_fit_is_said_before_weights_are_read(
    family, sets, message, tiny_model, clips, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(find("finetune"), "load_networks", lambda *given, **named: pytest.fail("read"))
    assert run("finetune", tmp_path / "run", tiny_model(family), clips(), PROMPTS, *sets) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_clips_that_fail_are_told_and_training_goes_on(tiny_model, clips, tmp_path, capsys, monkeypatch):
    modes = []

    def fail(self, request):
        modes.append(self.components.transformer.training)
        raise torch.OutOfMemoryError("no memory\nis left")

    monkeypatch.setattr(GenerationPipeline, "__call__", fail)
    model, data = tiny_model("v5.1-7b-inp"), clips()
    assert run("finetune-lora", tmp_path / "run", model, data, PROMPTS, *QUICK) == 0
    error = capsys.readouterr().err
    assert "step 2: no clips: no memory is left\n" in error
    assert "step 4: no clips: no memory is left\n" in error
    assert modes == [False, False]
    assert not (tmp_path / "run/samples").exists()
    assert run("finetune-lora", tmp_path / "plain", model, data, "loop.validate_every=2") == 0
    assert same(final(tmp_path / "run"), final(tmp_path / "plain")), "the LoRA has its strength again"


def test_a_folder_that_cannot_be_written_is_told(tiny_model, clips, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/samples").write_text("a file")
    more = (PROMPTS, "samples.num_steps=1", "loop.steps=1")
    assert run("finetune", tmp_path / "run", tiny_model("v5.1-7b-inp"), clips(), *more) == 0
    assert "step 1: no clips: " in capsys.readouterr().err


def test_networks_train_again_after_clips(tiny_model, clips, tmp_path):
    settings = find("finetune").config("tiny")
    samples = SampleConfig(prompts=("a red circle",), num_steps=1, num_frames=1, width=64)
    model = dataclasses.replace(settings.model, path=str(tiny_model("v5.1-7b-inp")))
    data = dataclasses.replace(settings.data, manifest=str(clips()))
    settings = dataclasses.replace(settings, samples=samples, model=model, data=data)
    task = find("finetune").build(settings, device=torch.device("cpu"))
    first = next(iter(task.transformer.children()))
    first.eval()
    before = [module.training for module in task.transformer.modules()]
    (panel,) = task.clips.make()[0]
    assert panel.frames_THWC.shape == (1, 32, 64, 3)
    assert [module.training for module in task.transformer.modules()] == before
    assert (task.clips.make()[0][0].frames_THWC == panel.frames_THWC).all()


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("columns", [1, 2])
def test_a_grid_holds_every_clip(count, columns):
    rng = np.random.default_rng(1)
    rows = [
        [
            Panel(
                caption="x" * 70 * row,
                label="now" * side,
                frames_THWC=rng.integers(0, 256, (3, 17, 31, 3), "u1"),
            )
            for side in range(columns)
        ]
        for row in range(count)
    ]
    film = grid_frames(rows)
    assert film.shape[0] == 3
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0
    factor = 5  # 31 pixels are shown as 128 at least
    small = film[:, 6 : 6 + 17 * factor : factor, 6 : 6 + 31 * factor : factor]
    assert (small == rows[0][0].frames_THWC).all()
    parts = {film[0, y : y + 17 * factor].tobytes() for y in range(film.shape[1] - 17 * factor)}
    for row in rows:
        for panel in row:
            line = panel.frames_THWC[0].repeat(factor, 0).repeat(factor, 1)[0].tobytes()
            assert any(line in part for part in parts)
    sheet = contact_sheet(rows)
    assert sheet.height >= count * columns * 17 * factor


def test_the_first_batch_is_drawn_once(tiny_model, clips, tmp_path):
    folder = tmp_path / "run"
    assert run("finetune", folder, tiny_model("v5.1-7b-control"), clips("edges"), "loop.steps=1") == 0
    found = json.loads((folder / "first-batch.json").read_text())
    assert (found["frames"], found["height"], found["width"]) == (5, 32, 32)
    assert len(found["captions"]) == found["clips"] >= 1
    with Image.open(folder / "first-batch.png") as picture:
        assert picture.height > found["clips"] * 2 * 168, "every clip with its control"
    (folder / "first-batch.png").unlink()
    assert run("finetune", folder, tiny_model("v5.1-7b-control"), clips("edges"), "loop.steps=2") == 0
    assert not (folder / "first-batch.png").exists(), "a continued run has no first batch"


def test_trackers_get_numbers_and_clips(tiny_model, clips, tmp_path, monkeypatch):
    told = []

    class Board:
        def numbers(self, step, values):
            told.append((step, sorted(values)))

        def clips(self, step, film, sheet):
            assert film.is_file()
            assert sheet.is_file()
            told.append((step, "clips"))

        def close(self):
            told.append("closed")

    monkeypatch.setattr(trainer_module, "open_trackers", lambda loop, directory, finished: [Board()])
    more = (PROMPTS, "samples.num_steps=1", "loop.steps=2", "loop.norms=blocks")
    assert run("finetune-lora", tmp_path / "run", tiny_model("v5.1-7b-inp"), clips(), *more) == 0
    assert told[-2:] == [(2, "clips"), "closed"]
    assert {"adapter_norm", "grad_norm_block/blocks.00", "grad_norm_block/blocks.01"} <= set(told[0][1])


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("blocks.3.attention.video.query.weight", "blocks.03"),
        ("blocks/11/mlp/up", "blocks.11"),
        ("patch_embed.weight", "patch_embed"),
        ("encoder.down.0.conv.weight", "encoder.down.00"),
    ],
)
def test_blocks_are_known_by_name(name, block):
    assert block_of(name) == block


def test_averages_follow_the_weights(toy, settings, trainer):
    run = trainer(toy(), settings({"steps": 3, "ema_decay": 0.5}))
    start = {name: value.clone() for name, value in run.ema.averages.items()}
    run.fit()
    assert all(not torch.equal(value, start[name]) for name, value in run.ema.averages.items())
