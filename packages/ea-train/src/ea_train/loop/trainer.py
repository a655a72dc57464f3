"""The one training loop.

Everything random is a function of the seed and the number of the micro-batch in the run: batches come from
`Task.batch(seed, place, ...)`, noise from a generator seeded with both. So a run that is killed and started
again continues from its last checkpoint with exactly the numbers it would have had, with any number of worker
processes; and a step of N processes is one of N micro-batches in one process.
"""

import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from ea_kernels.runtime.files import write_json
from ea_train.config import RunConfig
from ea_train.loop import checkpoint
from ea_train.loop.batches import Cursor, step_batches, workers_watched
from ea_train.loop.callbacks import MetricLog
from ea_train.loop.ema import ExponentialAverage
from ea_train.loop.meter import Meter
from ea_train.loop.optim import build_optimizers
from ea_train.loop.parallel import World
from ea_train.loop.run_folder import check_same_run, sole_user
from ea_train.loop.seeding import global_sources_kept
from ea_train.loop.setup import parts_of, prepare
from ea_train.loop.sharding import gathered, release
from ea_train.loop.signals import StopRequest
from ea_train.loop.state import RunState
from ea_train.loop.trackers import check_trackers, open_trackers
from ea_train.loop.update import NotFiniteError, StepResult, Updater
from ea_train.schema import to_mapping
from ea_train.tasks.base import Batch, HasClips, HasMeasures, Place, Task

_SAME_ON_ALL_RANKS = ("speed/seconds_per_step", "speed/data_wait")


