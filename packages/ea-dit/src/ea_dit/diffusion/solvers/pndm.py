"""PNDM: DDIM's transfer with the noise of a linear multistep method. Liu et al. 2022 (arXiv 2202.09778)."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.loop import Draw, Memory, kept_steps
from ea_dit.diffusion.prediction import Level, clean_of, mix, noise_of, wide
from ea_dit.diffusion.solvers.grid import CLEAN, ddpm_level, spaced_timesteps

# Weights of Adams-Bashforth on as many outputs as there are, the oldest first.
MULTISTEP = {
    1: (1.0,),
    2: (-1 / 2, 3 / 2),
    3: (5 / 12, -16 / 12, 23 / 12),
    4: (-9 / 24, 37 / 24, -59 / 24, 55 / 24),
}
RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
WARM_UP_STEPS = 3


_Role = Literal[0, 1, 2, 3, "multistep", "repeat"]
"""Evaluation 0 ... 3 of a Runge-Kutta step, a multistep, or the second evaluation of a first step without."""


@dataclass(frozen=True)
class _Call:
    """One model call and the transfer that follows it.

    Attributes:
        timestep: What the network is told.
        here: Level of the step's beginning.
        there: Level that the transfer ends at.
        role: See `_Role`.
    """

    timestep: int
    here: Level
    there: Level
    role: _Role


@dataclass(frozen=True)
class PndmSampler:
    """Fourth-order multistep after three Runge-Kutta steps: n steps take n + 9 model calls.

    With `skip_prk_steps` the order grows from one while the outputs gather, and n steps take n + 1 calls.
    As released, outputs of the network are combined as they are and then turned into noise at the beginning
    of the step, which makes the method first order for v_prediction (second order else), and
    `rescale_betas_zero_snr` is not applied. With strength below 1 the warm-up begins at the first step that
    is run.

    Attributes:
        schedule: The process.
        num_steps: n, at least 4 after strength, 2 with `skip_prk_steps`.
        strength: Share of the steps, the last ones, that are run.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0
    calls: tuple[_Call, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the list of calls."""
        kept = kept_steps(self.num_steps, self.strength)
        least = 2 if self.schedule.skip_prk_steps else WARM_UP_STEPS + 1
        if kept < least:
            raise ValueError(
                f"num_steps times strength must be at least {least} for PNDM, "
                f"got {self.num_steps} x {self.strength}"
            )
        falling = [round(t) for t in spaced_timesteps(self.schedule, self.num_steps, "leading")][-kept:]
        object.__setattr__(self, "calls", tuple(self._plan(falling)))

    def _plan(self, falling: list[int]) -> list[_Call]:
        schedule = replace(self.schedule, rescale_betas_zero_snr=False)
        levels = [ddpm_level(value) for value in schedule.alphas_cumprod.tolist()]
        end = CLEAN if schedule.set_alpha_to_one else levels[0]
        width = schedule.num_train_timesteps // self.num_steps
        half = width // 2

        def call(timestep: int, start: int, stop: int, role: _Role) -> _Call:
            return _Call(timestep, levels[start], levels[stop] if stop >= 0 else end, role)

        if schedule.skip_prk_steps:
            first, second = falling[:2]
            return [
                call(first, first, first - width, "multistep"),
                call(second, second + width, second, "repeat"),
                *(call(t, t, t - width, "multistep") for t in falling[1:]),
            ]
        calls = []
        for start, stop in pairwise(falling[: WARM_UP_STEPS + 1]):
            middle = stop + half
            calls += [
                call(start, start, start - half, 0),
                call(middle, start, middle, 1),
                call(middle, start, middle - half, 2),
                call(stop, start, stop, 3),
            ]
        return calls + [call(t, t, t - width, "multistep") for t in falling[WARM_UP_STEPS:]]

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every model call."""
        return torch.tensor([call.timestep for call in self.calls])

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns noise, or a clean video noised to the first level."""
        if clean is None:
            return noise
        return mix(wide(clean), wide(noise), self.calls[0].here).to(clean.dtype)

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns the latents as they are."""
        del index
        return latents

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after call `index`; within a step, those of the next evaluation."""
        del draw
        call = self.calls[index]
        x, output = wide(latents), wide(prediction)
        outputs, base, partial = memory.outputs, memory.base, memory.partial
        if call.role == "multistep":
            outputs, base = (*outputs, output)[-4:], x
            weights = MULTISTEP[len(outputs)]
            used = sum((w * o for w, o in zip(weights, outputs)), torch.zeros_like(output))
        elif call.role == "repeat":
            used = (output + outputs[-1]) / 2
        else:
            if call.role == 0:
                outputs, base, partial = (*outputs, output), x, torch.zeros_like(output)
            assert partial is not None
            partial = partial + RUNGE_KUTTA[call.role] * output
            used = partial if call.role == 3 else output
        assert base is not None
        moved = self._transfer(base, used, call.here, call.there)
        return moved.to(prediction.dtype), Memory(outputs=outputs, base=base, partial=partial)

    def _transfer(self, base: Tensor, output: Tensor, here: Level, there: Level) -> Tensor:
        """DDIM's step with an output that need not be that of `base`."""
        kind = self.schedule.prediction_type
        return mix(clean_of(output, base, here, kind), noise_of(output, base, here, kind), there)
