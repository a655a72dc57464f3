"""Where the denoise task gets its samples. B batch, C latent channels; T frames, t, h, w the latent sizes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ea_dit.text.base import TextStates
from ea_dit.types import Conditioning
from ea_train.tasks.base import Batch, Place


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A batch as the transformer and the loss take it.

    Attributes:
        latents_BCthw: Scaled latents without noise.
        text: States of the captions.
        conditioning: What is given beside them.
        frame_mask_BT: Boolean, False for latent frames that are given and count in no loss; None without.
    """

    latents_BCthw: Tensor
    text: TextStates
    conditioning: Conditioning = field(default_factory=Conditioning)
    frame_mask_BT: Tensor | None = None


class BatchSource(Protocol):
    """Batches of a data set: cached latents, or files that are encoded as they come."""

    inputs: dict[str, str]
    """What the samples depend on, described."""

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """The samples of one micro-batch on the CPU; a pure function of its arguments."""
        ...

    def prepare(self, batch: Batch, generator: torch.Generator) -> Sample:
        """Encode a batch, which is on the device already; all chance from the generator."""
        ...

    def held_out(self) -> Iterator[Batch]:
        """Batches that are never trained on, the same ones every time."""
        ...

    def close(self) -> None:
        """The run is over: finish what is kept."""
        ...
