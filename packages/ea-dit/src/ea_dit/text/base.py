"""What a text encoder is. Shapes: B batch, L tokens, E width of the states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextStates:
    """Encoded texts.

    Attributes:
        states_BLE: One vector per token, padding included.
        mask_BL: Boolean, True at tokens, False at padding.
        second: States of a second encoder, for models that read two.
    """

    states_BLE: Tensor
    mask_BL: Tensor
    second: "TextStates | None" = None

    def __len__(self) -> int:
        """Number of texts."""
        return self.states_BLE.shape[0]

    def __getitem__(self, index: slice) -> Self:
        """Some of the texts."""
        second = None if self.second is None else self.second[index]
        return replace(self, states_BLE=self.states_BLE[index], mask_BL=self.mask_BL[index], second=second)

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Self:
        """The same states elsewhere, or in another dtype (None keeps it)."""
        second = None if self.second is None else self.second.to(device, dtype)
        states_BLE = self.states_BLE.to(device=device, dtype=dtype or self.states_BLE.dtype)
        return replace(self, states_BLE=states_BLE, mask_BL=self.mask_BL.to(device), second=second)


def concatenate(*parts: TextStates) -> TextStates:
    """Joins batches of equally long states."""
    seconds = [part.second for part in parts if part.second is not None]
    return TextStates(
        torch.cat([part.states_BLE for part in parts]),
        torch.cat([part.mask_BL for part in parts]),
        concatenate(*seconds) if seconds else None,
    )


class TextEncoder(Protocol):
    """Turns texts into states of a fixed length, so that a text's states do not depend on its batch."""

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes texts.

        Args:
            texts: At least one; an empty text is allowed (the usual negative prompt).

        Returns:
            States of all texts.

        Raises:
            ValueError: If a text is longer than the encoder can take and it does not truncate.
        """
        ...
