"""Runs that cannot go on: numbers that are not finite, and workers that are gone; one line says why."""

import dataclasses
import os
import signal

import pytest
import torch

from ea_train.loop import checkpoint


# torch raises wherever the program is when a worker dies, which may be between opening a file and its `with`.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_is_gone_is_one_line(toy, settings, trainer):
    class Ended(toy):
        def batch(self, seed, place, size):
            if place.batch == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(seed, place, size)

    run = trainer(Ended(), settings({"num_workers": 1}))
    gone = r"^DataLoader worker .*(killed|exited unexpectedly).*: try a smaller loop.num_workers$"
    with pytest.raises(ValueError, match=gone):
        run.fit()


def test_a_diverged_run_stops_before_it_is_saved(toy, settings, trainer):
    task = toy()

    def spoil(step):
        if step == 2:
            with torch.no_grad():
                task.net[0].weight.fill_(float("nan"))

    task.on_step = spoil
    run = trainer(task, settings())
    with pytest.raises(
        ValueError,
        match=r"loss/generator is nan at step 3: net.0 .*its weight holds nan.*last checkpoint is of step 2",
    ):
        run.fit()
    assert checkpoint.checkpoint_steps(run.directory / "checkpoints") == [1, 2]


def test_a_step_that_leaves_the_numbers_names_its_layer(toy, settings, trainer):
    class Overflow(torch.nn.Module):
        size = 1.0

        def forward(self, x):
            return (x.double() * self.size * self.size).float()

    task, kept = toy(), {}
    task.net[2] = Overflow()

    def spoil(step):
        if step == 2:
            task.net[2].size = 1e300
            kept.update({name: value.clone() for name, value in task.net.state_dict().items()})

    task.on_step = spoil
    layer = r"net.2 \(Overflow, float32\) gives (inf|nan) from finite input, in micro-batch 2"
    with pytest.raises(ValueError, match=rf"^loss/generator is (inf|nan) at step 3: {layer}"):
        trainer(task, settings()).fit()
    assert all(torch.equal(task.net.state_dict()[name], value) for name, value in kept.items())


def test_a_gradient_that_leaves_the_numbers_is_found(toy, settings, trainer):
    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    task, step = toy(), toy.step

    def spoilt(self, batch, generator, place):
        output = step(self, batch, generator, place)
        return dataclasses.replace(output, losses={"generator": Steep.apply(output.losses["generator"])})

    task.step = spoilt.__get__(task)
    with pytest.raises(
        ValueError, match=r"^grad_norm/generator is (nan|inf) at step 1: the gradient at the output of net"
    ):
        trainer(task, settings()).fit()
