"""Small types that the whole package shares."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a transformer may be given beside the noisy latents, the timestep and the text.

    All latents are (B, C, T, H, W) on the grid of the noisy latents and already scaled.

    Attributes:
        inpaint_latents: Mask channel(s) followed by masked-video latents, appended to the input channels.
        control_latents: Control signal (and reference) latents, appended after the inpaint channels.
        ref_latents: Reference image latents, T = 1, turned into tokens (`ref_channels` models).
        clip_states: Features of CLIP: (B, L, channels) patch tokens, or the pooled (B, channels) for V3;
            V5 models read them together with `ref_latents`.
        clip_mask: (B, tokens) 1 where an image token that the model makes of `clip_states` counts, 0 where
            not.
        size_ids: (B, 6) original height and width, target height and width, crop top and left in pixels (V4);
            None for what released pipelines pass for the size of the latents.
        resolution: (B, 2) height and width in pixels, for models that are told the size.
        aspect_ratio: (B, 1) height / width.
        frame_mask: (B, T) boolean, False for frames that are at timestep 0 (Open-Sora).
        num_frames: (B,) length of the clip, for models that are told it.
        fps: (B,) frames per second, for models that are told it.
    """

    inpaint_latents: Tensor | None = None
    control_latents: Tensor | None = None
    ref_latents: Tensor | None = None
    clip_states: Tensor | None = None
    clip_mask: Tensor | None = None
    size_ids: Tensor | None = None
    resolution: Tensor | None = None
    aspect_ratio: Tensor | None = None
    frame_mask: Tensor | None = None
    num_frames: Tensor | None = None
    fps: Tensor | None = None

    def with_frame_mask(self, mask_BT: Tensor) -> Self:
        """The same with a frame mask."""
        return replace(self, frame_mask=mask_BT)

    def require_only(self, *allowed: str) -> None:
        """Refuses what a model has no input for.

        Args:
            *allowed: Names of the attributes that the model takes.

        Raises:
            ValueError: If another one is given, naming it.
        """
        for field in fields(self):
            if field.name not in allowed and getattr(self, field.name) is not None:
                takes = f"it takes {', '.join(allowed)}" if allowed else "it takes no conditions"
                raise ValueError(f"the model has no input for {field.name}; {takes}")

    def join_channels(
        self, hidden_BCTHW: Tensor, *, in_channels: int, dtype: torch.dtype, control: bool = False
    ) -> Tensor:
        """Puts the latents that are given as channels after the noisy ones.

        Args:
            hidden_BCTHW: Noisy latents.
            in_channels: What the model takes in all.
            dtype: Of the result.
            control: Whether the model takes control latents after the inpaint latents.

        Returns:
            (B, in_channels, T, H, W).

        Raises:
            ValueError: If the channels do not add up to what the model takes.
        """
        given = (hidden_BCTHW, self.inpaint_latents, self.control_latents if control else None)
        parts = [part.to(dtype) for part in given if part is not None]
        channels = [part.shape[1] for part in parts]
        if sum(channels) != in_channels:
            extra = "inpaint and control latents" if control else "inpaint latents"
            raise ValueError(
                f"the model takes {in_channels} input channels (noisy latents, then {extra}), "
                f"got {' + '.join(map(str, channels))}"
            )
        return torch.cat(parts, dim=1)
