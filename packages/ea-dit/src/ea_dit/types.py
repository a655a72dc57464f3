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
        text_mask: (B, M) boolean, True at real tokens; None attends to all of them. Open-Sora: a mask with
            fewer rows than the text is tiled, so that a null caption is cut to the prompt's length.
        frame_mask: (B, T) boolean, False for frames that are at timestep 0 (Open-Sora).
        num_frames: (B,) length of the clip as a condition (Open-Sora 1.1), as the four below.
        height: (B,) pixels.
        width: (B,) pixels.
        aspect_ratio: (B,) as the model was trained on it.
        fps: (B,) frames per second.
    """

    inpaint_latents: Tensor | None = None
    control_latents: Tensor | None = None
    ref_latents: Tensor | None = None
    clip_states: Tensor | None = None
    text_mask: Tensor | None = None
    frame_mask: Tensor | None = None
    num_frames: Tensor | None = None
    height: Tensor | None = None
    width: Tensor | None = None
    aspect_ratio: Tensor | None = None
    fps: Tensor | None = None
