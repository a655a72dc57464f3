"""The stages of a run as plain functions.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ea_dit.diffusion.guidance import Guidance
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.conditions import (
    camera_channels,
    encode_video,
    inpaint_channels,
    mask_video,
    reference_channels,
    resize_frames,
)
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.variants import has_reference, variant_of
from ea_dit.text.base import TextStates, concatenate
from ea_dit.types import Conditioning
from ea_vae.latents import to_unit_range, unscale_latents

Noise = Callable[[tuple[int, ...]], Tensor]
"""Gives the next unit-normal draw of a shape; called for the initial noise first, then for pixel noise."""


@dataclass(frozen=True)
class PromptStates:
    """Encoded prompts.

    Attributes:
        positive: Of the prompts.
        negative: Of the negative prompts, as many and as long; only needed with guidance.
    """

    positive: TextStates
    negative: TextStates | None = None


@dataclass(frozen=True)
class GivenPixels:
    """The pixel inputs of an inpaint run.

    Attributes:
        video_BCTHW: Pixels 0 ... 1, T = 4n + 1.
        generate_B1THW: Boolean.
    """

    video_BCTHW: Tensor
    generate_B1THW: Tensor


def seeded_noise(seed: int) -> Noise:
    """Draws on the CPU from one generator, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def encode_prompts(parts: Components, request: GenerationRequest, *, guided: bool) -> PromptStates:
    """Encodes the prompt, and the negative one if it is needed.

    Raises:
        ValueError: If there is no text encoder or a prompt is too long for it.
    """
    if parts.text_encoder is None:
        raise ValueError("prompt cannot be encoded: the pipeline has no text encoder")
    if not guided:
        return PromptStates(parts.text_encoder.encode([request.prompt]))
    states = parts.text_encoder.encode([request.negative_prompt, request.prompt])
    return PromptStates(states[1:2], states[0:1])


def model_text(prompts: PromptStates, parts: Components, *, guided: bool) -> TextStates:
    """The states as the network takes them: [negative, positive] with guidance."""
    if not guided:
        return prompts.positive.to(parts.device, parts.dtype)
    if prompts.negative is None:
        raise ValueError("guidance_scale above 1 needs encoded negative prompts")
    return concatenate(prompts.negative, prompts.positive).to(parts.device, parts.dtype)


def given_pixels(request: GenerationRequest, parts: Components) -> GivenPixels | None:
    """The request's pictures as a video and a mask, at a length that the autoencoder takes.

    Returns:
        None if the request gives no pixels that are to be kept.
    """
    if request.mode == "masked_video":
        assert request.video is not None
        assert request.mask is not None
        video = to_float(request.video)[None]
        mask = to_boolean(request.mask)
        if mask.ndim == 2:
            mask = mask.expand(request.num_frames, -1, -1)
        generate = mask[None, None]
    elif request.mode == "image_to_video":
        video = torch.zeros(1, 3, request.num_frames, request.height, request.width)
        generate = torch.ones(1, 1, request.num_frames, request.height, request.width, dtype=torch.bool)
        if request.image is not None:
            first = to_float(request.image)
            first = first[:, None] if first.ndim == 3 else first
            video[0, :, : first.shape[1]] = first
            generate[:, :, : first.shape[1]] = False
        if request.last_image is not None:
            video[0, :, -1] = to_float(request.last_image)
            generate[:, :, -1] = False
    else:
        return None
    if bool(generate.all()):
        return None
    pad = parts.vae.geometry.pad_frames
    return GivenPixels(pad(video), pad(generate))


def start_video(request: GenerationRequest, parts: Components) -> Tensor | None:
    """Scaled latents that the run starts from (strength below 1), or None."""
    if request.strength == 1 or request.video is None:
        return None
    pixels = parts.vae.geometry.pad_frames(to_float(request.video)[None]) * 2 - 1
    return encode(parts, pixels)


def encode(parts: Components, pixels_BCTHW: Tensor) -> Tensor:
    """Scaled latents of pixels -1 ... 1, in the working dtype."""
    weight = next(parts.vae.parameters())
    latents = encode_video(parts.vae, pixels_BCTHW.to(device=weight.device, dtype=weight.dtype))
    return latents.to(device=parts.device, dtype=parts.dtype)


def make_conditioning(
    request: GenerationRequest, parts: Components, shape: tuple[int, int, int, int, int], noise: Noise
) -> Conditioning:
    """Condition channels of a run.

    Args:
        request: What is given.
        parts: The model.
        shape: (B, C, t, h, w) of the latents.
        noise: Asked once, for pixel noise, if any pixels are kept.
    """
    variant = variant_of(parts.transformer.config)
    if variant == "text":
        return Conditioning()
    if variant == "inpaint":
        return Conditioning(inpaint_latents=_inpaint(request, parts, shape, noise))
    return Conditioning(control_latents=_control(request, parts, shape))