class Trainer:
    """Runs a task to the end of its schedule, or from its last checkpoint.

    Args:
        task: Networks, data and loss.
        config: Loop and optimiser settings.
        directory: Run folder: checkpoints, log, exported model. All processes of a run must see the same.
        device: Where the networks live.
        world: The processes that train together; this one alone by default.
        after_step: Called after each step with the number of finished ones.
    """

    def __init__(
        self,
        task: Task,
        config: RunConfig,
        directory: Path,
        *,
        device: torch.device,
        world: World | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.directory = directory
        self.device = device
        self.world = world or World()
        self._after_step = after_step
        check_trackers(config.loop.trackers)
        prepare(task, config, self.world, device)
        parts = parts_of(task)
        self.optimizers = {
            group: build_optimizers(config.optim, [task.modules[name] for name in names], parts.get(group))
            for group, names in task.trainable.items()
        }
        averaged = {name: task.modules[name] for names in list(task.trainable.values())[:1] for name in names}
        self.ema = ExponentialAverage(averaged, config.loop.ema_decay) if config.loop.ema_decay else None
        self.cursor = Cursor(rank=self.world.rank, world_size=self.world.size)
        self._state = RunState(modules=task.modules, optimizers=self.optimizers, ema=self.ema)
        self._updater = Updater(task, config, self.optimizers, self.world, device)
        self._clips = task.clips if isinstance(task, HasClips) else None
        self._saved_steps = 0
        self._flops: float | None = None
        self._stop = StopRequest()

    @property
    def finished_steps(self) -> int:
        """Optimiser steps that are done."""
        return self.cursor.step

    def fit(self) -> None:
        """Train until the last step; on SIGTERM or SIGINT finish the step, save and return early.

        Raises:
            ValueError: All checkpoints in the run folder are damaged or they are of another run, another
                process trains there, or a loss stopped being a finite number.
            OSError: A checkpoint could not be written.
        """
        with sole_user(self.directory) if self.world.leads else nullcontext(), global_sources_kept():
            self._fit()

    def _fit(self) -> None:
        self.resume()
        self._stop.made = False
        log = self._open_log() if self.world.leads else None
        try:
            with self._stop.listening(), workers_watched("loop.num_workers"):
                self._run(log)
        finally:
            if log is not None:
                log.close()
        if self.finished_steps != self._saved_steps:
            self.save()

    def validate(self) -> dict[str, float]:
        """The task's validation figures with the averaged weights; every rank computes them."""
        # Compiling the networks once more, without gradients, takes longer than a validation saves.
        with self._averaged(), torch.compiler.set_stance("force_eager"):
            return self.task.validate()

    def export(self, metadata: Mapping[str, str]) -> None:
        """Write the averaged networks in their released layout to `directory/export`."""
        self._export_to(self.directory / "export", metadata)

    def save(self) -> None:
        """Write a checkpoint of the finished steps and drop old ones.

        Raises:
            OSError: It could not be written; the earlier ones are as they were.
        """
        folder, loop = self.directory / "checkpoints", self.config.loop
        beside = self._export_beside if loop.export_checkpoints else None
        if self.world.leads:
            step = self.finished_steps
            checkpoint.save(folder, step, self._state.files(), self._facts(), beside=beside)
            checkpoint.prune(folder, loop.keep_checkpoints)
        else:
            for _ in self._state.files():  # what is spread over ranks is gathered from all of them
                pass
            if beside is not None:
                beside(folder)
        self.world.wait()
        self._saved_steps = self.finished_steps

    def resume(self) -> None:
        """Continue from the newest whole checkpoint in the run folder, if there is one.

        Raises:
            ValueError: All are damaged, or the newest was made with other settings or from other inputs.
        """
        folder = self.directory / "checkpoints"
        found = None
        if self.world.leads:
            checkpoint.prune(folder)
            found = checkpoint.newest_whole(folder, self._tell)
        step = self.world.gathered(found)[0]
        if step is not None:
            tensors, facts = checkpoint.load(folder, step)
            self._continue_from(checkpoint.checkpoint_folder(folder, step), tensors, facts)
        if self.world.leads:
            write_json(self.directory / "config.json", to_mapping(self.config))

    def _continue_from(self, folder: Path, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        defaults = to_mapping(type(self.config)())
        change = check_same_run(facts, self._facts(), self.directory, defaults=defaults)
        try:
            self._state.restore(tensors)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"checkpoint {folder} does not fit this task ({error})") from error
        if change:
            self._tell(change)
        for name, there in facts["versions"].items():
            if (here := _versions()[name]) != there:
                self._tell(f"{folder} was made with {name} {there}, this is {here}: bits may differ")
        self._saved_steps, self._flops = int(facts["step"]), facts["flops"]
        self.cursor = replace(self.cursor, step=self._saved_steps, batches=int(facts["batches"]))

    def _facts(self) -> dict[str, Any]:
        """What a checkpoint says besides tensors; no state of a generator, as none outlives a micro-batch."""
        return {
            "batches": self.cursor.batches,
            "world_size": self.world.size,
            "flops": self._flops,
            "versions": _versions(),
            "config": to_mapping(self.config),
            "inputs": self.task.inputs,
        }

    def _run(self, log: MetricLog | None) -> None:
        loop = self.config.loop
        meter, saved_at = Meter(self._flops), time.monotonic()
        upcoming = step_batches(self.task, loop, self.cursor, pinned=self.device.type == "cuda")
        for places, batches in meter.waiting_for(upcoming):
            if not self.cursor.batches and self.world.leads:
                self._show_first(batches[0])
            due = self._due(loop.log_every, self.finished_steps + 1)
            first = not self.finished_steps and not loop.compile
            with meter.counting(batches=loop.grad_accum) if first else nullcontext():
                result = self._step(places, batches, measured=due)
            meter.note(result)
            self._flops = meter.flops
            self.cursor = self.cursor.after(1, loop.grad_accum)
            step = self.finished_steps
            if self.ema is not None:
                self.ema.update(step)
            if log is not None:
                log.tick(step)
            if due:
                self._log(log, self._means(result, meter))
            with meter.apart():
                if loop.validate_every and self._due(loop.validate_every, step):
                    self._log(log, self.validate())
                self._watch(log)
            late = time.monotonic() - saved_at > 60 * loop.checkpoint_minutes
            stop, late = self.world.any_of(self._stop.made, late and self.world.leads)
            if stop or late or (loop.checkpoint_every and step % loop.checkpoint_every == 0):
                self.save()
                saved_at = time.monotonic()
            if self._after_step is not None:
                self._after_step(step)
            if stop:
                return

    def _show_first(self, batch: Batch) -> None:
        from ea_train.loop.first_batch import write_first_batch  # noqa: PLC0415  draws, which training does not

        try:
            write_first_batch(self.directory, batch)
        except (ValueError, OSError) as error:
            self._tell(f"the first batch is not drawn: {_line(error)}")

    def _watch(self, log: MetricLog | None) -> None:
        """Make the clips of this step, if some are due; a failure is told and training goes on."""
        clips, step = self._clips, self.finished_steps
        if clips is None:
            return
        from ea_train.loop.samples import SampleFolder  # noqa: PLC0415  writes videos, which training does not

        folder = SampleFolder(self.directory, self.config, self.task, clips)
        if not folder.due(step):
            return
        try:
            there = self.world.gathered(folder.has(step) if self.world.leads else None)[0]
            # Ranks that hold parts of the networks have to take part.
            if not there and (self.world.leads or self.config.loop.sharding != "none"):
                with self._sampling():
                    rows = clips.make()
                if self.world.leads:
                    folder.write(step, rows)
            if log is not None:
                log.clips(step, *folder.files(step))
        except (ValueError, OSError, RuntimeError) as error:
            self._tell(f"step {step}: no clips: {_line(error)}")
        self.world.wait()

    @contextmanager
    def _sampling(self) -> Iterator[None]:
        """Averaged weights in the precision of the run; sources of randomness and memory are as before."""
        bf16 = self.config.loop.precision == "bf16"
        number = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)
        eager = torch.compiler.set_stance("force_eager")
        try:
            with self._averaged(), eager, global_sources_kept(), number:
                yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _step(self, places: list[Place], batches: list[Batch], *, measured: bool) -> StepResult:
        try:
            return self._updater.step(places, batches, measured=measured)
        except NotFiniteError as error:
            raise ValueError(
                f"{error}; the run diverged, its last checkpoint is of step {self._saved_steps}; "
                "try a smaller optim.lr in a new folder"
            ) from error

    def _means(self, result: StepResult, meter: Meter) -> dict[str, float]:
        """Logged values: means over all ranks, sums of their rates."""
        mine = {name: float(value) for name, value in result.values.items()}
        every = self.world.gathered((mine, meter.rates()))
        names = dict.fromkeys(name for values, _ in every for name in values)
        found = {name: mean(values[name] for values, _ in every if name in values) for name in names}
        for name in every[0][1]:
            rates = [rates.get(name, 0.0) for _, rates in every]
            found[name] = mean(rates) if name in _SAME_ON_ALL_RANKS else sum(rates)
        measures = self.task.measures() if isinstance(self.task, HasMeasures) else {}
        return {**found, **measures, "minutes": round(meter.minutes, 2)}

    def _log(self, log: MetricLog | None, values: dict[str, float]) -> None:
        if log is not None:
            log.write(self.finished_steps, values)

    def _open_log(self) -> MetricLog:
        loop = self.config.loop
        finished = self.finished_steps
        trackers = open_trackers(loop, self.directory, finished)
        return MetricLog(
            self.directory, total=loop.steps, finished=finished, trackers=trackers, stream=sys.stderr
        )

    def _due(self, every: int, step: int) -> bool:
        return step % every == 0 or step == self.config.loop.steps

    def _tell(self, line: str) -> None:
        if self.world.leads:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  as the log does

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        modules = self.task.modules.values()
        with nullcontext() if self.ema is None else self.ema.applied():
            release(modules)
            try:
                yield
            finally:
                release(modules)

    def _export_beside(self, folder: Path) -> None:
        self._export_to(folder / "export", {})

    def _export_to(self, folder: Path, metadata: Mapping[str, str]) -> None:
        with self._averaged(), gathered(self.task.modules.values()):
            if self.world.leads:
                self.task.export(folder, {"steps": str(self.finished_steps), **metadata})


def _versions() -> dict[str, str]:
    return {"ea-train": version("ea-train"), "torch": torch.__version__, "python": platform.python_version()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
