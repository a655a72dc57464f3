"""Rewards: which steps learn, what is judged, and that held-out prompts get what is liked."""

import dataclasses
import random

import pytest
import torch

from ea_dit.diffusion import FlowMatching, denoise_steps, draws, sampler_for
from ea_dit.pipelines import GenerationPipeline, GenerationRequest, load_components
from ea_dit.pipelines.rollout import encode_batch, rollout
from ea_dit.pipelines.tiny import make_tiny
from ea_train.adapters import AdapterConfig, Weights, make_trained
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.objectives.backprop import BackpropConfig
from ea_train.rewards.base import RewardConfig, RewardMix
from ea_train.tasks.base import Place
from ea_train.tasks.reward import RewardTask, RewardTaskConfig
from ea_train.tasks.reward_prompts import Prompts, read_prompts

TINY = RewardTaskConfig(
    rewards=(RewardConfig(name="redness"),),
    height=16,
    width=16,
    num_frames=5,
    num_steps=3,
    guidance_scale=2.0,
    num_decoded_latents=1,
    validation_prompts=3,
)
PROMPTS = Prompts(("a cat", "a dog", "a tree"), ("a boat", "a lake", "a hill"))


def redness(frames, prompts):
    """Red against the other colours."""
    assert len(prompts) == len(frames)
    return frames[:, 0].mean(dim=(1, 2, 3)) - frames[:, 1:].mean(dim=(1, 2, 3, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny("v5.1-7b-inp", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def parts(folder):
    return load_components(folder, dtype="float32", device="cpu")


def _lora(parts):
    return make_trained(parts.transformer, AdapterConfig(kind="lora", rank=2, alpha=2.0))


def _task(parts, trained=None, rewards=None, *, recompute=False, **changes):
    mix = RewardMix(rewards or {"redness": (redness, RewardConfig(name="redness"))})
    config = dataclasses.replace(TINY, **changes)
    trained = trained or Weights(parts.transformer)
    return RewardTask(parts, PROMPTS, config, mix, trained, recompute=recompute)


def _gradients(task, seed=0):
    place = Place.alone(0)
    output = task.step(task.batch(0, place, 2), torch.Generator().manual_seed(seed), place)
    for parameter in task.parts.transformer.parameters():
        parameter.grad = None
    output.losses["generator"].backward()
    return [None if p.grad is None else p.grad.clone() for p in task._learned]


def _norm(gradients):
    return float(torch.stack([g.norm() for g in gradients if g is not None]).norm())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BackpropConfig(), {9}),
        (BackpropConfig(strategy="tail", count=3), {7, 8, 9}),
        (BackpropConfig(strategy="tail", steps=(2, 5)), {2, 5}),
    ],
)
def test_steps_that_are_said_are_taken(config, expected):
    assert config.chosen(10, random.Random(0)) == expected


def test_steps_that_are_drawn_stay_inside_the_run():
    uniform = BackpropConfig(strategy="uniform", count=3)
    drawn = {uniform.chosen(10, random.Random(seed)) for seed in range(50)}
    assert drawn == {frozenset({s, s + 3, s + 6}) for s in range(4)}
    whole = BackpropConfig(strategy="uniform", count=10).chosen(10, random.Random(3))
    assert whole == set(range(10))
    some = BackpropConfig(strategy="random", count=2, random_start=4, random_end=50)
    seen = [some.chosen(10, random.Random(seed)) for seed in range(50)]
    assert {len(one) for one in seen} == {2}
    assert set().union(*seen) == set(range(4, 10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": (3,)}, r"task\.backprop\.steps must be below num_steps 3, got 3"),
        ({"strategy": "tail", "count": 4}, r"task\.backprop\.count must be at most num_steps 3, got 4"),
        (
            {"strategy": "random", "count": 2, "random_start": 2},
            r"task\.backprop\.count must be at most 1, the steps from random_start to random_end, got 2",
        ),
    ],
)
def test_steps_that_a_run_does_not_have_are_refused(parts, changes, message):
    with pytest.raises(ValueError, match=message):
        _task(parts, backprop=BackpropConfig(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, r"task\.backprop\.count must be at least 1, got 0"),
        ({"steps": (-1,)}, r"task\.backprop\.steps must not be negative"),
        ({"random_start": 5, "random_end": 4}, r"must be 0 <= random_start <= random_end, got 5 and 4"),
    ],
)
def test_a_choice_of_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BackpropConfig(**changes)


