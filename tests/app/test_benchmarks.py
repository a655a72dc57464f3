"""The benchmarks: their gates, their metrics, and one run on a tiny model."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks' folder, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (file := getattr(sys.modules[name], "__file__", None)) and Path(file).parent == FOLDER:
            del sys.modules[name]


def test_every_benchmark_can_be_run(load):
    for benchmark in load("registry").BENCHMARKS.values():
        module = load(benchmark.module)
        assert callable(module.add_arguments)
        assert callable(module.run)
        assert all((bar.least is None) != (bar.most is None) for bar in benchmark.bars)


def test_metrics(load):
    metrics = load("metrics")
    assert load("vae_reconstruction")._check_metrics()["psnr_of_a_step"] == 48.1308
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    little = np.clip(clip.astype(int) + rng.integers(-5, 6, clip.shape), 0, 255).astype(np.uint8)
    much = np.clip(clip.astype(int) + rng.integers(-90, 91, clip.shape), 0, 255).astype(np.uint8)
    assert metrics.psnr(clip, clip) > metrics.psnr(clip, little) > metrics.psnr(clip, much)
    assert 1 > metrics.ssim(clip, little) > metrics.ssim(clip, much) > 0


def test_following_is_told_from_pixels(load):
    from ea_data.synthetic.clips import draw

    following, scenes = load("following"), load("scenes")
    clips = [draw(s, num_frames=9, height=64, width=64) for s in scenes.held_out(4, 1)]
    lines = [following.edges(clip.frames) for clip in clips]
    assert following.edge_f1(lines[0], lines[0]) == 1
    assert following.edge_f1(np.roll(lines[0], 1, axis=2), lines[0]) == pytest.approx(1, abs=0.02)
    assert following.edge_f1(np.roll(lines[0], 4, axis=2), lines[0]) < 0.6
    assert following.edge_f1(lines[0], lines[1]) < 0.5
    nothing = np.zeros_like(lines[0])
    assert (following.edge_f1(nothing, nothing), following.edge_f1(nothing, lines[0])) == (1, 0)
    for clip in clips:
        path, track = following.path_of(clip.frames), clip.tracks[0]
        assert following.path_error(path, np.stack([track.x, track.y], axis=1), 64) < 2
    path = following.path_of(clips[0].frames)
    assert following.path_error(path + np.array([3, 4]), path, 64) == pytest.approx(5)
    blank = following.path_of(np.zeros_like(clips[0].frames))
    assert following.path_error(blank, path, 64) == 32
    assert np.isnan(following.path_error(path, blank, 64))


def test_following_needs_a_model_that_can(load, monkeypatch, tiny_model, tmp_path, capsys):
    for name in ("control_following", "camera_following"):
        arguments = ["run.py", name, "--model", str(tiny_model), "--device", "cpu", "--count", "1"]
        monkeypatch.setattr(sys, "argv", [*arguments, "--result", str(tmp_path / "r.json")])
        assert load("run").main() == 3
        assert "--model must be a" in capsys.readouterr().err


def test_ground_truth_is_judged_right_and_mistakes_are_counted(load):
    scenes = load("scenes")
    chosen = scenes.held_out(6, 1)
    assert {scene.language for scene in chosen} == {"en", "zh"}
    assert min(scenes.check_judge(chosen, 9, 64, 64).values()) == 1
    clips = [scenes.clip_of(scene, 9, 64, 64) for scene in chosen]
    seen = [scenes.look(scene, clip) for scene, clip in zip(chosen, [*clips[:3], *clips[:3]], strict=True)]
    assert 0.5 <= scenes.rates(seen)["all_three"] < 1
    assert sum(scenes.confusion(seen)["colour"].values()) + sum(scenes.confusion(seen)["shape"].values()) > 0
    blank = scenes.look(chosen[0], np.zeros_like(clips[0]))
    assert blank.found == scenes.NOTHING


def test_a_judge_that_fails_gives_no_number(load, monkeypatch):
    scenes = load("scenes")
    monkeypatch.setattr(scenes, "clip_of", lambda *_: np.zeros((5, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(load("report").GateError, match="the judge must be right in 99%"):
        scenes.check_judge(scenes.held_out(2, 0), 5, 32, 32)


def test_a_run_writes_its_result(load, monkeypatch, tmp_path, tiny_model, capsys):
    arguments = ["prompt_following", "--model", tiny_model, "--count", 3, "--batch", 2, "--device", "cpu"]
    arguments += ["--size", "64", "--frames", 9, "--steps", 1, "--sheet", tmp_path / "sheet.png"]
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments), "--result", str(tmp_path / "r.json")])
    assert load("run").main() == 1
    result = json.loads((tmp_path / "r.json").read_text())
    assert {"colour", "shape", "motion", "all_three", "seconds_per_clip"} == set(result["figures"])
    assert result["bars"]["colour"] == {"bar": ">= 0.95", "passed": False}
    assert result["gate"]["judge_shape"] == 1
    assert result["model"]["name"] == "tiny"
    assert set(result["details"]["by_language"]) == {"en", "zh"}
    assert (tmp_path / "sheet.png").stat().st_size < 500_000
    assert "MISSED" in capsys.readouterr().out


def test_batches_start_from_the_noise_of_their_own_seeds(load):
    import torch

    sampling = load("sampling")
    both = sampling._noise_of([1, 2])((2, 3, 4))
    alone = torch.randn((1, 3, 4), generator=torch.Generator().manual_seed(2))
    assert torch.equal(both[1:], alone)


def test_the_model_card_shows_what_was_measured(load, tmp_path):
    card = load("model_card")
    (tmp_path / "prompt_following.json").write_text(json.dumps({"figures": {"colour": 0.96, "shape": 0.5}}))
    rows = card.table(tmp_path)
    assert "| colour of held-out prompts | ≥ 95.0 % | 96.0 % | reached |" in rows
    assert "| shape of held-out prompts | ≥ 90.0 % | 50.0 % | missed |" in rows
    assert "| motion of held-out prompts | ≥ 90.0 % | not measured | |" in rows
    old = f"before\n{card.FIRST}\nold\n{card.LAST}\nafter\n"
    assert card.rewrite(old, rows) == f"before\n{card.FIRST}\n{rows}\n{card.LAST}\nafter\n"
    with pytest.raises(ValueError, match="has no '<!-- figures -->'"):
        card.rewrite("nothing here", rows)
    (tmp_path / "control_following.json").write_text('{"figures": {"edge_f1": 0.8, "edge_f1_none": 0.2}}')
    rows = card.table(tmp_path, card.CARDS["default-control"])
    assert "| edges given: F1, one pixel off allowed | ≥ 70.0 % | 80.0 % | reached |" in rows
    assert "| no edges given | | 20.0 % | |" in rows
    assert "| trajectory given: mean distance at 64x64 | ≤ 3.0 pixels | not measured | |" in rows
    assert card.FIRST in (card.ASSETS / "default" / "model_card.md").read_text(encoding="utf-8")


def run_of(load, monkeypatch, tmp_path, *arguments):
    """Exit code and result of a benchmark without a model."""
    result = tmp_path / "r.json"
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments), "--result", str(result)])
    code = load("run").main()
    return code, json.loads(result.read_text()) if result.exists() else None


def test_the_order_of_batches_is_measured(load, monkeypatch, tmp_path):
    code, result = run_of(load, monkeypatch, tmp_path, "batch_order", "--rows", 20_000, "--repeats", 1)
    assert code == 0
    assert min(result["gate"].values()) == 1
    assert set(result["gate"]) == {"every_row_once", "one_bucket_per_batch", "shuffled", "continues"}
    assert result["figures"]["plan_seconds"] > 0
    assert result["details"]["aspects"][0]["batches"] == 20_000
    assert result["model"] == {}


def test_masks_are_measured(load, monkeypatch, tmp_path):
    arguments = ("mask_shapes", "--frames", 3, "--side", 64, "--repeats", 3)
    code, result = run_of(load, monkeypatch, tmp_path, *arguments)
    assert code in (0, 1)
    assert result["gate"] == {"same_masks": 1.0}
    assert result["figures"]["disc_times"] > 1
    assert result["figures"]["small_boxes_milliseconds"] > 0


def test_shared_convolutions_are_measured(load, monkeypatch, tmp_path):
    arguments = ("shared_convolutions", "--cases", "128x64", "--turns", 1)
    code, result = run_of(load, monkeypatch, tmp_path, *arguments)
    assert code in (0, 1)
    assert result["gate"]["alike_shared_error"] < result["gate"]["alike_direct_error"]
    assert result["figures"]["128x64_times"] > 0
    monkeypatch.setattr("ea_kernels.ops.conv3d", lambda x, weight, padding: x[:, :, 2:])
    code, result = run_of(load, monkeypatch, tmp_path / "wrong", *arguments)
    assert (code, result) == (3, None)


def test_wrong_orders_and_masks_give_no_number(load, monkeypatch, tmp_path):
    order, masks = load("batch_order"), load("mask_shapes")
    monkeypatch.setattr(
        order, "aspect_bucket_ids", lambda video, height, width: np.arange(len(video)) % 7 + video
    )
    monkeypatch.setattr(order.BatchOrder, "epoch", lambda self, epoch: self._make(0))
    assert order._check()["continues"] == 1
    monkeypatch.setattr(order, "_continues", lambda order: False)
    with pytest.raises(load("report").GateError, match="the order of batches is wrong"):
        order._check()
    monkeypatch.setattr(masks, "disc_mask", lambda size, **_: np.zeros(size, bool))
    code, result = run_of(
        load, monkeypatch, tmp_path, "mask_shapes", "--frames", 1, "--side", 32, "--repeats", 1
    )
    assert (code, result) == (3, None)


@pytest.mark.parametrize(("flipped", "code"), [(0, 0), (1, 3)])
def test_conversion_is_measured(load, monkeypatch, tmp_path, flipped, code):
    from ea_dit.pipelines.tiny import TINY

    conversion = load("conversion")
    monkeypatch.setattr(conversion, "PRESETS", {"v5.1-7b-inp": TINY["v5.1-7b-inp"].config})

    def here(work, *given):
        work(*given)
        for file in given[1].glob("transformer/*.safetensors") if "diffusers" in given else ():
            content = bytearray(file.read_bytes())
            content[-1] ^= flipped
            file.write_bytes(content)
        return {"seconds": 1.0, "gigabytes": 1.0}

    monkeypatch.setattr(conversion, "_alone", here)
    arguments = ("conversion", "--blocks", 0, "--shard-gb", 1e-4)
    found, result = run_of(load, monkeypatch, tmp_path, *arguments)
    assert found == code
    if not flipped:
        assert result["gate"] == {"same_bits": 1.0}
        assert result["settings"]["files"] > 1
        assert result["figures"]["peak_gigabytes"] == 1


def test_signals_are_measured(load, monkeypatch, tmp_path):
    pytest.importorskip("cv2")
    arguments = ("control_signals", "--side", 64, "--frames", 4, "--network-frames", 1)
    monkeypatch.setattr(load("control_signals"), "NETWORKS", {})
    code, result = run_of(load, monkeypatch, tmp_path, *arguments)
    assert code == 0
    assert result["gate"] == {"same_alone": 1.0}
    assert min(result["figures"].values()) > 1


def test_two_programs_in_turns_are_compared_turn_by_turn(load):
    turns = load("turns")
    ours = [turns.Sample(1.0, 2.0, 0.5), turns.Sample(2.0, 2.0, 0.75), turns.Sample(1.0, 1.0, 0.5)]
    theirs = [turns.Sample(2.0, 3.0, 1.0), turns.Sample(4.0, 4.0, 1.5), turns.Sample(3.0, 1.0, 1.0)]
    found = turns.Turns(ours, theirs)
    assert found.figures("pass") == {
        "pass_ratio": 2.0,
        "pass_processor_ratio": 1.5,
        "pass_seconds": 1.0,
        "pass_peer_seconds": 3.0,
        "pass_memory_ratio": 0.5,
    }
    assert found.details()["ratio"] == {
        "median": 2.0, "mean": 2.33333, "p10": 2.0, "p20": 2.0, "p80": 3.0, "p90": 3.0
    }  # fmt: skip


def test_programs_that_compute_something_else_are_not_timed(load):
    import torch

    turns, report = load("turns"), load("report")

    class Program:
        def __init__(self, result):
            self.result_ = result

        def submit(self, *_):
            return self

        def result(self):
            return self.result_

    same, other = Program(torch.tensor([1.0, 4.0])), Program(torch.tensor([1.0, 4.4]))
    assert turns.Pair(same, same).check("case", most=0.0) == 0
    with pytest.raises(report.GateError, match=r"case: the results differ by 0\.091, more than 0\.0001"):
        turns.Pair(same, other).check("case", most=1e-4)
    with pytest.raises(report.GateError, match="shapes"):
        turns.Pair(same, Program(torch.zeros(3))).check("case", most=1e-4)


def test_a_suite_writes_a_page(load, tmp_path):
    suite = load("suite")
    spread = {"median": 2.0, "mean": 2.0, "p10": 1.9, "p20": 1.95, "p80": 2.05, "p90": 2.1}
    case = {
        "ratio": spread,
        "seconds": spread,
        "peer_seconds": spread,
        "turns": 3,
        "peer_peak_gigabytes": 1.5,
    }
    result = {
        "date": "2026-01-02T00:00:00",
        "figures": {"encode_memory_ratio": 0.8},
        "bars": {"encode_ratio": {"bar": ">= 2.5", "passed": False}},
        "settings": {"threads": 2},
        "machine": {"processor": "some processor"},
        "versions": {"torch": "2"},
        "details": {"encode": case, "loaded": True, "load_average": [3.0, 2.0, 1.0]},
    }
    (tmp_path / "vae_speed.json").write_text(json.dumps(result))
    page = suite.describe("cpu", ["vae_speed", "mmdit_forward"], tmp_path)
    assert "2026-01-02, some processor, 2 threads, **on a loaded machine**; torch 2." in page
    assert (
        "| encode | 3 | 2.00 (1.95-2.05) | 2.000 | 2.000 | 0.80 of 1.50 GB | ratio >= 2.5: **missed** |"
        in page
    )
    assert "## mmdit_forward\n\nNot measured." in page


def test_a_kernel_earns_its_place_by_winning_at_every_size(load, monkeypatch):
    import torch

    from ea_kernels.triton_ops.measured import Measurement

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    seconds = {
        "gelu": {"torch": 3.0, "triton": 2.0},
        "gated_residual": {"torch": 2.0, "triton": 2.0},
        "attention 3584": {"torch": 2.0, "cudnn": 1.5, "triton": 1.0},
        "attention 13568": {"torch": 2.0, "cudnn": 1.2, "triton": 1.0},
        "norm_heads": {"torch": 2.0},
    }
    rows = [
        {"what": what, "backend": backend, "median": median}
        for what, medians in seconds.items()
        for backend, median in medians.items()
    ]
    rows.append({"what": "attention 3584", "backend": "flash3"})
    found = load("gpu_suite").earned(rows, torch.device("cuda"), "a test")
    entries = {entry.kernel: entry for entry in map(Measurement.from_dict, found)}
    assert set(entries) == {"gelu", "attention"}
    assert (entries["attention"].gain, entries["attention"].against) == (1.2, "cudnn")
    assert entries["gelu"].dtypes == (torch.bfloat16,)
