"""Several processes that train one model: the same numbers as one, wherever the run goes on."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tests.train import ranks

from ea_dit.text.bytes import load_byte_encoder
from ea_train.loop.launch import joined, sharding_of_launcher


def _checkpoint(folder, step=6):
    files = sorted((folder / "checkpoints" / f"step-{step:08d}").glob("*.safetensors"))
    return {f"{path.stem}.{name}": value for path in files for name, value in load_file(path).items()}


def _require_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def _started(runs, count=2):
    ends = ranks.start(runs, ranks=count)
    assert [end[0] for end in ends] == [0] * count, ends[0][2] + ends[-1][2]
    return ends


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes did: whole runs, and runs of three steps that others go on with."""
    folder = tmp_path_factory.mktemp("two")
    optim, fsdp = {"kind": "muon"}, {"sharding": "fsdp2"}
    runs = [
        {"folder": str(folder / "plain")},
        {"folder": str(folder / "judged"), "task": {"judged": True}, "loop": {"grad_accum": 2}},
        {"folder": str(folder / "muon"), "optim": optim, "loop": {"num_workers": 1}},
        {"folder": str(folder / "spread"), "loop": {**fsdp, "validate_every": 2, "export_checkpoints": True}},
        {"folder": str(folder / "stopped"), "task": {"stop": [1, 3]}},
        {"folder": str(folder / "stopped-spread"), "task": {"stop": [0, 2]}, "loop": fsdp},
        {"folder": str(folder / "again"), "task": {"stop": [1, 4]}, "loop": fsdp},
        {"folder": str(folder / "again"), "loop": fsdp},
        {"folder": str(folder / "fewer"), "loop": fsdp},
    ]
    ranks.run(folder / "fewer", loop={"steps": 3})
    ends = _started(runs)
    return folder, ends


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The same in one process that accumulates twice as many micro-batches."""
    folder = tmp_path_factory.mktemp("one")
    ranks.run(folder / "plain", loop={"grad_accum": 2})
    ranks.run(folder / "judged", task={"judged": True}, loop={"grad_accum": 4})
    ranks.run(folder / "muon", optim={"kind": "muon"}, loop={"grad_accum": 2})
    return folder


@pytest.mark.parametrize("name", ["plain", "judged", "muon"])
def test_two_processes_are_two_micro_batches(name, two, one):
    _require_close(_checkpoint(two[0] / name), _checkpoint(one / name))
    facts = [json.loads((folder / name / "export" / "facts.json").read_text()) for folder in (two[0], one)]
    assert [fact["ranks"] for fact in facts] == ["2", "1"]
    assert facts[0]["sum"] == pytest.approx(facts[1]["sum"], rel=1e-4)


def test_a_spread_network_is_written_as_a_whole_one(two, one):
    folder = two[0] / "spread"
    _require_close(_checkpoint(folder), _checkpoint(one / "plain"))
    exports = [folder / "export", folder / "checkpoints" / "step-00000006" / "export"]
    sums = {json.loads((path / "facts.json").read_text())["sum"] for path in exports}
    assert len(sums) == 1
    plain = json.loads((one / "plain" / "export" / "facts.json").read_text())["sum"]
    assert sums.pop() == pytest.approx(plain, rel=1e-4)


def test_all_ranks_know_the_figures_and_one_writes_the_log(two, one):
    folder, ends = two
    for name in ("plain", "spread"):
        figures = [json.loads((folder / name / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
        assert figures[0] == figures[1]
    lines = [json.loads(line) for line in (folder / "plain" / "log.jsonl").read_text().splitlines()]
    alone = [json.loads(line) for line in (one / "plain" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["batch"] for line in lines] == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert {"of_rank_0", "of_rank_1"} <= lines[0].keys()
    for line, other in zip(lines, alone, strict=True):
        assert line["loss/generator"] == pytest.approx(other["loss/generator"], rel=1e-4)
        assert line["grad_norm/generator"] == pytest.approx(other["grad_norm/generator"], rel=1e-4)
        assert line["update_norm/generator"] == pytest.approx(other["update_norm/generator"], rel=1e-3)
    flops = [line["speed/tflops"] * line["speed/seconds_per_step"] for line in (lines[3], alone[3])]
    assert flops[0] == pytest.approx(
        flops[1], rel=0.02
    )  # the sum of both ranks, which differ a little in time
    assert "step 1/6" in ends[0][2]
    assert "step 1/6" not in ends[1][2]


@pytest.mark.parametrize(("name", "steps"), [("stopped", 4), ("stopped-spread", 3)])
def test_a_signal_to_one_rank_stops_all_and_one_process_goes_on(name, steps, two, one, capsys):
    folder = two[0] / name
    ends = [json.loads((folder / f"rank-{rank}.json").read_text())[0] for rank in (0, 1)]
    assert ends == [steps, steps]
    capsys.readouterr()
    ranks.run(folder, loop={"grad_accum": 2})
    assert "continued with" not in capsys.readouterr().err
    _require_close(_checkpoint(folder), _checkpoint(one / "plain"))


def test_a_spread_run_continues_bit_for_bit(two):
    straight, again = _checkpoint(two[0] / "spread"), _checkpoint(two[0] / "again")
    assert all(torch.equal(again[name], value) for name, value in straight.items())


def test_fewer_micro_batches_are_said(two):
    folder, ends = two[0] / "fewer", two[1]
    state = folder / "checkpoints" / "step-00000003"
    assert json.loads((state / "state.json").read_text())["world_size"] == 1
    said = "continued with 2 processes instead of 1: a step takes 2 micro-batches instead of 1"
    assert said in ends[0][2]
    assert said not in ends[1][2]
    last = json.loads((folder / "checkpoints" / "step-00000006" / "state.json").read_text())
    assert (last["batches"], last["world_size"]) == (9, 2)  # three by one, then three times two


def test_spread_networks_take_one_loss(tmp_path):
    with pytest.raises(
        ValueError, match=r"^loop.sharding fsdp2 works for tasks with one loss.*generator against"
    ):
        ranks.run(tmp_path / "run", task={"judged": True}, loop={"sharding": "fsdp2"})


def test_muon_needs_whole_matrices(tmp_path):
    with pytest.raises(ValueError, match=r"^optim.kind muon needs whole matrices; use loop.sharding none"):
        ranks.run(tmp_path / "run", loop={"sharding": "fsdp2"}, optim={"kind": "muon"})


def test_a_launch_without_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "0")
    with (
        pytest.raises(
            ValueError, match=r"^WORLD_SIZE is 2, but MASTER_PORT is not set; start with torchrun$"
        ),
        joined(torch.device("cpu")),
    ):
        pass


def test_what_accelerate_is_told_is_understood(monkeypatch):
    for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_DEEPSPEED_ZERO_STAGE"):
        monkeypatch.delenv(name, raising=False)
    assert sharding_of_launcher() is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert sharding_of_launcher() == "FSDP"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert sharding_of_launcher() == "DeepSpeed ZeRO-3"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "true"])
def test_torchrun_trains_a_recipe(launcher, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", launcher)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    recipe = ["default-text", "--preset=tiny", "--device=cpu", f"--output={tmp_path}"]
    done = subprocess.run(
        [*run, "ea_train.cli", *recipe],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exported to") == 1
    spread = "DeepSpeed ZeRO-2 is requested: loop.sharding is fsdp2, with as little memory"
    assert done.stderr.count(spread) == bool(launcher)
    assert load_byte_encoder(tmp_path / "export").config.width == 16
