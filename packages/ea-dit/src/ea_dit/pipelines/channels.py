"""Given pixels to the network's condition channels, for training and inference alike.

Source of the rules: the released pipelines. Shapes: B batch, C latent channels, T frames, H and W
pixels; t, h, w the latent sizes.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_vae.latents import scale_latents

CAMERA_SCALE = 6.0
"""Released camera models see ray maps times this."""


class _Posterior(Protocol):
    def mode(self) -> Tensor: ...


class _VaeConfig(Protocol):
    @property
    def scaling_factor(self) -> float: ...


class Vae(Protocol):
    """What conditions need of a video autoencoder."""

    @property
    def config(self) -> _VaeConfig:
        """Holds the scaling factor."""
        ...

    def encode(self, video_BCTHW: Tensor, /) -> _Posterior:
        """Pixels -1 ... 1 to the posterior."""
        ...


def encode_video(vae: Vae, video_BCTHW: Tensor) -> Tensor:
    """Encodes pixels -1 ... 1 to scaled latents: the posterior's mode times the scaling factor."""
    return scale_latents(vae.encode(video_BCTHW).mode(), vae.config.scaling_factor)


def mask_video(
    video_BCTHW: Tensor,
    generate_B1THW: Tensor,
    *,
    noise_BCTHW: Tensor | None = None,
    noise_strength: Tensor | float = 0.0,
) -> Tensor:
    """Blanks what is to be generated and adds a little noise to the rest.

    Args:
        video_BCTHW: Pixels 0 ... 1.
        generate_B1THW: Boolean, True where new content is wanted.
        noise_BCTHW: Unit normal; None adds none.
        noise_strength: Its standard deviation, one or one per sample (B,).

    Returns:
        Pixels -1 ... 1 (noise may leave the range, as in released training) with -1 where generated. A kept
        value of exactly -1 gets no noise either.
    """
    masked = (video_BCTHW * 2 - 1).masked_fill(generate_B1THW, -1.0)
    if noise_BCTHW is None:
        return masked
    if isinstance(noise_strength, Tensor):
        noise_strength = noise_strength.to(masked).view(-1, 1, 1, 1, 1)
    noise = (noise_BCTHW.to(masked) * noise_strength).masked_fill(masked == -1, 0.0)
    return masked + noise


def resize_to_latents(signal_BCTHW: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Resizes a mask or ray map to latent sizes: the first frame alone, the others together.

    Trilinear without low-pass, as released models were trained with: a latent value averages the central two
    samples of each axis only, so a kept last frame does not show in the mask.

    Args:
        signal_BCTHW: Any channels.
        size: t, h, w.
    """
    frames, height, width = size
    signal_BCTHW = signal_BCTHW.float()
    parts = [F.interpolate(signal_BCTHW[:, :, :1], size=(1, height, width), mode="trilinear")]
    if frames > 1:
        rest = signal_BCTHW[:, :, 1:]
        parts.append(F.interpolate(rest, size=(frames - 1, height, width), mode="trilinear"))
    return torch.cat(parts, dim=2)


def inpaint_channels(
    generate_B1THW: Tensor,
    masked_latents_BCthw: Tensor,
    scaling_factor: float,
    *,
    zeroed_B: Tensor | None = None,
) -> Tensor:
    """Joins the mask channel and the masked video's latents.

    A sample in which everything is generated gets zeros everywhere: that is how inpaint models do text to
    video.

    Args:
        generate_B1THW: Boolean, on the pixel grid.
        masked_latents_BCthw: Scaled latents of `mask_video`'s result.
        scaling_factor: Of the autoencoder; the mask channel holds it where pixels are kept, 0 elsewhere.
        zeroed_B: Boolean, samples that get zeros; None for those in which everything is generated.

    Returns:
        (B, 1 + C, t, h, w) in the dtype of the latents.
    """
    latents = masked_latents_BCthw
    size = (latents.shape[2], latents.shape[3], latents.shape[4])
    kept_B1thw = resize_to_latents(~generate_B1THW, size) * scaling_factor
    channels = torch.cat((kept_B1thw.to(latents), latents), dim=1)
    if zeroed_B is None:
        zeroed_B = nothing_kept(generate_B1THW)
    return channels.masked_fill(zeroed_B.to(channels.device).view(-1, 1, 1, 1, 1), 0.0)


def nothing_kept(generate_B1THW: Tensor) -> Tensor:
    """Boolean (B,), the samples in which everything is generated."""
    return generate_B1THW.flatten(1).all(dim=1)


def encoded_mask(vae: Vae, generate_B1THW: Tensor) -> Tensor:
    """The mask as V3 and V4 read it: encoded like a picture.

    The autoencoder is used to -1 ... 1, but models were trained with 0 and 1.

    Args:
        vae: The autoencoder.
        generate_B1THW: 1 where new content is wanted, else 0, in the number type of the autoencoder.

    Returns:
        Scaled latents (B, C, t, h, w).
    """
    return encode_video(vae, generate_B1THW.expand(-1, 3, -1, -1, -1))


def inpaint_condition(
    vae: Vae,
    video_BCTHW: Tensor,
    generate_B1THW: Tensor,
    *,
    noise_BCTHW: Tensor | None = None,
    noise_strength: Tensor | float = 0.0563,
) -> Tensor:
    """`mask_video`, `encode_video` and `inpaint_channels` in one call.

    Args:
        vae: The autoencoder.
        video_BCTHW: Pixels 0 ... 1; T = 4n + 1.
        generate_B1THW: Boolean.
        noise_BCTHW: Unit normal; None adds none.
        noise_strength: Its standard deviation, one or one per sample (B,).

    Returns:
        (B, 1 + C, t, h, w).
    """
    masked = mask_video(video_BCTHW, generate_B1THW, noise_BCTHW=noise_BCTHW, noise_strength=noise_strength)
    return inpaint_channels(generate_B1THW, encode_video(vae, masked), vae.config.scaling_factor)


def resize_frames(video_BCTHW: Tensor, height: int, width: int) -> Tensor:
    """Resizes every frame by picking the nearest pixel, as released pipelines do with control inputs."""
    if video_BCTHW.shape[-2:] == (height, width):
        return video_BCTHW
    return F.interpolate(video_BCTHW, size=(video_BCTHW.shape[2], height, width), mode="nearest")


def reference_channels(ref_latents_BC1hw: Tensor, num_latent_frames: int) -> Tensor:
    """Reference channels of a control model: the image in latent frame 0, zeros after it.

    A result of one latent frame ignores the reference, as released.
    """
    shape = list(ref_latents_BC1hw.shape)
    shape[2] = num_latent_frames
    channels = ref_latents_BC1hw.new_zeros(shape)
    if num_latent_frames > 1:
        channels[:, :, :1] = ref_latents_BC1hw
    return channels


def camera_channels(rays_BCTHW: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Camera channels of a control model: the ray map at latent size, scaled."""
    return resize_to_latents(rays_BCTHW, size) * CAMERA_SCALE
