"""What is encoded of a clip, in pixels. B batch, T frames, H and W pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ea_dit.pipelines.channels import camera_channels, mask_video
from ea_dit.pipelines.variants import Traits
from ea_train.encoded.plan import fitted_size
from ea_train.encoded.samples import Kept, kept_of
from ea_train.tasks.base import Batch
from ea_vae import LatentGeometry

_NOISE_MEAN, _NOISE_STD = -3.0, 0.5


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A batch at a size that the networks take.

    Attributes:
        size_BTHW: Of the video.
        video_BCTHW: In -1 ... 1; None where everything is encoded already, as the next two.
        reference_BCHW: The frame that is a reference, or CLIP's picture.
        control_BCTHW: Like the video.
        generate_B1THW: Boolean, True where the network makes pixels; None makes all.
        rays_BCTHW: Six channels.
        fps_B: Frames per second of the sources.
        noise_seeds: Of the noise on given pixels, for each clip; None draws it from the step's generator.
        encoded: What a store has of it, by role.
    """

    size_BTHW: tuple[int, int, int, int]
    video_BCTHW: Tensor | None
    reference_BCHW: Tensor | None
    control_BCTHW: Tensor | None = None
    generate_B1THW: Tensor | None = None
    rays_BCTHW: Tensor | None = None
    fps_B: Tensor | None = None
    noise_seeds: Sequence[int] | None = None
    encoded: Mapping[str, Kept] = field(default_factory=dict)


Noise = tuple[Tensor, Tensor]
"""Unit normal (B, 3, T, H, W), and its strength (B,)."""


def fitted(batch: Batch, traits: Traits, geometry: LatentGeometry) -> Clip:
    """A batch cut to a length and a size that the networks take: last frames, bottom rows, right columns.

    Args:
        batch: As `LiveClips.prepare` takes it.
        traits: Of the transformer.
        geometry: Of the autoencoder.

    Raises:
        ValueError: The pictures are smaller than the smallest that the network takes.
    """
    pixels = batch.get("pixels")
    given = batch["size"] if pixels is None else (pixels.shape[1], *pixels.shape[-2:])
    frames, height, width = fitted_size(traits, geometry, *given)

    def cut(name: str) -> Tensor | None:
        value = batch.get(name)
        return None if value is None else value[:, :frames, ..., :height, :width]

    def channels_first(name: str) -> Tensor | None:
        value = cut(name)
        return None if value is None else value.transpose(1, 2)

    masks = cut("masks")
    return Clip(
        size_BTHW=(len(batch["texts"]), frames, height, width),
        video_BCTHW=channels_first("pixels"),
        reference_BCHW=None if pixels is None else _references(batch)[..., :height, :width],
        generate_B1THW=None if masks is None else masks[:, None],
        control_BCTHW=channels_first("control"),
        rays_BCTHW=channels_first("rays"),
        fps_B=batch.get("fps"),
        noise_seeds=batch.get("noise seeds"),
        encoded=kept_of(batch),
    )


def pixel_noise(clip: Clip, generator: torch.Generator) -> Callable[[], Noise]:
    """The noise on given pixels; made when it is called, from the clips' seeds, so that it can be made again.

    Clips without seeds draw it from the generator, at once.
    """
    batch, frames, height, width = clip.size_BTHW
    shape, seeds = (3, frames, height, width), clip.noise_seeds
    if seeds is None:
        strength_B = torch.randn(batch, generator=generator)
        drawn = torch.randn((batch, *shape), generator=generator), _strength(strength_B)
        return lambda: drawn

    def make() -> Noise:
        own = [torch.Generator().manual_seed(seed) for seed in seeds]
        strength_B = torch.cat([torch.randn(1, generator=one) for one in own])
        return torch.stack([torch.randn(shape, generator=one) for one in own]), _strength(strength_B)

    return make


def no_noise() -> None:
    """Of models that are given pixels as they are."""


def masked_pixels(clip: Clip, noise: Noise | None) -> Tensor:
    """What the mask leaves of the clip, with noise on it."""
    assert clip.video_BCTHW is not None
    assert clip.generate_B1THW is not None
    noise_BCTHW, strength_B = (None, 0.0) if noise is None else noise
    video = (clip.video_BCTHW + 1) / 2
    return mask_video(video, clip.generate_B1THW, noise_BCTHW=noise_BCTHW, noise_strength=strength_B)


def mask_pictures(clip: Clip) -> Tensor:
    """The mask as a picture of 0 and 1, which V3 and V4 encode."""
    assert clip.generate_B1THW is not None
    return clip.generate_B1THW.expand(-1, 3, -1, -1, -1).float()


def reference_pixels(clip: Clip) -> Tensor:
    """The reference as a clip of one frame, -1 ... 1."""
    assert clip.reference_BCHW is not None
    return clip.reference_BCHW[:, :, None]


def reference_picture(clip: Clip) -> Tensor:
    """The reference as CLIP takes it, 0 ... 1."""
    assert clip.reference_BCHW is not None
    return (clip.reference_BCHW.float() + 1) / 2


def video_pixels(clip: Clip) -> Tensor:
    """The clip."""
    assert clip.video_BCTHW is not None
    return clip.video_BCTHW


def control_pixels(clip: Clip) -> Tensor:
    """The control video."""
    assert clip.control_BCTHW is not None
    return clip.control_BCTHW


def ray_channels(clip: Clip, geometry: LatentGeometry) -> Tensor:
    """The rays at latent size; nothing is encoded, but much made smaller."""
    assert clip.rays_BCTHW is not None
    _, frames, height, width = clip.size_BTHW
    size = (geometry.latent_frames(frames), *geometry.latent_size(height, width))
    return camera_channels(clip.rays_BCTHW, size)


def role_pixels(role: str, clip: Clip, traits: Traits) -> Tensor:
    """What the autoencoder is given for a role of `EncodingPlan`, of clips that have seeds."""
    if role == "masked":
        noisy = traits.inpaint is not None and traits.inpaint.noisy_pixels
        assert clip.noise_seeds is not None
        return masked_pixels(clip, pixel_noise(clip, torch.Generator())() if noisy else None)
    return _ROLES[role](clip)


_ROLES: Mapping[str, Callable[[Clip], Tensor]] = {
    "video": video_pixels,
    "control": control_pixels,
    "reference": reference_pixels,
    "mask": mask_pictures,
}


def _strength(normal_B: Tensor) -> Tensor:
    return (normal_B * _NOISE_STD + _NOISE_MEAN).exp()


def _references(batch: Batch) -> Tensor:
    """The reference frame of every clip, the first where none is chosen."""
    pixels_BTCHW, numbers_B = batch["pixels"], batch.get("references")
    if numbers_B is None:
        return pixels_BTCHW[:, 0]
    return pixels_BTCHW[torch.arange(len(pixels_BTCHW), device=pixels_BTCHW.device), numbers_B]
