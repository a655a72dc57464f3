"""The one training loop.

Everything random is a function of the seed and the number of the micro-batch in the run: batches come from
`Task.batch(seed, place, ...)`, noise from a generator seeded with both. So a run that is killed and started
again continues from its last checkpoint with exactly the numbers it would have had.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from ea_kernels.runtime.files import write_json
from ea_train.config import RunConfig
from ea_train.loop import checkpoint
from ea_train.loop.batches import Cursor, generator_at, step_batches
from ea_train.loop.callbacks import MetricLog
from ea_train.loop.ema import ExponentialAverage
from ea_train.loop.optim import build_optimizers, lr_factor, set_learning_rates
from ea_train.loop.run_folder import check_same_run, sole_user
from ea_train.schema import to_mapping
from ea_train.tasks.base import Batch, Place, StepOutput, Task


class Trainer:
    """Runs a task to the end of its schedule, or from its last checkpoint.

    Args:
        task: Networks, data and loss.
        config: Loop and optimiser settings.
        directory: Run folder: checkpoints, log, exported model.
        device: Where the networks live.
    """

    def __init__(self, task: Task, config: RunConfig, directory: Path, *, device: torch.device) -> None:
        self.task = task
        self.config = config
        self.directory = directory
        self.device = device
        for module in task.modules.values():
            module.to(device)
            if config.loop.compile:
                module.compile()
        self.optimizers = {
            group: build_optimizers(config.optim, [task.modules[name] for name in names])
            for group, names in task.trainable.items()
        }
        averaged = {name: task.modules[name] for names in list(task.trainable.values())[:1] for name in names}
        self.ema = ExponentialAverage(averaged, config.loop.ema_decay) if config.loop.ema_decay else None
        self.cursor = Cursor()
        self._saved_steps = 0
        self._stop_requested = False

    @property
    def finished_steps(self) -> int:
        """Optimiser steps that are done."""
        return self.cursor.step

    def fit(self) -> None:
        """Train until the last step; on SIGTERM or SIGINT save and return early.

        Raises:
            ValueError: The checkpoint in the run folder is damaged or of another run, another process trains
                there, or a loss stopped being a finite number.
        """
        with sole_user(self.directory):
            self._fit()

    def _fit(self) -> None:
        self.resume()
        self._stop_requested = False
        log = MetricLog(
            self.directory, total=self.config.loop.steps, finished=self.finished_steps, stream=sys.stderr
        )
        try:
            with self._signals_caught():
                self._run(log)
        finally:
            log.close()
        if self.finished_steps != self._saved_steps:
            self.save()

    def validate(self) -> dict[str, float]:
        """The task's validation figures with the averaged weights."""
        averaged = nullcontext() if self.ema is None else self.ema.applied()
        # Compiling the networks once more, without gradients, takes longer than a validation saves.
        with averaged, torch.compiler.set_stance("force_eager"):
            return self.task.validate()

    def export(self, metadata: Mapping[str, str]) -> None:
        """Write the averaged networks in their released layout to `directory/export`."""
        facts = {"steps": str(self.finished_steps), **metadata}
        if self.ema is None:
            self.task.export(self.directory / "export", facts)
        else:
            with self.ema.applied():
                self.task.export(self.directory / "export", facts)

    def save(self) -> None:
        """Write a checkpoint of the finished steps and drop old ones."""
        tensors: dict[str, dict[str, Tensor]] = {
            f"module-{name}": module.state_dict() for name, module in self.task.modules.items()
        }
        for name, optimizer in self._named_optimizers():
            tensors[name] = checkpoint.optimizer_tensors(optimizer)
        if self.ema is not None:
            tensors["ema"] = self.ema.averages
        folder = self.directory / "checkpoints"
        state = {
            "batches": self.cursor.batches,
            "config": to_mapping(self.config),
            "inputs": self.task.inputs,
        }
        checkpoint.save(folder, self.finished_steps, tensors, state)
        checkpoint.prune(folder, self.config.loop.keep_checkpoints)
        self._saved_steps = self.finished_steps

    def resume(self) -> None:
        """Continue from the newest checkpoint in the run folder, if there is one.

        Raises:
            ValueError: It is damaged, or was made with other settings or from other inputs.
        """
        folder = self.directory / "checkpoints"
        if steps := checkpoint.checkpoint_steps(folder):
            tensors, state = checkpoint.load(folder, steps[-1])
            check_same_run(state, to_mapping(self.config), self.task.inputs, self.directory)
            try:
                self._restore(tensors)
            except (KeyError, RuntimeError) as error:
                newest = checkpoint.checkpoint_folder(folder, steps[-1])
                raise ValueError(
                    f"checkpoint {newest} lacks something or does not fit this task ({error}); remove it to "
                    "continue from the one before"
                ) from error
            self._saved_steps = int(state["step"])
            self.cursor = Cursor(step=self._saved_steps, batches=int(state["batches"]))
        write_json(self.directory / "config.json", to_mapping(self.config))

    def _restore(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, module in self.task.modules.items():
            module.load_state_dict(tensors[f"module-{name}"])
        for name, optimizer in self._named_optimizers():
            checkpoint.restore_optimizer(optimizer, tensors[name])
        if self.ema is not None:
            self.ema.restore(tensors["ema"])

    def _run(self, log: MetricLog) -> None:
        loop = self.config.loop
        saved_at = started = time.monotonic()
        for places, batches in step_batches(self.task, loop, self.cursor):
            output = self._update(places, batches)
            self.cursor = self.cursor.after(1, loop.grad_accum)
            step = self.cursor.step - 1
            if self._due(loop.log_every):
                log.write(step + 1, self._numbers(output, time.monotonic() - started))
            if loop.validate_every and self._due(loop.validate_every):
                log.write(step + 1, self.validate())
            if time.monotonic() - saved_at > 60 * loop.checkpoint_minutes or self._stop_requested:
                self._numbers(output, 0.0)  # refuses to save a run that has diverged
                self.save()
                saved_at = time.monotonic()
            if self._stop_requested:
                return

    def _update(self, places: list[Place], batches: list[Batch]) -> StepOutput:
        step = places[0].step
        factor = lr_factor(self.config.optim, step, self.config.loop.steps)
        outputs = []
        for place, batch in zip(places, batches, strict=True):
            generator = generator_at(self.config.loop.seed, place.batch)
            with torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.config.loop.precision == "bf16"
            ):
                output = self.task.step(self._to_device(batch), generator, place)
            for group, loss in output.losses.items():
                self._backward(group, loss / len(batches))
            outputs.append(_detached(output))
        for group, optimizers in self.optimizers.items():
            self._clip(group)
            set_learning_rates(optimizers, factor)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(step + 1)
        return _mean(outputs)

    def _backward(self, group: str, loss: Tensor) -> None:
        if len(self.task.trainable) == 1:
            loss.backward()
            return
        # One group's loss must not reach the weights of another: a generator is judged by the discriminator.
        parameters = [p for p in self._parameters(group) if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _clip(self, group: str) -> None:
        if self.config.optim.max_grad_norm:
            nn.utils.clip_grad_norm_(self._parameters(group), self.config.optim.max_grad_norm)

    def _parameters(self, group: str) -> list[nn.Parameter]:
        return [p for name in self.task.trainable[group] for p in self.task.modules[name].parameters()]

    def _named_optimizers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        for group, optimizers in self.optimizers.items():
            for index, optimizer in enumerate(optimizers):
                yield f"optimizer-{group}-{index}", optimizer

    def _to_device(self, batch: Batch) -> Batch:
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }

    def _numbers(self, output: StepOutput, seconds: float) -> dict[str, float]:
        values = {f"loss/{name}": float(loss) for name, loss in output.losses.items()}
        if wrong := sorted(name for name, value in values.items() if not math.isfinite(value)):
            raise ValueError(
                f"{wrong[0]} is {values[wrong[0]]} at step {self.finished_steps}; the run diverged, "
                f"its last checkpoint is of step {self._saved_steps}; try a smaller optim.lr in a new folder"
            )
        values.update({name: float(value) for name, value in output.metrics.items()})
        return {**values, "minutes": round(seconds / 60, 2)}

    def _due(self, every: int) -> bool:
        return self.finished_steps % every == 0 or self.finished_steps == self.config.loop.steps

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
            yield
            return
        previous = {name: signal.signal(name, self._request_stop) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stop_requested = True


def _detached(output: StepOutput) -> StepOutput:
    losses = {name: loss.detach() for name, loss in output.losses.items()}
    return StepOutput(losses=losses, metrics=output.metrics)


def _mean(outputs: list[StepOutput]) -> StepOutput:
    if len(outputs) == 1:
        return outputs[0]
    first = outputs[0]
    return StepOutput(
        losses={name: torch.stack([o.losses[name] for o in outputs]).mean() for name in first.losses},
        metrics={name: torch.stack([o.metrics[name] for o in outputs]).mean() for name in first.metrics},
    )
