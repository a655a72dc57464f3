"""Generating many clips with one loaded model."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ea_app.api.engine import Engine
from ea_dit.pipelines import Condition, GenerationRequest, PromptStates

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How every clip is made.

    Attributes:
        width: Pixels.
        height: Pixels.
        frames: Their number.
        steps: Denoising steps.
        guidance: Guidance scale.
    """

    width: int
    height: int
    frames: int
    steps: int
    guidance: float

    def request(self, prompt: str, seed: int, *conditions: Condition) -> GenerationRequest:
        """The request of one clip."""
        return GenerationRequest(
            prompt=prompt,
            width=self.width,
            height=self.height,
            num_frames=self.frames,
            num_steps=self.steps,
            guidance_scale=self.guidance,
            seed=seed,
            conditions=conditions,
        )


def add_sampling_arguments(parser: argparse.ArgumentParser, *, count: int) -> None:
    """Options that benchmarks of generated clips share."""
    parser.add_argument("--count", type=int, default=count, help=f"clips [default: {count}]")
    parser.add_argument("--seed", type=int, default=2026, help="of scenes and clips [default: 2026]")
    parser.add_argument("--size", help="WxH [default: the model's]")
    parser.add_argument("--frames", type=int, help="[default: the model's]")
    parser.add_argument("--steps", type=int, help="[default: the model's]")
    parser.add_argument("--guidance", type=float, help="[default: the model's]")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")


def load(arguments: argparse.Namespace) -> tuple[Engine, Setup]:
    """The model and how it is used."""
    engine = Engine.load(arguments.model, device=arguments.device, dtype=arguments.dtype)
    options = {name: getattr(arguments, name) for name in ("size", "frames", "steps", "guidance")}
    fields = engine.job("x", **options).fields
    setup = Setup(
        width=fields["width"],
        height=fields["height"],
        frames=fields["num_frames"],
        steps=fields["num_steps"],
        guidance=fields["guidance_scale"],
    )
    return engine, setup


def generate_batches(
    engine: Engine, setup: Setup, prompts: Sequence[str], seeds: Sequence[int], batch: int
) -> Iterator[Frames]:
    """Clips (T, H, W, 3) of prompts, several at a time; each starts from the noise of its own seed."""
    encoder = engine.pipeline.components.text_encoder
    assert encoder is not None
    for start in range(0, len(prompts), batch):
        texts, own = list(prompts[start : start + batch]), seeds[start : start + batch]
        with torch.no_grad():
            states = PromptStates(encoder.encode(texts), encoder.encode([""] * len(texts)))
        request = setup.request(texts[0], own[0])
        made = engine.pipeline(request, prompts=states, noise=_noise_of(own))
        yield from made.frames_uint8().numpy()


def generate_one(engine: Engine, request: GenerationRequest) -> Frames:
    """The clip (T, H, W, 3) of one request."""
    return engine.pipeline(request).frames_uint8()[0].numpy()


def _noise_of(seeds: Sequence[int]) -> Callable[[tuple[int, ...]], Tensor]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda shape: torch.cat([torch.randn((1, *shape[1:]), generator=g) for g in generators])


class Progress:
    """A line every ten seconds.

    Args:
        total: Number of clips.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._said = time.perf_counter()

    def step(self) -> None:
        """One clip is done."""
        self._done += 1
        now = time.perf_counter()
        if now - self._said > 10 or self._done == self._total:
            self._said = now
            each = (now - self._start) / self._done
            left = each * (self._total - self._done)
            print(f"{self._done}/{self._total} clips, {each:.2f} s each, {left:.0f} s left", file=sys.stderr)

    @property
    def seconds_per_clip(self) -> float:
        """So far."""
        return (time.perf_counter() - self._start) / max(1, self._done)