def test_the_loop_keeps_a_gradient_only_from_its_step_on():
    sampler = sampler_for(FlowMatching(), "Flow", 4)
    weights = [torch.ones((), requires_grad=True) for _ in range(4)]

    def at(index, total):
        assert total == 4
        return lambda latents, timestep: weights[index] * latents

    start = torch.ones(1, 2)
    end = denoise_steps(at, start, sampler, gradient_from=2)
    end.sum().backward()
    assert [weight.grad is not None for weight in weights] == [False, False, True, True]
    plain = denoise_steps(at, start, sampler)
    assert not plain.requires_grad
    assert torch.equal(plain, end.detach())


def test_a_rollout_is_what_the_pipeline_makes(parts):
    request = GenerationRequest(prompt="a cat", height=16, width=16, num_frames=5, num_steps=3, seed=7)
    expected = GenerationPipeline(parts)(request)
    states = encode_batch(parts, ["a cat"], guided=True)
    found = rollout(parts, request, states, draws(torch.Generator().manual_seed(7)))
    assert torch.equal(found, expected.latents)


def test_only_chosen_steps_teach(parts):
    """The gradient of a run is that of its chosen steps: those of two choices add up."""
    alone = [_gradients(_task(parts, backprop=BackpropConfig(steps=(step,)))) for step in (1, 2)]
    both = _gradients(_task(parts, backprop=BackpropConfig(steps=(1, 2))))
    for first, second, together in zip(*alone, both, strict=True):
        if together is not None:
            assert torch.allclose(first + second, together, atol=1e-6, rtol=1e-3)
    assert min(map(_norm, (*alone, both))) > 0
    assert all(p.requires_grad for p in parts.transformer.parameters())


def test_recomputing_changes_no_gradient(parts):
    for changes in ({}, {"stop_input_gradient": True}):
        backprop = BackpropConfig(steps=(0, 2), **changes)
        kept = _gradients(_task(parts, backprop=backprop))
        again = _gradients(_task(parts, backprop=backprop, recompute=True))
        for first, second in zip(kept, again, strict=True):
            assert (first is None) == (second is None)
            assert first is None or torch.allclose(first, second, atol=1e-7)


def test_a_stopped_input_hands_nothing_on(parts):
    through = _gradients(_task(parts, backprop=BackpropConfig(steps=(0,))))
    stopped = _gradients(_task(parts, backprop=BackpropConfig(steps=(0,), stop_input_gradient=True)))
    assert _norm(stopped) > 0
    assert any(
        not torch.allclose(one, other, rtol=1e-3)
        for one, other in zip(through, stopped, strict=True)
        if one is not None
    )
    # The last step has nothing after it: stopping changes nothing there.
    last = [
        _gradients(_task(parts, backprop=BackpropConfig(stop_input_gradient=stop))) for stop in (False, True)
    ]
    assert all(
        torch.allclose(one, other, atol=1e-7) for one, other in zip(*last, strict=True) if one is not None
    )


def test_first_latents_and_some_frames_are_judged(parts):
    seen = []

    def watch(frames, prompts):
        seen.append(tuple(frames.shape))
        return frames.mean(dim=(1, 2, 3, 4))

    mix = {"watch": (watch, RewardConfig(name="watch"))}
    for latents, frames in ((1, 0), (2, 0), (0, 0), (0, 3), (0, 50)):
        task = _task(parts, rewards=mix, num_frames=9, num_decoded_latents=latents, num_sampled_frames=frames)
        task.step(task.batch(0, Place.alone(0), 1), torch.Generator().manual_seed(0), Place.alone(0))
    assert [shape[2] for shape in seen] == [1, 5, 9, 3, 9]


def test_several_rewards_are_weighed(parts):
    def dark(frames, prompts):
        return 1 - frames.mean(dim=(1, 2, 3, 4))

    one, two = RewardConfig(name="redness", weight=2.0), RewardConfig(name="dark", weight=0.5, best=1.0)
    task = _task(parts, rewards={"redness": (redness, one), "dark": (dark, two)})
    output = task.step(task.batch(0, Place.alone(0), 2), torch.Generator().manual_seed(0), Place.alone(0))
    scores = output.metrics
    expected = -2.0 * scores["reward/redness"] + 0.5 * (1.0 - scores["reward/dark"])
    assert torch.allclose(output.losses["generator"], expected, atol=1e-6)
    figures = task.validate()
    assert figures["val/reward"] == pytest.approx(2 * figures["val/redness"] + 0.5 * figures["val/dark"])
    assert figures["val/reward_interval"] > 0
    assert figures == task.validate()