def _inpaint(
    request: GenerationRequest, parts: Components, shape: tuple[int, int, int, int, int], noise: Noise
) -> Tensor:
    batch, channels, *size = shape
    given = given_pixels(request, parts)
    if given is None:
        return torch.zeros(batch, 1 + channels, *size, device=parts.device, dtype=parts.dtype)
    masked = mask_video(
        given.video_BCTHW,
        given.generate_B1THW,
        noise_BCTHW=noise(tuple(given.video_BCTHW.shape)),
        noise_strength=request.noise_aug_strength,
    )
    generate = given.generate_B1THW.to(parts.device)
    latents = inpaint_channels(generate, encode(parts, masked), parts.vae.config.scaling_factor)
    return latents.expand(batch, -1, -1, -1, -1)


def _control(request: GenerationRequest, parts: Components, shape: tuple[int, int, int, int, int]) -> Tensor:
    batch, channels, *size = shape
    config = parts.transformer.config
    like = {"device": parts.device, "dtype": parts.dtype}
    pad = parts.vae.geometry.pad_frames
    if variant_of(config) == "camera":
        if request.control_video is not None:
            raise ValueError("control_video cannot be used: the loaded model takes camera instead")
        rays = torch.zeros(batch, 6, *size) if request.camera is None else None
        if request.camera is not None:
            rays = camera_channels(pad(request.camera.float()[None]), (size[0], size[1], size[2]))
        assert rays is not None
        signal = rays.to(**like)
    elif request.camera is not None:
        raise ValueError("camera cannot be used: the loaded model takes control_video instead")
    elif request.control_video is None:
        signal = torch.zeros(batch, channels, *size, **like)
    else:
        pixels = _fit(pad(to_float(request.control_video)[None]), request)
        signal = encode(parts, pixels * 2 - 1)
    blocks = [signal.expand(batch, -1, -1, -1, -1)]
    if has_reference(config):
        blocks.append(_reference(request, parts, shape))
    elif request.ref_image is not None:
        raise ValueError("ref_image cannot be used: the loaded model takes no reference image")
    return torch.cat(blocks, dim=1)


def _reference(
    request: GenerationRequest, parts: Components, shape: tuple[int, int, int, int, int]
) -> Tensor:
    if request.ref_image is None or shape[2] == 1:
        return torch.zeros(shape, device=parts.device, dtype=parts.dtype)
    pixels = _fit(to_float(request.ref_image)[None, :, None], request)
    latents = reference_channels(encode(parts, pixels * 2 - 1), shape[2])
    return latents.expand(shape[0], -1, -1, -1, -1)


def _fit(video_BCTHW: Tensor, request: GenerationRequest) -> Tensor:
    return resize_frames(video_BCTHW, request.height, request.width)


def guided_predictor(
    parts: Components, text: TextStates, conditioning: Conditioning, guidance: Guidance
) -> Callable[[Tensor, Tensor], Tensor]:
    """The network with its text, conditions and guidance bound.

    Args:
        parts: The model.
        text: As `model_text` gives it.
        conditioning: For one half of the batch; both halves get the same.
        guidance: How the halves are combined.
    """
    model = parts.transformer
    inpaint, control = conditioning.inpaint_latents, conditioning.control_latents
    doubled = Conditioning(
        inpaint_latents=None if inpaint is None else guidance.double(inpaint),
        control_latents=None if control is None else guidance.double(control),
    )
    second = None if text.second is None else text.second.states_BLE

    def predict(latents_BCthw: Tensor, timestep: Tensor) -> Tensor:
        x_BCthw = guidance.double(latents_BCthw)
        # Released runs round the timestep to the latents' dtype.
        timestep_B = timestep.to(device=x_BCthw.device, dtype=x_BCthw.dtype).expand(x_BCthw.shape[0])
        prediction = model(x_BCthw, timestep_B, text.states_BLE, second, conditioning=doubled)
        return guidance.combine(prediction[:, : latents_BCthw.shape[1]])

    return predict


def decode(parts: Components, latents_BCthw: Tensor, num_frames: int) -> Tensor:
    """Scaled latents to float32 frames 0 ... 1 (B, 3, T, H, W) on the CPU."""
    vae = parts.vae
    weight = next(vae.parameters())
    scaled = latents_BCthw.to(device=weight.device, dtype=weight.dtype)
    frames = vae.decode(unscale_latents(scaled, vae.config.scaling_factor), num_frames=num_frames)
    return to_unit_range(frames).cpu()


def to_float(pixels: Tensor) -> Tensor:
    """Pixels as float32 in 0 ... 1 on the CPU."""
    return pixels.cpu().float() / 255 if pixels.dtype == torch.uint8 else pixels.cpu().float()


def to_boolean(mask: Tensor) -> Tensor:
    """A mask as booleans on the CPU, True = generate."""
    if mask.dtype == torch.bool:
        return mask.cpu()
    return mask.cpu() >= (128 if mask.dtype == torch.uint8 else 0.5)
