"""Clips that a model in training makes of fixed prompts, to look at: settings, and making them.

They come from the ordinary pipeline with the same noise every time, so two of them differ by the weights
alone. Shapes: T frames, H and W pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ea_dit.lora import Overlay
from ea_dit.pipelines import Components, GenerationPipeline, GenerationRequest


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Clips that are made while a model trains.

    Attributes:
        prompts: What they show, one clip each; none makes no clips.
        conditions: What goes with the prompts, one each, or none at all: for control models a video or a
            picture to follow, for camera models a path (words or a file), for inpaint models and Open-Sora
            1.1 the first picture. "" goes without.
        negative_prompt: What they avoid.
        every: Steps between; 0 goes with the validations. The last step always has them.
        width: Pixels; 0 for what is trained on.
        height: Pixels; 0 for what is trained on.
        num_frames: 1 makes pictures; 0 for what is trained on.
        num_steps: Of the sampler.
        guidance_scale: Of the sampler.
        sampler: Its name; empty for the one that the model's scheduler config names.
        seed: Of the noise.
        fps: Frames per second of the file.
    """

    prompts: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    negative_prompt: str = ""
    every: int = 0
    width: int = 0
    height: int = 0
    num_frames: int = 0
    num_steps: int = 25
    guidance_scale: float = 6.0
    sampler: str = ""
    seed: int = 43
    fps: int = 8

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        for name in ("every", "width", "height", "num_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"samples.{name} must be at least 0, got {getattr(self, name)}")
        if self.conditions and len(self.conditions) != len(self.prompts):
            raise ValueError(
                f"samples.conditions must be none or one for each prompt ({len(self.prompts)}), "
                f"got {len(self.conditions)}"
            )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A clip to look at.

    Attributes:
        caption: Its prompt.
        label: What it is of, such as "before"; may be empty.
        frames_THWC: uint8.
    """

    caption: str
    label: str
    frames_THWC: NDArray[np.uint8]


class ClipMaker:
    """Makes the clips with the weights that the networks have.

    Args:
        parts: The model.
        config: Settings.
        requests: Of `sample_requests`.
        overlay: A LoRA that learns: clips are also made without it, to be seen beside.
    """

    def __init__(
        self,
        parts: Components,
        config: SampleConfig,
        requests: Sequence[GenerationRequest],
        overlay: Overlay | None = None,
    ) -> None:
        self.every = config.every
        self.fps = config.fps
        self._parts = parts
        self._requests = list(requests)
        self._given = config.conditions or ("",) * len(config.prompts)
        self._overlay = overlay
        self._before: list[Panel] = []

    def describe(self) -> list[dict[str, Any]]:
        """What is made, ready for JSON."""
        return [
            {**request.to_dict(), "condition": given}
            for request, given in zip(self._requests, self._given, strict=True)
        ]

    def make(self) -> list[list[Panel]]:
        """A row of panels for every prompt.

        Raises:
            ValueError: A request fails.
            RuntimeError: Memory does not suffice.
        """
        with judged(self._parts.transformer):
            if self._overlay is None:
                return [[panel] for panel in self._panels("")]
            if not self._before:
                strength, self._overlay.strength = self._overlay.strength, 0.0
                try:
                    self._before = self._panels("before")
                finally:
                    self._overlay.strength = strength
            return [list(row) for row in zip(self._before, self._panels("now"), strict=True)]

    def _panels(self, label: str) -> list[Panel]:
        pipeline = GenerationPipeline(self._parts)
        panels = []
        for request in self._requests:
            frames = pipeline(request).frames_uint8()[0].numpy()
            panels.append(Panel(caption=request.prompt, label=label, frames_THWC=frames))
        return panels


@contextmanager
def judged(network: nn.Module) -> Iterator[None]:
    """The network as it is outside of training, and every part in its own mode again after that."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
