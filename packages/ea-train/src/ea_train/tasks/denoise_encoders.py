"""The frozen networks of a run, behind one call each."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ea_dit.pipelines.components import ImageEncoder
from ea_dit.text.base import TextEncoder, TextStates
from ea_vae import VideoAutoencoder
from ea_vae.latents import Posterior


def _where_it_is(part: str) -> AbstractContextManager[None]:
    del part
    return nullcontext()


@dataclass(frozen=True)
class Encoders:
    """What turns pixels and captions into what a transformer reads.

    Attributes:
        vae: The autoencoder; who calls `posterior` has it where it is used.
        text_encoder: Of captions; None where none is encoded.
        image_encoder: Of pictures; None where none is encoded.
        using: Has a part where it is used, by its name.
    """

    vae: VideoAutoencoder[Any]
    text_encoder: TextEncoder | None
    image_encoder: ImageEncoder | None
    using: Callable[[str], AbstractContextManager[None]] = _where_it_is

    def posterior(self, video_BCTHW: Tensor) -> Posterior:
        """The distribution of the latents, in the dtype of the autoencoder."""
        weight = next(self.vae.parameters())
        return self.vae.encode(video_BCTHW.to(device=weight.device, dtype=weight.dtype))

    def picture(self, images_B3HW: Tensor, *, pooled: bool) -> Tensor:
        """CLIP's states of pictures 0 ... 1: the pooled ones, or those of the patches."""
        assert self.image_encoder is not None
        with self.using("image_encoder"):
            encoded = self.image_encoder.encode(images_B3HW)
        return encoded.pooled_BE if pooled else encoded.patches_BSP

    def text(self, texts: Sequence[str]) -> TextStates:
        """States of captions."""
        assert self.text_encoder is not None  # `load_networks` always has one
        with self.using("text_encoder"):
            return self.text_encoder.encode(list(texts))
