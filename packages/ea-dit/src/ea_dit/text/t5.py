"""T5 as text encoder of EasyAnimate V1 to V3 and of Open-Sora."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ea_dit.text.padded import PaddedTextEncoder
from ea_dit.text.pretrained import load_pretrained
from ea_dit.text.tokenizers import load_tokenizer
from ea_kernels.runtime.weights import read_config

LENGTHS: Mapping[str, int] = MappingProxyType(
    {
        "easyanimate-v1": 120,
        "easyanimate-v2": 120,
        "easyanimate-v3": 120,
        "open-sora-1.0": 120,
        "open-sora-1.1": 200,
    }
)
"""Tokens per caption, the end mark included, in the code of each release. Later code of EasyAnimate reads up
to 256; padding is masked, so that this changes long prompts only."""

T5_KINDS = ("t5", "mt5")
"""`model_type` in configs."""


def load_t5(
    model_directory: Path,
    tokenizer: Any,
    *,
    dtype: torch.dtype,
    device: torch.device,
    max_length: int = LENGTHS["easyanimate-v3"],
    use_mask: bool = True,
    clean: Callable[[str], str] | None = None,
    allow_pickle: bool = False,
) -> PaddedTextEncoder:
    """Loads a T5 or mT5 encoder from local directories in the layout of transformers.

    Releases run it with its padding mask; states of padding are returned too, and the mask tells them.

    Args:
        model_directory: `config.json` and safetensors; a decoder in there is left out.
        tokenizer: Directory of the tokenizer's files, or the tokenizer if it is loaded already.
        dtype: Of the weights; transformers keeps some layers of T5 in float32 when it is float16.
        device: Where to put them.
        max_length: Tokens per text, see `LENGTHS`.
        use_mask: Whether padding is masked inside the encoder.
        clean: Caption cleaning; the releases of EasyAnimate V1 to V3 and of Open-Sora clean.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If it is another kind of model, or files or weights are missing.
    """
    kind = read_config(model_directory).get("model_type")
    if kind not in T5_KINDS:
        raise ValueError(
            f"{model_directory}/config.json: model_type must be {' or '.join(T5_KINDS)}, got {kind!r}"
        )
    loaded = load_tokenizer(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    model = load_pretrained(kind, model_directory, dtype=dtype, device=device, allow_pickle=allow_pickle)
    return PaddedTextEncoder(model, loaded, max_length=max_length, use_mask=use_mask, clean=clean)
