"""Encoders that read a text padded or cut to one length. Shapes: B batch, L tokens, E width of the states."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ea_dit.text.base import TextStates

_LOG = logging.getLogger(__name__)


class PaddedTextEncoder:
    """Last hidden states of a model that reads every text at the same length.

    Args:
        model: An encoder of transformers, such as `T5EncoderModel` or `BertModel`.
        tokenizer: Its tokenizer.
        max_length: Length that every text is padded or cut to, on the right; end marks count.
        use_mask: Whether padding is masked inside the encoder.
        clean: Applied to every text first; None leaves texts as they are.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int,
        use_mask: bool = True,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.use_mask = use_mask
        self.clean = clean

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes texts.

        Args:
            texts: At least one; too long ones are cut, which is logged.

        Returns:
            (B, max_length, E) in the dtype of the model.

        Raises:
            ValueError: If there is no text.
        """
        cleaned = [text if self.clean is None else self.clean(text) for text in texts]
        device = self.model.device
        ids_BL, mask_BL = (part.to(device) for part in padded_ids(self.tokenizer, cleaned, self.max_length))
        # An encoder that does not mask gets a mask of ones: without one transformers warns about padding.
        attended_BL = mask_BL if self.use_mask else torch.ones_like(mask_BL)
        states_BLE = self.model(input_ids=ids_BL, attention_mask=attended_BL).last_hidden_state
        return TextStates(states_BLE, mask_BL.bool())


def padded_ids(tokenizer: Any, texts: Sequence[str], max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of texts, padded and cut on the right; a text that is cut is logged.

    Args:
        tokenizer: Of transformers.
        texts: At least one.
        max_length: Tokens per text.

    Returns:
        Ids (B, max_length) and mask (B, max_length), 1 at tokens and 0 at padding, on the CPU.

    Raises:
        ValueError: If there is no text.
    """
    if not texts:
        raise ValueError("texts must hold at least one text")
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=max_length,
        truncation=True,
        padding_side="right",
        return_attention_mask=True,
        return_tensors="pt",
    )
    # Only a text that fills all places can have lost something.
    full = [text for text, mask in zip(texts, tokens["attention_mask"], strict=True) if bool(mask.all())]
    for ids in tokenizer(full)["input_ids"] if full else ():
        if len(ids) > max_length:
            _LOG.warning("prompt cut from %d to %d tokens", len(ids), max_length)
    return tokens["input_ids"], tokens["attention_mask"]
