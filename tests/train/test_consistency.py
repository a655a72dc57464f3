"""Consistency distillation of tiny models: teacher, target, and a student that needs few steps."""

import dataclasses

import pytest
import torch

from ea_dit.diffusion import draws
from ea_dit.pipelines import GenerationRequest, load_components
from ea_dit.pipelines.rollout import encode_batch, rollout
from ea_dit.pipelines.tiny import make_tiny
from ea_dit.text.base import concatenate
from ea_dit.types import Conditioning
from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.tasks.base import Place
from ea_train.tasks.consistency import ConsistencyConfig, ConsistencyTask
from ea_train.tasks.denoise_source import Sample

CAPTIONS = ("a cat", "a red boat")


class Latents:
    """Random latents with encoded captions, as a source."""

    def __init__(self, parts):
        self.inputs = {"latents": "random"}
        self.parts = parts
        self.text = encode_batch(parts, CAPTIONS, guided=False).positive

    def batch(self, seed, place, size):
        generator = torch.Generator().manual_seed(seed << 32 | place.batch)
        shape = (size, self.parts.traits.latent_channels, 2, 4, 4)
        return {"latents": torch.randn(shape, generator=generator), "first": place.batch % 2}

    def prepare(self, batch, generator):
        latents = batch["latents"]
        rows = [(batch["first"] + row) % 2 for row in range(len(latents))]
        text = concatenate(*(self.text[row : row + 1] for row in rows))
        return Sample(latents_BCthw=latents, text=text, conditioning=self._given(latents))

    def _given(self, latents):
        if self.parts.traits.variant != "inpaint":
            return Conditioning()
        batch, channels, *size = latents.shape
        return Conditioning(inpaint_latents=torch.zeros(batch, channels + 1, *size))

    def held_out(self):
        yield from (self.batch(99, Place.alone(step), 4) for step in range(4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("tiny")
    return {name: make_tiny(name, base / name) for name in ("v5.1-7b-inp", "v5-7b-inp")}


@pytest.fixture(params=["v5.1-7b-inp", "v5-7b-inp"])
def folder(request, folders):
    return folders[request.param]


def _task(folder, kind="lora", **changes):
    parts = load_components(folder, dtype="float32", device="cpu")
    adapter = AdapterConfig()
    if kind != "all":
        adapter = AdapterConfig(kind=kind, rank=8, alpha=8.0, targets=("*",))
    trained = make_trained(parts.transformer, adapter)
    options = {"w_min": 0.0, "w_max": 2.0, "num_ddim_timesteps": 8, **changes}
    return ConsistencyTask(parts, Latents(parts), ConsistencyConfig(**options), trained)


def _fit(task, trainer, name, steps, lr=5e-3, **loop):
    config = RunConfig(
        loop=LoopConfig(
            **{"steps": steps, "batch_size": 4, "log_every": steps, "ema_decay": 0.0, **loop},
            checkpoint_minutes=0.0,
        ),
        optim=OptimConfig(lr=lr, warmup_steps=0, decay="constant", weight_decay=0.0),
    )
    run = trainer(task, config, name)
    run.fit()
    return run


def _few_steps(task):
    """Distance of the student's one step from the teacher's eight, with the same noise."""
    parts, path = task.parts, task.path
    request = GenerationRequest(
        prompt="a cat", height=32, width=32, num_frames=5, num_steps=8, guidance_scale=2.0
    )
    name = "Flow" if path.kind == "flow" else "DDIM"
    states = encode_batch(parts, CAPTIONS, guided=True)
    with task._as_teacher() as teacher:
        many = rollout(
            dataclasses.replace(parts, transformer=teacher),
            dataclasses.replace(request, sampler=name),
            states,
            draws(torch.Generator().manual_seed(5)),
        )
    noise = torch.randn(many.shape, generator=torch.Generator().manual_seed(5))
    points = torch.full((2,), 8)
    sample = Sample(latents_BCthw=noise, text=states.positive, conditioning=task.source._given(noise))
    with torch.no_grad():
        once = path.jump(task._predict(sample, noise, points), noise, points)
    return float((once - many).square().mean())


@pytest.mark.parametrize(
    ("family", "kind", "steps", "lr"), [("v5-7b-inp", "all", 40, 2e-3), ("v5.1-7b-inp", "lora", 25, 2e-2)]
)
def test_a_student_comes_to_do_in_one_step_what_the_teacher_does_in_many(
    family, kind, steps, lr, folders, trainer
):
    task = _task(folders[family], kind=kind, w_min=1.0, w_max=1.0)
    loss, apart = task.validate()["val/loss"], _few_steps(task)
    _fit(task, trainer, "run", steps, lr=lr)
    assert _few_steps(task) < 0.9 * apart
    # A LoRA over random weights has not enough to work with to lower both.
    if kind == "all":
        assert task.validate()["val/loss"] < 0.9 * loss


def test_the_teacher_is_the_network_without_what_learns(folder):
    for kind in ("lora", "lokr", "all"):
        task = _task(folder, kind=kind)
        batch = task.source.batch(0, Place.alone(0), 2)
        sample = task.source.prepare(batch, None)
        drawn = task._draw(sample.latents_BCthw, torch.Generator().manual_seed(0))
        with torch.no_grad():
            before = task._teach(sample, sample.latents_BCthw, drawn)
            student = task._predict(sample, sample.latents_BCthw, drawn.points_B)
            for parameter in task._learned:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            assert torch.equal(task._teach(sample, sample.latents_BCthw, drawn), before)
            assert not torch.equal(task._predict(sample, sample.latents_BCthw, drawn.points_B), student)


def test_the_teacher_is_guided_with_the_empty_prompt(folders):
    task = _task(folders["v5.1-7b-inp"], w_min=3.0, w_max=3.0)
    sample = task.source.prepare(task.source.batch(0, Place.alone(0), 2), None)
    drawn = task._draw(sample.latents_BCthw, torch.Generator().manual_seed(0))
    empty = encode_batch(task.parts, ["", ""], guided=False).positive
    blank = Sample(latents_BCthw=sample.latents_BCthw, text=empty, conditioning=sample.conditioning)
    with torch.no_grad():
        found = task._teach(sample, sample.latents_BCthw, drawn)
        positive = task._predict(sample, sample.latents_BCthw, drawn.points_B)
        negative = task._predict(blank, sample.latents_BCthw, drawn.points_B)
    assert torch.allclose(found, positive + 3.0 * (positive - negative), atol=1e-4)


def test_the_target_follows_the_student(folders, trainer):
    task = _task(folders["v5.1-7b-inp"], target_ema=0.5)
    start = [parameter.detach().clone() for parameter in task._learned]
    _fit(task, trainer, "run", 2, grad_accum=2)
    values = task._target.values()
    assert int(task._target.step) == 1
    # After two steps of the optimiser it has seen one.
    for value, parameter, first in zip(values, task._learned, start, strict=True):
        assert not torch.equal(parameter, first) or not parameter.any()
        assert value.shape == parameter.shape
    moved = [not torch.equal(value, first) for value, first in zip(values, start, strict=True)]
    assert any(moved)
    with task._as_target():
        assert all(torch.equal(p, v) for p, v in zip(task._learned, values, strict=True))
    assert not all(torch.equal(p, v) for p, v in zip(task._learned, values, strict=True))


@pytest.mark.parametrize("kind", ["lora", "all"])
def test_a_resumed_run_ends_in_the_same_bits(folders, trainer, kind):
    def task():
        return _task(folders["v5.1-7b-inp"], kind=kind, target_ema=0.9)

    whole = _fit(task(), trainer, "whole", 3, grad_accum=2).task
    _fit(task(), trainer, "cut", 2, grad_accum=2)
    again = _fit(task(), trainer, "cut", 3, grad_accum=2).task
    for name, module in whole.modules.items():
        other = again.modules[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in module.state_dict().items()), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_min": 3.0, "w_max": 2.0}, "must be 0 <= w_min <= w_max, got 3.0 and 2.0"),
        ({"num_ddim_timesteps": 0}, r"task\.num_ddim_timesteps must be at least 1, got 0"),
        ({"huber_c": 0.0}, r"task\.huber_c must be above 0, got 0\.0"),
        ({"timestep_scaling": -1.0}, r"task\.timestep_scaling must be above 0"),
        ({"target_ema": 1.0}, r"task\.target_ema must be in \[0, 1\), got 1\.0"),
    ],
)
def test_an_objective_that_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyConfig(**changes)


def test_the_defaults_are_the_released_ones():
    config = ConsistencyConfig()
    assert (config.w_min, config.w_max, config.num_ddim_timesteps) == (5.0, 15.0, 50)
    assert (config.loss, config.huber_c, config.timestep_scaling) == ("l2", 1e-3, 10.0)
