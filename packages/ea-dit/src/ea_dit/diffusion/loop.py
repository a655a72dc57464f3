"""The denoise loop, and what a solver must offer to be run by it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(model input, timestep scalar) to the guided prediction, same shape as the latents."""

PredictorAt = Callable[[int, int], Predictor]
"""(index of the model call, number of calls) to the predictor of that call."""

StepHook = Callable[[int, int, Tensor], None]
"""Called after every step with the number of steps done, their total, and the latents."""

Draw = Callable[[tuple[int, ...]], Tensor]
"""Gives the next unit-normal draw of a shape."""


class Cancelled(Exception):  # noqa: N818  (it is no error: the caller asked for it)
    """The caller asked to stop."""


@dataclass(frozen=True)
class Memory:
    """What a solver remembers of the steps before; it goes into a step and comes out of it.

    Attributes:
        outputs: Earlier outputs of the network in the form the solver works with, the newest last.
        base: Latents that the evaluations of one step share, where a step takes several.
        partial: Weighted sum of those evaluations so far.
    """

    outputs: tuple[Tensor, ...] = ()
    base: Tensor | None = None
    partial: Tensor | None = None


@dataclass(frozen=True)
class LoopState:
    """All that the loop knows between two steps: a run that starts from it ends as one that never stopped.

    That holds where draws continue too, see `ea_dit.pipelines.stages.SeededNoise`.

    Attributes:
        done: Model calls that are done.
        latents: After them.
        memory: Of the solver.
        clean: What the last call thinks the clean latents are, for pictures of the progress; None before the
            first call, and for solvers that do not say. The loop never reads it.
    """

    done: int
    latents: Tensor
    memory: Memory = Memory()
    clean: Tensor | None = None


StateHook = Callable[[LoopState], None]
"""Called after every step with the state; what it holds is never written to later."""


@runtime_checkable
class Estimates(Protocol):
    """A sampler that can say which clean latents a prediction amounts to."""

    def clean(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the clean latents of call `index`."""
        ...


class Sampler(Protocol):
    """A solver with the schedule of one run. It is immutable: runs differ only in what is passed."""

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every model call."""
        ...

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns the latents of the first step: of noise, or of a clean video noised to that level."""
        ...

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns the latents as the network takes them at call `index`."""
        ...

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after call `index`, and the memory for the next.

        Raises:
            ValueError: If the solver adds noise and `draw` is None.
        """
        ...


class Hold(Protocol):
    """Frames that are given and join a run in the middle of it."""

    def before(self, index: int, latents: Tensor, draw: Draw | None) -> Tensor:
        """Returns the latents of call `index` with the frames that join now at their noise level."""
        ...

    def after(self, index: int, before: Tensor, stepped: Tensor) -> Tensor:
        """Returns the latents after call `index` with the frames that are held put back."""
        ...


def draws(generator: torch.Generator) -> Draw:
    """Draws from a generator on the CPU, so that a seed means the same on every device."""
    return lambda shape: torch.randn(shape, generator=generator)


def drawn(draw: Draw | None, like: Tensor) -> Tensor:
    """The next draw, in the shape, dtype and place of `like`; an error if there is nothing to draw from."""
    if draw is None:
        raise ValueError("draw must be given: this sampler adds noise in every step")
    return draw(tuple(like.shape)).to(device=like.device, dtype=like.dtype)


def kept_steps(num_steps: int, strength: float) -> int:
    """How many of a schedule's steps, the last ones, are run.

    As released, min(int(n strength), n); a strength too small for even one step runs the last.

    Raises:
        ValueError: If there are no steps, or strength is outside (0, 1].
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
    return max(min(int(num_steps * strength), num_steps), 1)


def denoise(
    predict: Predictor,
    latents: Tensor,
    sampler: Sampler,
    *,
    draw: Draw | None = None,
    on_step: StepHook | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """Runs a sampler over its schedule with one predictor; see `denoise_steps`."""
    total = len(sampler.timesteps)

    def on_state(state: LoopState) -> None:
        if on_step is not None:
            on_step(state.done, total, state.latents)

    return denoise_steps(
        lambda index, total: predict, latents, sampler, draw=draw, on_state=on_state, should_stop=should_stop
    )


def denoise_steps(
    predictor_at: PredictorAt,
    latents: Tensor | LoopState,
    sampler: Sampler,
    *,
    draw: Draw | None = None,
    hold: Hold | None = None,
    on_state: StateHook | None = None,
    should_stop: Callable[[], bool] | None = None,
    gradient_from: int | None = None,
) -> Tensor:
    """Runs a sampler over its schedule; the guided network may differ from step to step.

    Args:
        predictor_at: Gives the guided network of a step.
        latents: Where to start, as `sampler.start` returned it; or where to go on: a state that `on_state`
            was given by a run with the same arguments.
        sampler: Solver and schedule.
        draw: Source of the noise that ancestral and SDE samplers add; others never ask.
        hold: Frames that do not follow the sampler from the start; None if all do.
        on_state: See `StateHook`.
        should_stop: Asked before every step.
        gradient_from: Index of the first step that keeps what a backward pass needs; None: none does.

    Returns:
        The latents after the last step.

    Raises:
        Cancelled: If `should_stop` said so.
        ValueError: If the sampler needs noise and `draw` is None, or `latents` is the state of a longer run.
    """
    timesteps = sampler.timesteps
    total = len(timesteps)
    state = latents if isinstance(latents, LoopState) else LoopState(0, latents)
    if state.done > total:
        raise ValueError(f"latents must be of a run of {total} steps, got a state after {state.done}")
    latents, memory = state.latents, state.memory
    for index in range(state.done, total):
        if should_stop is not None and should_stop():
            raise Cancelled(f"stopped after {index} of {total} steps")
        with torch.set_grad_enabled(gradient_from is not None and index >= gradient_from):
            if hold is not None:
                latents = hold.before(index, latents, draw)
            shown = sampler.model_input(index, latents)
            prediction = predictor_at(index, total)(shown, timesteps[index])
            clean = _clean(sampler, index, latents, prediction) if on_state is not None else None
            stepped, memory = sampler.step(index, latents, prediction, memory, draw)
            latents = stepped if hold is None else hold.after(index, latents, stepped)
            if on_state is not None:
                on_state(LoopState(index + 1, latents, memory, clean))
    return latents


def _clean(sampler: Sampler, index: int, latents: Tensor, prediction: Tensor) -> Tensor | None:
    return sampler.clean(index, latents, prediction) if isinstance(sampler, Estimates) else None
