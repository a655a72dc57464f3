"""One optimiser step: forward, backward, gradients of all ranks, clipping, update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ea_train.config import RunConfig
from ea_train.loop.clipping import clip_limit
from ea_train.loop.norms import block_norms
from ea_train.loop.optim import set_learning_rates
from ea_train.loop.parallel import World
from ea_train.loop.schedules import lr_factor
from ea_train.loop.seeding import generator_at
from ea_train.loop.sentinel import Sentinel
from ea_train.loop.sharding import local, whole
from ea_train.tasks.base import Batch, Place, StepOutput, Task

_WATCHED_BYTES = 1 << 30
"""Weights of more than this are not copied to measure how far a step moves them."""


class NotFiniteError(ValueError):
    """A loss or gradient stopped being a finite number."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one step did, as far as this rank saw it.

    Attributes:
        values: Mean losses and metrics over the micro-batches, gradient norms and limits; read when they are
            logged.
        batches: Micro-batches of this rank.
        samples: In them.
        tokens: Likewise; 0 where the task does not count them.
    """

    values: dict[str, Tensor | float]
    batches: int
    samples: int
    tokens: int


class Updater:
    """Moves the weights of a task by one step.

    Args:
        task: Networks and loss.
        config: Loop and optimiser settings.
        optimizers: By optimiser group.
        world: The ranks that share the step.
        device: Where the networks live.
    """

    def __init__(
        self,
        task: Task,
        config: RunConfig,
        optimizers: dict[str, list[torch.optim.Optimizer]],
        world: World,
        device: torch.device,
    ) -> None:
        self.task = task
        self.config = config
        self.optimizers = optimizers
        self.world = world
        self.device = device
        self._trained = {
            group: [p for optimizer in found for part in optimizer.param_groups for p in part["params"]]
            for group, found in optimizers.items()
        }

    def step(self, places: Sequence[Place], batches: Sequence[Batch], *, measured: bool) -> StepResult:
        """Train on this rank's micro-batches of one step.

        Args:
            places: Of the micro-batches.
            batches: On the CPU.
            measured: Also measure how far the weights move.

        Raises:
            NotFiniteError: A loss or gradient is not a finite number; the weights are as they were.
        """
        step = places[0].step
        outputs = [
            self._backward(place, batch, share=len(batches))
            for place, batch in zip(places, batches, strict=True)
        ]
        values: dict[str, Tensor | float] = _means(outputs)
        norms = {group: self._norm_of(group) for group in self.optimizers}
        if measured and self.config.loop.norms == "blocks":
            values.update(block_norms(self.task, self._trained))
        self._require_finite(places, batches, values, norms)
        factor = lr_factor(self.config.optim, step, self.config.loop.steps)
        for group, optimizers in self.optimizers.items():
            values[f"grad_norm/{group}"] = norm = norms[group]
            if limit := clip_limit(self.config.optim, step, norm):
                if norm > limit:  # else they would all be multiplied with one
                    total = torch.tensor(norm, device=self.device)
                    nn.utils.clip_grads_with_norm_(self._trained[group], limit, total)
                if self.config.optim.clipping == "abnormal":
                    values[f"grad_limit/{group}"] = limit
            set_learning_rates(optimizers, factor)
            values.update(self._moved(group, optimizers, measured=measured))
        values["lr"] = self.config.optim.lr * factor
        return StepResult(
            values=values,
            batches=len(batches),
            samples=sum(output.counts["samples"] for output in outputs),
            tokens=sum(output.counts.get("tokens", 0) for output in outputs),
        )

    def _backward(self, place: Place, batch: Batch, *, share: int) -> StepOutput:
        """Add the gradients of a micro-batch, one of `share`."""
        generator = generator_at(self.config.loop.seed, place.batch)
        bf16 = self.config.loop.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            output = self.task.step(self._to_device(batch), generator, place)
        for group, loss in output.losses.items():
            self._add_gradients(group, loss / share)
        return StepOutput(
            losses={name: loss.detach() for name, loss in output.losses.items()},
            metrics=output.metrics,
            counts={"samples": _length(batch), **output.counts},
        )

    def _add_gradients(self, group: str, loss: Tensor) -> None:
        if len(self.task.trainable) == 1:
            loss.backward()
            return
        # One group's loss must not reach the weights of another: a generator is judged by the discriminator.
        parameters = self._trained[group]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                new = laid_out_as(parameter, gradient)
                parameter.grad = new if parameter.grad is None else parameter.grad + new

    def _norm_of(self, group: str) -> float:
        """Average the gradients of a group over the ranks; their global norm."""
        parameters = self._trained[group]
        if self.config.loop.sharding == "none":  # else it happens in the backward pass
            self.world.average_gradients(parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        return float(whole(nn.utils.get_total_norm(gradients))) if gradients else 0.0

    def _moved(
        self, group: str, optimizers: list[torch.optim.Optimizer], *, measured: bool
    ) -> dict[str, Tensor | float]:
        """Update the weights of a group; the norm of the change where it is measured."""
        weights = [local(p.detach()) for p in self._trained[group]]
        measured = measured and sum(weight.nbytes for weight in weights) <= _WATCHED_BYTES
        before = [weight.clone() for weight in weights] if measured else []
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if not measured:
            return {}
        moved = torch.stack([(new - old).norm() for new, old in zip(weights, before, strict=True)]).norm()
        sharded = self.config.loop.sharding != "none"
        parts = self.world.gathered(float(moved)) if sharded else [float(moved)]
        return {f"update_norm/{group}": math.hypot(*parts)}

    def _require_finite(
        self,
        places: Sequence[Place],
        batches: Sequence[Batch],
        values: dict[str, Tensor | float],
        norms: dict[str, float],
    ) -> None:
        losses = {name: float(value) for name, value in values.items() if name.startswith("loss/")}
        found = {**losses, **{f"grad_norm/{group}": norm for group, norm in norms.items()}}
        wrong = [name for name, value in found.items() if not math.isfinite(value)]
        if not self.world.any_of(bool(wrong))[0]:
            return
        # Every rank looks, as networks that are spread over ranks need all of them.
        where = self._search(places, batches)
        what = f"{wrong[0]} is {found[wrong[0]]}" if wrong else "a loss of another rank is not finite"
        raise NotFiniteError(f"{what} at step {places[0].step + 1}: {where}")

    def _search(self, places: Sequence[Place], batches: Sequence[Batch]) -> str:
        """Run the step once more and find the layer where it goes wrong."""
        sentinel = Sentinel()
        with torch.compiler.set_stance("force_eager"), sentinel.watching(self.task.modules):
            for place, batch in zip(places, batches, strict=True):
                for parameters in self._trained.values():
                    for parameter in parameters:
                        parameter.grad = None
                self._backward(place, batch, share=len(batches))
                if sentinel.finding is not None:
                    return f"{sentinel.finding}, in micro-batch {place.batch}"
        return "no layer gives it, so it is in the loss itself or in the sum of gradients"

    def _to_device(self, batch: Batch) -> Batch:
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }


def laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the memory layout of its parameter, which `backward` gives and `grad` does not.

    Fused optimisers go through both in the order of their memory: of a view that repeats or permutes its
    values, as the sum over an axis has it, they would read others, and what lies behind.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _length(batch: Batch) -> int:
    return next((len(value) for value in batch.values() if isinstance(value, Tensor | list)), 0)


def _means(outputs: list[StepOutput]) -> dict[str, Tensor | float]:
    found: dict[str, list[Tensor]] = {}
    for output in outputs:
        for name, loss in output.losses.items():
            found.setdefault(f"loss/{name}", []).append(loss)
        for name, metric in output.metrics.items():
            found.setdefault(name, []).append(metric)
    return {name: torch.stack(values).mean() for name, values in found.items()}
