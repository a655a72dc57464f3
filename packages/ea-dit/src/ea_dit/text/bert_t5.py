"""The two text encoders of EasyAnimate V4 and V5: a bilingual BERT and mT5."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ea_dit.text.base import TextStates
from ea_dit.text.padded import PaddedTextEncoder
from ea_dit.text.pretrained import load_pretrained
from ea_dit.text.t5 import load_t5
from ea_dit.text.tokenizers import load_tokenizer
from ea_kernels.runtime.weights import read_config

BERT_LENGTH = 77
T5_LENGTH = 256


class BertT5TextEncoder:
    """States of BERT, with those of T5 as `second`.

    Args:
        bert: The first encoder.
        t5: The second encoder.
    """

    def __init__(self, bert: PaddedTextEncoder, t5: PaddedTextEncoder) -> None:
        self.bert = bert
        self.t5 = t5

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes texts with both; too long ones are cut for each on its own, which is logged."""
        return replace(self.bert.encode(texts), second=self.t5.encode(texts))


def load_bert_t5(
    directory: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    use_mask: bool,
    lengths: tuple[int, int] = (BERT_LENGTH, T5_LENGTH),
    tokenizers: tuple[Any, Any] | None = None,
    allow_pickle: bool = False,
) -> BertT5TextEncoder:
    """Loads both encoders from a model directory in the released layout.

    Args:
        directory: Has `text_encoder`, `tokenizer`, `text_encoder_2` and `tokenizer_2`.
        dtype: Of the weights.
        device: Where to put them.
        use_mask: Whether padding is masked inside the encoders: `enable_text_attention_mask` of the
            transformer (V4 yes, V5 no).
        lengths: Tokens that each encoder reads; V4 needs its `text_len` and `text_len_t5`.
        tokenizers: Those of the two if they are loaded already; None loads them.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If one of them is missing, incomplete or another kind of model.
    """
    for part in ("text_encoder", "text_encoder_2"):
        if not (directory / part / "config.json").is_file():
            raise ValueError(f"{directory}: the model reads two text encoders, {part}/config.json is missing")
    folder = directory / "text_encoder"
    kind = read_config(folder).get("model_type")
    if kind != "bert":
        raise ValueError(f"{folder}/config.json: model_type must be bert, got {kind!r}")
    first, second = tokenizers or (load_tokenizer(directory / "tokenizer"), directory / "tokenizer_2")
    bert = load_pretrained("bert", folder, dtype=dtype, device=device, allow_pickle=allow_pickle)
    t5 = load_t5(
        directory / "text_encoder_2",
        second,
        dtype=dtype,
        device=device,
        max_length=lengths[1],
        use_mask=use_mask,
        allow_pickle=allow_pickle,
    )
    return BertT5TextEncoder(PaddedTextEncoder(bert, first, max_length=lengths[0], use_mask=use_mask), t5)
