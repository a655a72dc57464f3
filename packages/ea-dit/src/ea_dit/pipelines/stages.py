"""The stages of a run as plain functions: text, given pixels, start, decoding.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ea_dit.diffusion import Draw, draws
from ea_dit.pipelines.channels import encode_video
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.conditions import Video, frames_of, only
from ea_dit.pipelines.pixels import to_boolean, to_float
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.text.base import TextStates, concatenate
from ea_vae import VideoAutoencoder, stream_frames

Noise: TypeAlias = Draw
"""Called for the initial noise first, then for pixel noise, then by samplers that add noise."""


@dataclass(frozen=True)
class PromptStates:
    """Encoded prompts.

    Attributes:
        positive: Of the prompts.
        negative: Of the negative prompts, as many and as long; only needed with guidance, and not by networks
            that have states of their own for no text.
    """

    positive: TextStates
    negative: TextStates | None = None


@dataclass(frozen=True)
class GivenPixels:
    """The pixels of a run and which of them are to be made.

    Attributes:
        video_BCTHW: Pixels 0 ... 1 of a length that the autoencoder takes.
        generate_B1THW: Boolean.
    """

    video_BCTHW: Tensor
    generate_B1THW: Tensor

    @property
    def keeps(self) -> bool:
        """Whether any pixel is to be kept."""
        return not bool(self.generate_B1THW.all())


class SeededNoise:
    """Draws on the CPU from one generator, so that a seed means the same on every device.

    Args:
        seed: Of the generator.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._draw = draws(self._generator)

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Returns the next unit-normal draw of a shape."""
        return self._draw(shape)

    def state(self) -> Tensor:
        """The state of the generator, uint8: `restore` makes the same draws follow."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Goes to a state that `state` gave."""
        self._generator.set_state(state)


def seeded_noise(seed: int) -> SeededNoise:
    """The draws of a request with that seed."""
    return SeededNoise(seed)


def encode_prompts(parts: Components, request: GenerationRequest, *, guided: bool) -> PromptStates:
    """Encodes the prompt, and the negative one if it is needed.

    Raises:
        ValueError: If there is no text encoder or a prompt is too long for it.
    """
    if parts.text_encoder is None:
        raise ValueError("prompt cannot be encoded: the pipeline has no text encoder")
    stored = parts.traits.text.stored_negative and not request.negative_prompt
    with parts.using("text_encoder"):
        if not guided or stored:
            return PromptStates(parts.text_encoder.encode([request.prompt]))
        states = parts.text_encoder.encode([request.negative_prompt, request.prompt])
    return PromptStates(states[1:2], states[0:1])


def model_text(prompts: PromptStates, parts: Components, *, guided: bool) -> TextStates:
    """The states as the network takes them: [negative, positive] with guidance."""
    negative = prompts.negative
    if not guided:
        return prompts.positive.to(parts.device, parts.dtype)
    if negative is None:
        negative = _stored_negative(parts, prompts.positive)
    if negative is None:
        raise ValueError("guidance_scale above 1 needs encoded negative prompts")
    return concatenate(negative, prompts.positive).to(parts.device, parts.dtype)


def _stored_negative(parts: Components, positive: TextStates) -> TextStates | None:
    """The network's own states for no text. As released, they are cut to the length of the prompt."""
    make = getattr(parts.transformer, "null_text", None)
    if not parts.traits.text.stored_negative or make is None:
        return None
    states_BLE = make(*positive.states_BLE.shape[:2])
    return replace(positive, states_BLE=states_BLE.to(positive.states_BLE))


def gives_pixels(request: GenerationRequest) -> bool:
    """Whether a request gives pixels that may be kept."""
    return request.mode in ("masked_video", "image_to_video")


def given_pixels(request: GenerationRequest, parts: Components) -> GivenPixels:
    """The request's pictures as a video and a mask, at a length that the autoencoder takes."""
    size = (request.num_frames, request.height, request.width)
    generate = torch.ones(1, 1, *size, dtype=torch.bool)
    masked = only(request.conditions, Video)
    if masked is not None and masked.mask is not None:
        video = to_float(masked.pixels)[None]
        generate = to_boolean(masked.mask).expand(size)[None, None]
    else:
        video = torch.zeros(1, 3, *size)
        for given in frames_of(request.conditions):
            places = given.places(request.num_frames)
            video[0, :, places.start : places.stop] = to_float(given.video)
            generate[:, :, places.start : places.stop] = False
    pad = parts.vae.geometry.pad_frames
    return GivenPixels(pad(video), pad(generate))


def start_video(request: GenerationRequest, parts: Components) -> Tensor | None:
    """Scaled latents that the run starts from (strength below 1), or None."""
    video = only(request.conditions, Video)
    if request.strength == 1 or video is None:
        return None
    pixels = parts.vae.geometry.pad_frames(to_float(video.pixels)[None]) * 2 - 1
    return encode(parts, pixels)


def encode(parts: Components, pixels_BCTHW: Tensor) -> Tensor:
    """Scaled latents of pixels -1 ... 1, in the working dtype."""
    with parts.using("vae"):
        weight = next(parts.vae.parameters())
        latents = encode_video(parts.vae, pixels_BCTHW.to(device=weight.device, dtype=weight.dtype))
    return latents.to(device=parts.device, dtype=parts.dtype)


def decode(parts: Components, latents_BCthw: Tensor, num_frames: int) -> Iterator[Tensor]:
    """Scaled latents to float32 frames 0 ... 1 (B, 3, T, H, W) on the CPU, some after the other."""
    with parts.using("vae"):
        yield from decode_with(parts.vae, latents_BCthw, num_frames)


def decode_with(vae: VideoAutoencoder[Any], latents_BCthw: Tensor, num_frames: int) -> Iterator[Tensor]:
    """As `decode`, with an autoencoder that is where it is to be used."""
    weight = next(vae.parameters())
    latents_BCthw = latents_BCthw.to(device=weight.device, dtype=weight.dtype)
    for frames in stream_frames(vae, latents_BCthw, num_frames=num_frames):
        yield frames.cpu()
