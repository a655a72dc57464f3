"""Samples that are encoded as they come: pixels to latents, captions to states, what is given to conditions.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ea_dit.pipelines.components import Components
from ea_dit.text.base import TextStates
from ea_train.encoded.plan import TEXT
from ea_train.encoded.samples import Kept
from ea_train.encoded.writing import text_fields, text_states
from ea_train.tasks.base import Batch, Place
from ea_train.tasks.denoise_conditions import ConditionConfig, ConditionMaker
from ea_train.tasks.denoise_encoders import Encoders
from ea_train.tasks.denoise_keeping import KeepEncodings
from ea_train.tasks.denoise_pixels import Clip, fitted, ray_channels, reference_picture, video_pixels
from ea_train.tasks.denoise_source import Sample
from ea_vae.latents import Posterior, scale_latents


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
    """Clips of a data set, encoded in every step as far as they are not encoded already; a `BatchSource`.

    Args:
        parts: The model: autoencoder and encoders stand still.
        data: Where pixels come from.
        conditions: What the network is given.
        encoding: How pixels become latents.
        keeping: Told of what had to be encoded; None where nothing is encoded before.
    """

    def __init__(
        self,
        parts: Components,
        data: PixelBatches,
        conditions: ConditionConfig,
        encoding: EncodingConfig | None = None,
        keeping: KeepEncodings | None = None,
    ) -> None:
        self.parts = parts
        self.data = data
        self.encoding = EncodingConfig() if encoding is None else encoding
        self.encoders = Encoders(parts.vae, parts.text_encoder, parts.image_encoder, parts.using)
        self.conditions = ConditionMaker(parts, conditions, self)
        self.keeping = keeping
        self.inputs = dict(data.inputs)

    def close(self) -> None:
        """Keep what was encoded and is not on disk yet."""
        if self.keeping is not None:
            self.keeping.close()

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
                (B, T, 6, H, W); "references" (B,) frame numbers; "fps" (B,). What is encoded already is as
                `ea_train.encoded.samples` says; where that is everything, "size" (T, H, W) stands for pixels.
            generator: Of the latents, then of conditions.
        """
        with torch.autocast(self.parts.device.type, enabled=False):
            clip = fitted(batch, self.parts.traits, self.parts.vae.geometry)
            if self.keeping is not None:
                self.keeping.begin(batch)
            latents_BCthw = self.latents("video", clip, lambda: video_pixels(clip), generator)
            text = self._text(batch["texts"], clip.encoded.get(TEXT))
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

    def latents(
        self, role: str, clip: Clip, pixels: Callable[[], Tensor], generator: torch.Generator
    ) -> Tensor:
        """Scaled latents in the dtype of the transformer, drawn from the posterior.

        Args:
            role: What of the clip.
            clip: What it brings encoded is not encoded again.
            pixels: Gives (B, 3, T, H, W), -1 ... 1.
            generator: Of the draw.
        """
        parts, count = self.parts, clip.size_BTHW[0]
        there, fields = _kept(clip.encoded.get(role), count)
        drawn: list[Tensor] = []
        with nullcontext() if all(there) else parts.using("vae"):
            video_BCTHW = None if all(there) else pixels()
            for start in range(0, count, self.encoding.vae_batch):
                rows = slice(start, start + self.encoding.vae_batch)
                if all(there[rows]):
                    posterior = Posterior(fields["mean"][rows], fields["logvar"][rows])
                else:
                    assert video_BCTHW is not None
                    posterior = self.encoders.posterior(video_BCTHW[rows])
                    self._tell(role, there, start, {"mean": posterior.mean, "logvar": posterior.logvar})
                drawn.append(posterior.sample(generator).to(parts.device))
        latents = scale_latents(torch.cat(drawn), parts.vae.config.scaling_factor)
        return latents.to(device=parts.device, dtype=parts.dtype)

    def picture(self, clip: Clip) -> Tensor:
        """CLIP's states of the references, those that the network reads."""
        there, fields = _kept(clip.encoded.get("picture"), clip.size_BTHW[0])
        new = [row for row, known in enumerate(there) if not known]
        if not new:
            return fields["states"]
        kind = self.parts.traits.image_states
        made = self.encoders.picture(reference_picture(clip)[new], pooled=kind == "pooled")
        for place, row in enumerate(new):
            self._tell("picture", there, row, {"states": made[place : place + 1]})
        return _filled(fields.get("states"), made, new)

    def rays(self, clip: Clip) -> Tensor:
        """Camera channels."""
        there, fields = _kept(clip.encoded.get("rays"), clip.size_BTHW[0])
        if all(there):
            return fields["channels"]
        channels = ray_channels(clip, self.parts.vae.geometry)
        self._tell("rays", there, 0, {"channels": channels})
        return channels

    def _text(self, texts: Sequence[str], kept: Kept | None) -> TextStates:
        parts = self.parts
        there, fields = _kept(kept, len(texts))
        new = [row for row, known in enumerate(there) if not known]
        if new:
            made = self.encoders.text([texts[row] for row in new])
            tensors = text_fields(made)
            for place, row in enumerate(new):
                own = {name: tensor[place : place + 1] for name, tensor in tensors.items()}
                self._tell(TEXT, there, row, own)
            fields = {name: _filled(fields.get(name), tensor, new) for name, tensor in tensors.items()}
        return text_states(fields).to(parts.device, parts.dtype)

    def _tell(self, role: str, there: Sequence[bool], start: int, tensors: dict[str, Tensor]) -> None:
        if self.keeping is not None:
            self.keeping.made(role, there, start, tensors)


def _kept(kept: Kept | None, count: int) -> tuple[Sequence[bool], Any]:
    return ([False] * count, {}) if kept is None else (kept.there, kept.fields)


def _filled(known: Tensor | None, made: Tensor, rows: Sequence[int]) -> Tensor:
    """What is known, with what was made in the rows where it was missing."""
    if known is None:
        return made
    filled = known.clone()
    filled[list(rows)] = made.to(known)
    return filled
