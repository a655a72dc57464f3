"""Small types that the whole package shares."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a transformer may be given beside the noisy latents, the timestep and the text.

    All latents are (B, C, T, H, W) on the grid of the noisy latents and already scaled.

    Attributes:
        inpaint_latents: Mask channel(s) followed by masked-video latents, appended to the input channels.
        control_latents: Control signal (and reference) latents, appended after the inpaint channels.
        ref_latents: Reference image latents, T = 1, turned into tokens (`ref_channels` models).
        clip_states: (B, L, clip_channels) image tokens (`clip_channels` models); need `ref_latents`.
    """

    inpaint_latents: Tensor | None = None
    control_latents: Tensor | None = None
    ref_latents: Tensor | None = None
    clip_states: Tensor | None = None
