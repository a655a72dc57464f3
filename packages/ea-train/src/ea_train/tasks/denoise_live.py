"""Samples that are encoded as they come: pixels to latents, captions to states, what is given to conditions.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ea_dit.pipelines.components import Components
from ea_dit.text.base import TextStates
from ea_train.tasks.base import Batch, Place
from ea_train.tasks.denoise_conditions import Clip, ConditionConfig, ConditionMaker
from ea_train.tasks.denoise_source import Sample
from ea_vae.latents import scale_latents


class PixelBatches(Protocol):
    """Batches of pixels of a data set."""

    @property
    def inputs(self) -> dict[str, str]:
        """What the batches depend on, described."""
        ...

    def batch(self, number: int, *, lead: int | None = None) -> Batch:
        """Training batch of a number from 0; see `LiveClips.prepare` for what is in it.

        Args:
            number: Of the batch.
            lead: Of the first batch of the step, for choices that all processes make alike.
        """
        ...

    def held_out(self) -> Iterator[Batch]:
        """Batches that are never trained on, the same ones every time."""
        ...


@dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """How pixels become latents.

    Attributes:
        vae_batch: Clips that the autoencoder takes at once.
    """

    vae_batch: int = 1

    def __post_init__(self) -> None:
        """Refuse empty batches."""
        if self.vae_batch < 1:
            raise ValueError(f"encoding.vae_batch must be at least 1, got {self.vae_batch}")


class LiveClips:
    """Files of a data set, encoded in every step; a `BatchSource`.

    Args:
        parts: The model: autoencoder and encoders stand still.
        data: Where pixels come from.
        conditions: What the network is given.
        encoding: How pixels become latents.
    """

    def __init__(
        self,
        parts: Components,
        data: PixelBatches,
        conditions: ConditionConfig,
        encoding: EncodingConfig | None = None,
    ) -> None:
        self.parts = parts
        self.data = data
        self.encoding = EncodingConfig() if encoding is None else encoding
        self.conditions = ConditionMaker(parts, conditions, self.encode)
        self.inputs = dict(data.inputs)

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Pixels, captions and what goes with them; the data set has its own seed and batch size."""
        del seed, size
        return self.data.batch(place.batch, lead=place.lead)

    @torch.no_grad()
    def prepare(self, batch: Batch, generator: torch.Generator) -> Sample:
        """Encode a batch.

        Args:
            batch: "pixels" (B, T, 3, H, W) in -1 ... 1 and "texts"; as far as there are: "masks" (B, T, H, W)
                boolean, True where the network makes pixels; "control" like the pixels; "rays"
                (B, T, 6, H, W); "references" (B,) frame numbers; "fps" (B,).
            generator: Of the latents, then of conditions.
        """
        with torch.autocast(self.parts.device.type, enabled=False):
            clip = fitted(batch, self.parts)
            latents_BCthw = self.encode(clip.video_BCTHW, generator)
            text = self._text(batch["texts"])
            given = self.conditions(clip, latents_BCthw, generator)
            text = self.conditions.without_captions(text, generator)
        return Sample(
            latents_BCthw=latents_BCthw,
            text=text,
            conditioning=given.conditioning,
            frame_mask_BT=given.frame_mask_BT,
        )

    def held_out(self) -> Iterator[Batch]:
        """Batches that are never trained on."""
        return self.data.held_out()

    def encode(self, video_BCTHW: Tensor, generator: torch.Generator) -> Tensor:
        """Scaled latents of pixels -1 ... 1, drawn from the posterior, in the dtype of the transformer."""
        parts = self.parts
        with parts.using("vae"):
            weight = next(parts.vae.parameters())
            drawn = [
                parts.vae.encode(part.to(device=weight.device, dtype=weight.dtype)).sample(generator)
                for part in video_BCTHW.split(self.encoding.vae_batch)
            ]
        latents = scale_latents(torch.cat(drawn), parts.vae.config.scaling_factor)
        return latents.to(device=parts.device, dtype=parts.dtype)

    def _text(self, texts: Sequence[str]) -> TextStates:
        assert self.parts.text_encoder is not None  # `load_networks` always loads one
        with self.parts.using("text_encoder"):
            states = self.parts.text_encoder.encode(list(texts))
        return states.to(self.parts.device, self.parts.dtype)


def fitted(batch: Batch, parts: Components) -> Clip:
    """A batch cut to a length and a size that the networks take: last frames, bottom rows, right columns.

    Args:
        batch: As `LiveClips.prepare` takes it.
        parts: The model.

    Raises:
        ValueError: The pictures are smaller than the smallest that the network takes.
    """
    pixels_BTCHW = batch["pixels"]
    frames, (height, width) = pixels_BTCHW.shape[1], pixels_BTCHW.shape[-2:]
    traits, geometry = parts.traits, parts.vae.geometry
    # With patches of 2 the network takes any size that the autoencoder does.
    step = max(traits.size_multiple, geometry.space)
    if min(height, width) < step:
        raise ValueError(f"clips of {width} x {height} are too small; this model takes {step} pixels or more")
    if not traits.moves:
        frames = 1
    frames = geometry.round_frames_down(frames)
    if traits.max_latent_frames is not None:
        frames = min(frames, geometry.pixel_frames(traits.max_latent_frames))
    size = (height // step * step, width // step * step)

    def cut(name: str) -> Tensor | None:
        value = batch.get(name)
        return None if value is None else value[:, :frames, ..., : size[0], : size[1]]

    masks, control, rays = cut("masks"), cut("control"), cut("rays")
    return Clip(
        video_BCTHW=_channels_first(cut("pixels")),
        reference_BCHW=_references(batch)[..., : size[0], : size[1]],
        generate_B1THW=None if masks is None else masks[:, None],
        control_BCTHW=None if control is None else _channels_first(control),
        rays_BCTHW=None if rays is None else _channels_first(rays),
        fps_B=batch.get("fps"),
    )


def _references(batch: Batch) -> Tensor:
    """The reference frame of every clip, the first where none is chosen."""
    pixels_BTCHW, numbers_B = batch["pixels"], batch.get("references")
    if numbers_B is None:
        return pixels_BTCHW[:, 0]
    return pixels_BTCHW[torch.arange(len(pixels_BTCHW), device=pixels_BTCHW.device), numbers_B]


def _channels_first(video_BTCHW: Tensor | None) -> Tensor:
    assert video_BTCHW is not None
    return video_BTCHW.transpose(1, 2)
