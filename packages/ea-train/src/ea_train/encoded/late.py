"""Encoders that are loaded when the first thing comes that is not encoded already."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Generic, TypeVar

from torch import Tensor

from ea_dit.pipelines.components import ImageEncoder
from ea_dit.text.base import TextEncoder, TextStates
from ea_dit.text.clip_image import ImageStates
from ea_kernels.runtime.placement import Placement

EncoderT = TypeVar("EncoderT")


class _Late(Generic[EncoderT]):
    """Loads an encoder at its first use.

    Args:
        part: Its name.
        load: Loads it, with where it is when it is not used; None for where it was loaded.
    """

    def __init__(self, part: str, load: Callable[[], tuple[EncoderT, Placement | None]]) -> None:
        self._part, self._load = part, load
        self._loaded: tuple[EncoderT, Placement | None] | None = None

    def _ready(self) -> tuple[EncoderT, Placement | None]:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded


class LateTextEncoder(_Late[TextEncoder]):
    """A text encoder."""

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes texts, as the encoder itself does."""
        encoder, placement = self._ready()
        with nullcontext() if placement is None else placement.using(self._part):
            return encoder.encode(texts)


class LateImageEncoder(_Late[ImageEncoder]):
    """An encoder of pictures."""

    def encode(self, images_B3HW: Tensor) -> ImageStates:
        """Encodes pictures, as the encoder itself does."""
        encoder, placement = self._ready()
        with nullcontext() if placement is None else placement.using(self._part):
            return encoder.encode(images_B3HW)
