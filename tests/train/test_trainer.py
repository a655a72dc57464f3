"""The loop: continuing, stopping, accumulating, averaging."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ea_train.loop import checkpoint
from ea_train.loop.batches import Cursor
from ea_train.loop.run_folder import check_same_run
from ea_train.loop.seeding import generator_at
from ea_train.tasks.base import Place, StepOutput


class Killed(BaseException):
    """Stands for the process going away: nothing may catch it and save."""


def _all_tensors(trainer, step):
    folder = trainer.directory / "checkpoints" / f"step-{step:08d}"
    return {
        f"{path.stem}.{name}": value
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def _require_same(found, expected):
    assert found.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert different == []


def _kill_at(number):
    def on_step(step):
        if step == number:
            raise Killed

    return on_step


@pytest.mark.parametrize(
    ("kind", "loop", "optim"),
    [
        ("toy", {}, {}),
        ("toy", {}, {"kind": "muon", "weight_decay": 0.1}),
        ("toy", {"precision": "bf16", "grad_accum": 2}, {"lr_by_fan_in": 0.002, "decay": "linear"}),
        ("two_groups", {"ema_decay": 0.0}, {}),
    ],
)
def test_a_killed_run_continues_with_the_numbers_it_would_have_had(
    kind, loop, optim, request, settings, trainer
):
    task, config = request.getfixturevalue(kind), settings(loop, optim)
    straight = trainer(task(), config, "straight")
    straight.fit()
    with pytest.raises(Killed):
        trainer(task(on_step=_kill_at(3)), config, "killed").fit()
    continued = trainer(task(), config, "killed")
    continued.fit()
    assert continued.finished_steps == 6
    _require_same(_all_tensors(continued, 6), _all_tensors(straight, 6))
    names = {name.partition(".")[0] for name in _all_tensors(straight, 6)}
    assert {"module-net", "optimizer-generator-0"} <= names
    assert ("ema" in names) == bool(config.loop.ema_decay)


def test_the_log_of_a_continued_run_has_every_step_once(toy, settings, trainer):
    with pytest.raises(Killed):
        trainer(toy(on_step=_kill_at(3)), settings(), "killed").fit()
    again = trainer(toy(), settings(), "killed")
    log = again.directory / "log.jsonl"
    with log.open("a") as file:
        file.write('{"step": 4, "loss/generator": 0.5}\n{"step": 5, "los')  # after the checkpoint; torn
    again.fit()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss/generator", "error", "minutes", "time"} <= lines[0].keys()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(number, toy, settings, trainer):
    task = toy(on_step=lambda step: os.kill(os.getpid(), number) if step == 1 else None)
    before = signal.getsignal(number)
    stopped = trainer(task, settings({"checkpoint_minutes": 60.0}))
    stopped.fit()
    assert stopped.finished_steps == 2
    assert checkpoint.checkpoint_steps(stopped.directory / "checkpoints") == [2]
    assert signal.getsignal(number) is before


def test_a_half_written_checkpoint_is_ignored_and_removed(toy, settings, trainer):
    with pytest.raises(Killed):
        trainer(toy(on_step=_kill_at(2)), settings()).fit()
    continued = trainer(toy(), settings())
    folder = continued.directory / "checkpoints"
    draft = folder / ".step-00000005.1.tmp"
    draft.mkdir()
    (draft / "module-net.safetensors").write_bytes(b"half")
    continued.fit()
    assert not draft.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000005", "step-00000006"]


@pytest.mark.parametrize("name", ["state.json", "module-net.safetensors", "ema.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(name, damage, toy, settings, trainer):
    first = trainer(toy(), settings({"steps": 1}))
    first.fit()
    path = first.directory / "checkpoints" / "step-00000001" / name
    path.write_bytes(path.read_bytes()[:20])
    if damage == "gone":
        path.unlink()
    with pytest.raises(ValueError, match="step-00000001"):
        trainer(toy(), settings()).fit()


def test_a_run_continues_only_with_its_own_settings(toy, settings, trainer):
    trainer(toy(), settings({"steps": 1}, {"betas": (0.8, 0.9)})).fit()
    with pytest.raises(ValueError, match=r"^loop.batch_size is 5, but the run in .* was started with 4"):
        trainer(toy(), settings({"batch_size": 5}, {"betas": (0.8, 0.9)})).fit()
    other = toy()
    other.inputs = {"rows": "others"}
    with pytest.raises(ValueError, match=r"^rows is others, but the run in .* was started with toy"):
        trainer(other, settings(optim={"betas": (0.8, 0.9)})).fit()
    longer = trainer(toy(), settings({"steps": 2, "log_every": 2}, {"betas": (0.8, 0.9)}))
    longer.fit()
    assert longer.finished_steps == 2


def test_a_setting_that_an_earlier_version_did_not_know_counts_as_its_default():
    state = {"batches": 1, "world_size": 1, "inputs": {}}
    before, now = ({**state, "config": {"loop": {"grad_accum": 1, **more}}} for more in ({}, {"new": 0.0}))
    defaults = {"loop": {"grad_accum": 1, "new": 0.0}}
    assert check_same_run(before, now, Path("run"), defaults=defaults) is None
    now["config"]["loop"]["new"] = 0.5
    with pytest.raises(ValueError, match=r"^loop.new is 0.5, but the run in run was started with 0.0"):
        check_same_run(before, now, Path("run"), defaults=defaults)


def test_a_finished_run_is_left_as_it_is(toy, settings, trainer):
    first = trainer(toy(), settings())
    first.fit()
    state = first.directory / "checkpoints" / "step-00000006" / "state.json"
    written = state.stat().st_mtime_ns
    again = trainer(toy(), settings())
    again.fit()
    assert (again.finished_steps, state.stat().st_mtime_ns) == (6, written)


def test_accumulated_micro_batches_equal_one_large_batch(toy, settings, trainer):
    large = trainer(toy(noise=0.0), settings({"batch_size": 8}), "large")
    small = trainer(toy(noise=0.0), settings({"batch_size": 2, "grad_accum": 4}), "small")
    large.fit()
    small.fit()
    for name, value in large.task.modules["net"].state_dict().items():
        torch.testing.assert_close(small.task.modules["net"].state_dict()[name], value, rtol=1e-4, atol=1e-6)
    logs = [(t.directory / "log.jsonl").read_text().splitlines()[-1] for t in (large, small)]
    assert json.loads(logs[0])["error"] == pytest.approx(json.loads(logs[1])["error"], rel=1e-3)


@pytest.mark.parametrize(("limit", "clipped"), [(1e-3, True), (0.0, False)])
def test_gradients_are_clipped_at_the_global_norm(limit, clipped, toy, settings, trainer):
    run = trainer(toy(), settings({"steps": 1}, {"max_grad_norm": limit}))
    norms = []

    def look(optimizer, *_):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))

    run.optimizers["generator"][0].register_step_pre_hook(look)
    run.fit()
    assert (norms[0] <= 1.001e-3) is clipped


def test_validation_and_export_see_the_averages_and_leave_the_weights(toy, settings, trainer):
    run = trainer(toy(), settings())
    run.fit()
    plain = run.task.validate()
    weights = {name: value.clone() for name, value in run.task.net.state_dict().items()}
    averaged = run.validate()
    assert averaged != plain
    assert averaged["val/weights"] == pytest.approx(
        float(sum(value.double().sum() for value in run.ema.averages.values()))
    )
    run.export({"recipe": "toy"})
    facts = (run.directory / "export" / "facts.txt").read_text()
    assert facts == repr((averaged, {"steps": "6", "recipe": "toy"}))
    assert all(torch.equal(weights[name], value) for name, value in run.task.net.state_dict().items())


def test_the_averages_follow_every_step(toy, settings, trainer):
    task, seen = toy(), []
    started = {name: value.detach().clone() for name, value in task.net.named_parameters()}
    run = trainer(task, settings({"ema_decay": 0.5}))
    run._after_step = lambda step: seen.append(task.net[0].weight.detach().clone())
    run.fit()
    expected = started["0.weight"]
    for step, weight in enumerate(seen, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = torch.lerp(expected, weight, 1 - decay)
    assert not torch.equal(expected, started["0.weight"])
    torch.testing.assert_close(run.ema.averages["net.0.weight"], expected)


def test_the_loss_of_a_group_moves_only_its_own_weights(two_groups, settings, trainer):
    task, fresh, found = two_groups(), two_groups(), []
    run = trainer(task, settings({"steps": 1}, {"max_grad_norm": 0.0}))
    run.optimizers["discriminator"][0].register_step_pre_hook(
        lambda *_: found.append(task.judge.bias.grad.clone())
    )
    run.fit()
    made = fresh.net(fresh.batch(0, Place.alone(0), 4)["x"]).detach()
    fresh.judge(
        made
    ).square().mean().backward()  # without the generator's loss, which passes through the judge
    torch.testing.assert_close(found, [fresh.judge.bias.grad])


def test_gradients_of_a_group_lie_as_its_weights_do(two_groups, settings, trainer):
    """A sum over an axis has a gradient whose values repeat in memory, past which a fused optimiser reads."""

    class Summed(two_groups):
        def step(self, batch, generator, place):
            losses = {"generator": self.net[0].weight.sum(1), "discriminator": self.judge.weight}
            return StepOutput(losses={name: value.square().sum() for name, value in losses.items()})

    optim = {"kind": "adamw", "lr": 0.1, "max_grad_norm": 0.0, "warmup_steps": 0, "decay": "constant"}
    run = trainer(Summed(), settings({"steps": 3}, optim))
    weight = run.task.net[0].weight.detach().clone().requires_grad_()
    run.fit()
    groups = run.optimizers["generator"][0].param_groups
    options = {name: groups[-1][name] for name in ("lr", "betas", "eps", "weight_decay")}
    plain = torch.optim.AdamW([weight], **options, foreach=False, fused=False)
    for _ in range(3):
        plain.zero_grad()
        weight.sum(1).square().sum().backward()
        plain.step()
    torch.testing.assert_close(run.task.net[0].weight, weight)


def test_batches_from_worker_processes_are_the_same(toy, settings, trainer):
    plain = trainer(toy(), settings({"steps": 3}), "plain")
    helped = trainer(toy(), settings({"steps": 3, "num_workers": 1}), "helped")
    plain.fit()
    helped.fit()
    _require_same(_all_tensors(helped, 3), _all_tensors(plain, 3))


def test_validation_in_between_is_logged(toy, settings, trainer):
    run = trainer(toy(), settings({"validate_every": 3}))
    run.fit()
    lines = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/weights" in line] == [3, 6]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_run_follows_the_eager_one(toy, settings, trainer):
    eager = trainer(toy(), settings({"steps": 2}), "eager")
    compiled = trainer(toy(), settings({"steps": 2, "compile": True}), "compiled")
    eager.fit()
    compiled.fit()
    for name, value in _all_tensors(eager, 2).items():
        torch.testing.assert_close(_all_tensors(compiled, 2)[name], value, rtol=1e-4, atol=1e-6)


def test_every_micro_batch_of_every_rank_has_its_own_number():
    ranks = [Cursor(step=3, batches=10, rank=rank, world_size=2).after(1, 3).places(3) for rank in (0, 1)]
    assert [[place.batch for place in places] for places in ranks] == [[16, 18, 20], [17, 19, 21]]
    assert [[place.lead for place in places] for places in ranks] == [[16, 18, 20]] * 2
    assert {place.step for places in ranks for place in places} == {4}
    alone = Cursor(step=3, batches=10).after(1, 6).places(6)
    assert [place.batch for place in alone] == [16, 17, 18, 19, 20, 21]


def test_noise_depends_on_the_seed_and_on_the_micro_batch():
    drawn = {
        float(torch.rand((), generator=generator_at(seed, batch))) for seed in range(8) for batch in range(8)
    }
    assert len(drawn) == 64
    again = torch.rand((), generator=generator_at(3, 1 << 39))
    assert again == torch.rand((), generator=generator_at(3, 1 << 39))


def _stop_after(number):
    def after_step(step):
        if step == number:
            raise Killed

    return after_step


@pytest.mark.parametrize(
    ("steps", "workers"),
    [(7, 0), (5, 2), *(pytest.param(20, workers, marks=pytest.mark.slow) for workers in (0, 2))],
)
def test_a_run_continues_at_every_step(steps, workers, toy, settings, trainer):
    config = settings({"steps": steps, "checkpoint_every": 3, "checkpoint_minutes": 60.0, "grad_accum": 2})
    straight = trainer(toy(), config, "straight")
    straight.fit()
    helped = settings(dataclasses.asdict(config.loop) | {"num_workers": workers})
    for step in range(1, steps):
        killed = trainer(toy(), helped, f"killed-{step}")
        killed._after_step = _stop_after(step)
        with pytest.raises(Killed):
            killed.fit()
        continued = trainer(toy(), config, f"killed-{step}")
        continued.resume()
        assert continued.finished_steps == step // 3 * 3
        continued.fit()
        _require_same(_all_tensors(continued, steps), _all_tensors(straight, steps))


def test_a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same(toy, settings, trainer, capsys):
    straight = trainer(toy(), settings(), "straight")
    straight.fit()
    with pytest.raises(Killed):
        trainer(toy(on_step=_kill_at(4)), settings(), "killed").fit()
    continued = trainer(toy(), settings(), "killed")
    (continued.directory / "checkpoints" / "step-00000004" / "ema.safetensors").write_bytes(b"no")
    capsys.readouterr()
    continued.fit()
    first = capsys.readouterr().err.splitlines()[0]
    assert "step-00000004 is damaged (ema.safetensors has 2 bytes instead of" in first
    assert first.endswith("continuing from step 3")
    _require_same(_all_tensors(continued, 6), _all_tensors(straight, 6))
    names = {path.name for path in (continued.directory / "checkpoints").iterdir()}
    assert names == {"step-00000005", "step-00000006", "damaged-step-00000004"}


def test_weights_are_exported_beside_a_checkpoint(toy, settings, trainer):
    run = trainer(toy(), settings({"export_checkpoints": True, "steps": 2}))
    run.fit()
    folder = run.directory / "checkpoints" / "step-00000002"
    assert (folder / "export" / "facts.txt").read_text() == repr((run.validate(), {"steps": "2"}))
    (folder / "export" / "facts.txt").write_text("other")
    assert checkpoint.newest_whole(folder.parent, lambda line: None) == 1


def test_dropout_is_drawn_alike_after_a_kill(toy, settings, trainer):
    def task(**options):
        made = toy(**options)
        made.net.append(torch.nn.Dropout(0.5))
        return made

    straight = trainer(task(), settings(), "straight")
    straight.fit()
    with pytest.raises(Killed):
        trainer(task(on_step=_kill_at(3)), settings(), "killed").fit()
    torch.rand(7)
    continued = trainer(task(), settings(), "killed")
    before = torch.get_rng_state()
    continued.fit()
    _require_same(_all_tensors(continued, 6), _all_tensors(straight, 6))
    assert torch.equal(torch.get_rng_state(), before)  # the caller's own draws go on as they were


def test_a_run_goes_on_with_as_many_micro_batches_a_step(toy, settings, trainer):
    trainer(toy(), settings({"steps": 1, "grad_accum": 2})).fit()
    message = r"^loop.grad_accum is 3 with 1 processes, .* started with 2 and 1; keep their product at 2"
    with pytest.raises(ValueError, match=message):
        trainer(toy(), settings({"grad_accum": 3})).fit()


def test_rates_are_logged(toy, settings, trainer):
    run = trainer(toy(), settings())
    run.fit()
    lines = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    assert all(line["speed/samples_per_second"] > 0 for line in lines)
    assert all(0 <= line["speed/data_wait"] <= 1 for line in lines)
    # Two matrices, forward and backward; the first has no gradient to pass on.
    per_step = 2 * 4 * (3 * 8 * 3 + 2 * 4 * 8)
    found = [line["speed/tflops"] * 1e12 * line["speed/seconds_per_step"] for line in lines]
    assert found == pytest.approx([per_step] * 6, rel=1e-3)
    assert {"grad_norm/generator", "update_norm/generator", "lr"} <= lines[0].keys()
    assert lines[0]["lr"] == pytest.approx(5e-4)


def test_a_task_says_which_parameters_move_and_how_fast(toy, settings, trainer):
    class Half(toy):
        def parameter_groups(self):
            return {"generator": [([self.net[3].weight], 1.0), ([self.net[0].weight], 0.5)]}

    task = Half()
    before = {name: value.clone() for name, value in task.net.state_dict().items()}
    run = trainer(task, settings({"steps": 1}, {"weight_decay": 0.0, "warmup_steps": 0, "lr": 1e-3}))
    run.fit()
    moved = {name: (value - before[name]).abs().max() for name, value in task.net.state_dict().items()}
    assert {name for name, size in moved.items() if size > 0} == {"0.weight", "3.weight"}
    # The first step of Adam moves each weight by its rate.
    assert float(moved["3.weight"]) == pytest.approx(1e-3, rel=1e-3)
    assert float(moved["0.weight"]) == pytest.approx(5e-4, rel=1e-3)
    assert run.ema.averages.keys() == {"net.0.weight", "net.3.weight"}


def test_abnormal_norms_are_logged_with_their_limit(toy, settings, trainer):
    optim = {"clipping": "abnormal", "max_grad_norm": 1e-3, "abnormal_norm_clip_start": 2}
    run = trainer(toy(), settings({"steps": 3}, optim))
    run.fit()
    lines = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    assert [line["grad_limit/generator"] for line in lines] == pytest.approx([5e-3, 3e-3, 1e-4])


class _Nested(torch.optim.SGD):
    """Keeps what other packages keep: plain numbers, and tensors of other sizes in a dictionary."""

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            packed = state.setdefault("packed", {"codes": torch.zeros(3, dtype=torch.uint8)})
            packed["codes"] = packed["codes"] + 1
            state["count"] = state.get("count", 0) + 1
            state["root"] = state.get("root", 0.1) * 1.1
            assert (type(state["count"]), type(state["root"])) == (int, float)
            parameter.data.add_(
                parameter.grad, alpha=-1e-3 * state["count"] * state["root"] * int(packed["codes"][0])
            )


def test_optimisers_may_keep_what_they_like(toy, settings, trainer, monkeypatch):
    monkeypatch.setattr("ea_train.loop.optim._make", lambda config, groups: _Nested(groups, lr=1e-3))
    straight = trainer(toy(), settings(optim={"weight_decay": 0.0, "decay_vectors": True}), "straight")
    straight.fit()
    config = settings(optim={"weight_decay": 0.0, "decay_vectors": True})
    with pytest.raises(Killed):
        trainer(toy(on_step=_kill_at(3)), config, "killed").fit()
    continued = trainer(toy(), config, "killed")
    continued.fit()
    _require_same(_all_tensors(continued, 6), _all_tensors(straight, 6))
    assert "optimizer-generator-0.0.packed.codes" in _all_tensors(straight, 6)


@pytest.mark.parametrize(("kind", "package"), [("adamw8bit", "bitsandbytes"), ("came", "came_pytorch")])
def test_optimisers_of_others_continue_bit_for_bit(kind, package, toy, settings, trainer):
    pytest.importorskip(package)

    def task(**options):
        made = toy(**options)
        made.net[0], made.net[3] = torch.nn.Linear(4, 1024), torch.nn.Linear(1024, 3)
        made.net[1] = torch.nn.LayerNorm(1024)
        return made

    config = settings(optim={"kind": kind})
    straight = trainer(task(), config, "straight")
    straight.fit()
    with pytest.raises(Killed):
        trainer(task(on_step=_kill_at(3)), config, "killed").fit()
    continued = trainer(task(), config, "killed")
    continued.fit()
    _require_same(_all_tensors(continued, 6), _all_tensors(straight, 6))