def test_what_is_no_reward_is_refused(parts):
    place = Place.alone(0)

    def step(function):
        task = _task(parts, rewards={"wrong": (function, RewardConfig(name="wrong"))})
        task.step(task.batch(0, place, 2), torch.Generator().manual_seed(0), place)

    with pytest.raises(ValueError, match=r"reward wrong must give a tensor of shape \[2\], got \[\]"):
        step(lambda frames, prompts: frames.mean())
    with pytest.raises(ValueError, match=r"reward wrong must give a tensor of shape \[2\], got float"):
        step(lambda frames, prompts: 1.0)
    with pytest.raises(ValueError, match="no gradient: reward wrong is not differentiable"):
        step(lambda frames, prompts: frames.detach().mean(dim=(1, 2, 3, 4)))


def test_what_a_model_cannot_do_is_refused(parts):
    with pytest.raises(ValueError, match="height"):
        _task(parts, height=24)
    with pytest.raises(ValueError, match=r"task\.eta is for the sampler DDIM of DDPM models"):
        _task(parts, eta=0.5)
    with pytest.raises(ValueError, match=r"task\.eta must be from 0 to 1, got 2"):
        RewardTaskConfig(eta=2.0)
    with pytest.raises(ValueError, match=r"task\.num_decoded_latents must be at least 0"):
        RewardTaskConfig(num_decoded_latents=-1)


def _fit(task, trainer, name, steps, lr=2e-3):
    config = RunConfig(
        loop=LoopConfig(steps=steps, batch_size=2, log_every=steps, ema_decay=0.0, checkpoint_minutes=0.0),
        optim=OptimConfig(lr=lr, warmup_steps=0, decay="constant", weight_decay=0.0),
    )
    run = trainer(task, config, name)
    run.fit()
    return run


def test_held_out_prompts_get_redder(parts, trainer):
    lora = _lora(parts)
    task = _task(parts, lora, backprop=BackpropConfig(strategy="tail", count=2))
    before, each = task.validate()["val/reward"], _held_out(task)
    _fit(task, trainer, "run", 15, lr=4e-2)
    assert task.validate()["val/reward"] > before + 0.02
    assert bool((_held_out(task) > each).all())


@torch.no_grad()
def _held_out(task):
    frames = [
        task._frames([prompt], torch.Generator().manual_seed(number), frozenset())
        for number, prompt in enumerate(PROMPTS.heldout)
    ]
    return redness(torch.cat(frames), PROMPTS.heldout)


def test_a_resumed_lora_run_ends_in_the_same_bits(folder, trainer):
    def task():
        parts = load_components(folder, dtype="float32", device="cpu")
        backprop = BackpropConfig(strategy="random", count=1)
        return _task(parts, _lora(parts), backprop=backprop)

    whole = _fit(task(), trainer, "whole", 2).task
    _fit(task(), trainer, "cut", 1)
    again = _fit(task(), trainer, "cut", 2).task
    for one, other in zip(whole._learned, again._learned, strict=True):
        assert torch.equal(one, other)
    assert any(bool(p.any()) for p in whole._learned)


def test_prompts_are_read_one_a_line(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffa cat\n\n  a dog  \r\n")
    assert read_prompts(file).train == ("a cat", "a dog")
    assert read_prompts(file).heldout == ("a cat", "a dog")
    file.write_text("\n".join(f"prompt {number}" for number in range(40)))
    found = read_prompts(file)
    assert (len(found.train), found.heldout) == (38, ("prompt 0", "prompt 20"))
    (tmp_path / "own.txt").write_text("mine")
    assert read_prompts(file, tmp_path / "own.txt").heldout == ("mine",)
    assert found.describe() != read_prompts(file, tmp_path / "own.txt").describe()
    for text, message in ((b"\n \n", "has no prompts"), (b"\xff\xfe\xfa", "is no UTF-8 text")):
        file.write_bytes(text)
        with pytest.raises(ValueError, match=message):
            read_prompts(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")
