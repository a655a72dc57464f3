"""What the network gets beside latents and text: condition channels, pictures, sizes, held frames.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ea_dit.diffusion import Sampler
from ea_dit.diffusion.iddpm_sampling import HeldFrames, IddpmSampler
from ea_dit.pipelines.channels import (
    camera_channels,
    encoded_mask,
    inpaint_channels,
    mask_video,
    reference_channels,
    resize_frames,
)
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.conditions import Camera, ClipImage, Control, Reference, frames_of, only
from ea_dit.pipelines.pixels import to_float
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.stages import GivenPixels, Noise, encode, given_pixels, gives_pixels
from ea_dit.pipelines.variants import OPEN_SORA_FRAME_INTERVAL
from ea_dit.types import Conditioning

LatentShape = tuple[int, int, int, int, int]
"""B, C, t, h, w."""

STILL_RATE = 120.0
"""Frames per second that networks which are told it get for a single picture."""


@dataclass(frozen=True)
class Picture:
    """The start picture as the network reads it.

    Attributes:
        states: Pooled (B, E) or patches (B, S, P).
        share: Of the steps, the last ones, in which the network is shown it.
    """

    states: Tensor
    share: float

    def shown(self, index: int, total: int) -> bool:
        """Whether it is shown in step `index` of `total`."""
        return index >= total * (1 - self.share)


@dataclass(frozen=True)
class Inputs:
    """Everything but latents, timestep and text, for one half of a guided batch.

    Attributes:
        conditioning: What both halves get in every step.
        picture: Only for the positive half, and not in every step.
        kept: Frames that are given: scaled latents, and edit ratios (B, T), 1 where there are none.
    """

    conditioning: Conditioning
    picture: Picture | None = None
    kept: tuple[Tensor, Tensor] | None = None

    def start(self, latents_BCthw: Tensor) -> Tensor:
        """The initial latents with the kept frames put in."""
        if self.kept is None:
            return latents_BCthw
        kept_BCthw, ratios_BT = self.kept
        return torch.where((ratios_BT < 1)[:, None, :, None, None], kept_BCthw, latents_BCthw)

    def hold(self, sampler: Sampler) -> HeldFrames | None:
        """What keeps the kept frames during a run."""
        if self.kept is None:
            return None
        assert isinstance(sampler, IddpmSampler)  # check_request refuses others
        return HeldFrames(sampler, self.kept[1].cpu())


def make_inputs(request: GenerationRequest, parts: Components, shape: LatentShape, noise: Noise) -> Inputs:
    """Conditions of a run.

    Args:
        request: What is given.
        parts: The model.
        shape: Of the latents.
        noise: Asked once, for pixel noise, if any pixels are kept and the network wants them noisy.

    Raises:
        ValueError: If the network has no input for what is given.
    """
    variant = parts.traits.variant
    inpaint = _inpaint(request, parts, shape, noise) if variant == "inpaint" else None
    control = _control(request, parts, shape) if variant in ("control", "camera") else None
    resolution, ratio = None, None
    if parts.traits.reads_size:
        resolution, ratio = size_conditions(parts, shape[0], request.height, request.width)
    count, rate = _length(request, parts, shape[0]) if parts.traits.reads_length else (None, None)
    return Inputs(
        Conditioning(
            inpaint_latents=inpaint,
            control_latents=control,
            resolution=resolution,
            aspect_ratio=ratio,
            num_frames=count,
            fps=rate,
        ),
        picture=_picture(request, parts, shape[0]),
        kept=_kept_frames(request, parts, shape) if variant == "frames" else None,
    )


def _inpaint(request: GenerationRequest, parts: Components, shape: LatentShape, noise: Noise) -> Tensor:
    batch, channels, *size = shape
    rules = parts.traits.inpaint
    assert rules is not None
    # Asked first: a video of nothing at the size of the result would be made for no use.
    given = given_pixels(request, parts) if gives_pixels(request) or not rules.zero_without_pictures else None
    if given is None or (rules.zero_without_pictures and not given.keeps):
        extra = channels + (1 if rules.resizes_mask else channels)
        return torch.zeros(batch, extra, *size, device=parts.device, dtype=parts.dtype)
    noisy = rules.noisy_pixels and given.keeps
    masked = mask_video(
        given.video_BCTHW,
        given.generate_B1THW,
        noise_BCTHW=noise(tuple(given.video_BCTHW.shape)) if noisy else None,
        noise_strength=request.noise_aug_strength,
    )
    latents = encode(parts, masked)
    if rules.resizes_mask:
        generate = given.generate_B1THW.to(parts.device)
        joined = inpaint_channels(generate, latents, parts.vae.config.scaling_factor)
    else:
        joined = torch.cat((_mask_latents(given, parts), latents), dim=1)
    return joined.expand(batch, -1, -1, -1, -1)


def _mask_latents(given: GivenPixels, parts: Components) -> Tensor:
    with parts.using("vae"):
        weight = next(parts.vae.parameters())
        generate = given.generate_B1THW.to(device=weight.device, dtype=weight.dtype)
        return encoded_mask(parts.vae, generate).to(device=parts.device, dtype=parts.dtype)


def _control(request: GenerationRequest, parts: Components, shape: LatentShape) -> Tensor:
    batch, channels, *size = shape
    like = {"device": parts.device, "dtype": parts.dtype}
    pad = parts.vae.geometry.pad_frames
    if parts.traits.variant == "camera":
        camera = only(request.conditions, Camera)
        rays = torch.zeros(batch, 6, *size)
        if camera is not None:
            rays = camera_channels(pad(camera.rays.float()[None]), (size[0], size[1], size[2]))
        signal = rays.to(**like)
    elif (control := only(request.conditions, Control)) is None:
        signal = torch.zeros(batch, channels, *size, **like)
    else:
        pixels = _fit(pad(to_float(control.pixels)[None]), request)
        signal = encode(parts, pixels * 2 - 1)
    blocks = [signal.expand(batch, -1, -1, -1, -1)]
    if parts.traits.reference:
        blocks.append(_reference(request, parts, shape))
    return torch.cat(blocks, dim=1)


def _reference(request: GenerationRequest, parts: Components, shape: LatentShape) -> Tensor:
    reference = only(request.conditions, Reference)
    if reference is None or shape[2] == 1:
        return torch.zeros(shape, device=parts.device, dtype=parts.dtype)
    pixels = _fit(to_float(reference.pixels)[None, :, None], request)
    latents = reference_channels(encode(parts, pixels * 2 - 1), shape[2])
    return latents.expand(shape[0], -1, -1, -1, -1)


def _fit(video_BCTHW: Tensor, request: GenerationRequest) -> Tensor:
    return resize_frames(video_BCTHW, request.height, request.width)


def _picture(request: GenerationRequest, parts: Components, batch: int) -> Picture | None:
    """States of the first picture, for networks that read it."""
    kind = parts.traits.image_states
    image = _seen_image(request)
    if kind is None or parts.image_encoder is None or image is None:
        return None
    with parts.using("image_encoder"):
        encoded = parts.image_encoder.encode(to_float(image)[None])
    states = encoded.pooled_BE if kind == "pooled" else encoded.patches_BSP
    states = states.to(device=parts.device, dtype=parts.dtype)
    return Picture(states.expand(batch, *states.shape[1:]), request.clip_apply_ratio)


def _seen_image(request: GenerationRequest) -> Tensor | None:
    """(3, h, w): the picture that is meant for CLIP, or else the first frame if it is given."""
    meant = only(request.conditions, ClipImage)
    if meant is not None:
        return meant.pixels
    starts = (given for given in frames_of(request.conditions) if 0 in given.places(request.num_frames))
    first = next(starts, None)
    return None if first is None else first.video[:, 0]


def _kept_frames(
    request: GenerationRequest, parts: Components, shape: LatentShape
) -> tuple[Tensor, Tensor] | None:
    if not gives_pixels(request):
        return None
    given = given_pixels(request, parts)
    if not given.keeps:
        return None
    generate_T = given.generate_B1THW[0, 0].flatten(1)
    kept_BCthw = encode(parts, given.video_BCTHW * 2 - 1).expand(shape)
    ratios_T = generate_T.all(dim=1).float()
    for frames in frames_of(request.conditions):
        places = frames.places(request.num_frames)
        ratios_T[places.start : places.stop] = frames.edit_ratio
    return kept_BCthw, ratios_T.expand(shape[0], -1).to(parts.device)


def size_conditions(parts: Components, batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Height and width in pixels (B, 2), and height / width (B, 1), for networks that are told the size."""
    sizes = torch.tensor([[float(height), float(width)]] * batch)
    ratios = sizes[:, :1] / sizes[:, 1:]
    return sizes.to(parts.device, parts.dtype), ratios.to(parts.device, parts.dtype)


def length_conditions(parts: Components, num_frames: int, rate_B: Tensor) -> tuple[Tensor, Tensor]:
    """Number of frames and frames per second of the source (B), for networks that are told the length.

    Args:
        parts: The model.
        num_frames: Of the clip.
        rate_B: Of the source; a single picture has `STILL_RATE` whatever it is.
    """
    rate_B = torch.full_like(rate_B, STILL_RATE) if num_frames == 1 else rate_B
    count_B = torch.full_like(rate_B, num_frames)
    return count_B.to(parts.device, parts.dtype), rate_B.to(parts.device, parts.dtype)


def _length(request: GenerationRequest, parts: Components, batch: int) -> tuple[Tensor, Tensor]:
    """The network saw every third frame of its training clips and was told the rate of the clip itself."""
    rate_B = torch.full((batch,), float(request.fps * OPEN_SORA_FRAME_INTERVAL))
    return length_conditions(parts, request.num_frames, rate_B)
