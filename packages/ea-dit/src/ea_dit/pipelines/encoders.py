"""The text encoder of a model directory, told by its config."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from ea_dit.pipelines.layout import SECOND_TEXT_ENCODER, Layout
from ea_dit.pipelines.variants import TextInput
from ea_dit.text.base import TextEncoder
from ea_dit.text.bytes import load_byte_encoder
from ea_dit.text.cleaning import clean_caption
from ea_kernels.runtime.weights import read_config

BYTE_ENCODER = "ByteTextEncoder"

_WIDTH_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "bert": "hidden_size",
        "t5": "d_model",
        "mt5": "d_model",
        "qwen2_vl": "hidden_size",
        BYTE_ENCODER: "width",
    }
)


def check_text_encoders(layout: Layout, text: TextInput) -> None:
    """Refuses encoders that are missing or do not fit the network, before anything large is read.

    Raises:
        ValueError: Naming the file and what is allowed.
    """
    folders = [layout.text_encoder]
    if len(text.widths) > 1:
        if layout.second_text_encoder is None:
            raise ValueError(
                f"{layout.directory}: the transformer reads two text encoders, "
                f"{SECOND_TEXT_ENCODER}/config.json is missing"
            )
        folders.append(layout.second_text_encoder)
    for folder, wanted in zip(folders, text.widths, strict=True):
        values = read_config(folder)
        width = _width_of(values, _kind_of(values, f"{folder}/config.json"))
        if width != wanted:
            raise ValueError(
                f"{folder}/config.json: the text states are {width} wide, but the transformer reads {wanted}"
            )


def load_text_encoder(
    layout: Layout,
    text: TextInput,
    *,
    dtype: torch.dtype,
    device: torch.device,
    allow_pickle: bool = False,
) -> TextEncoder:
    """Loads the text encoder (or the two of them) of a model directory.

    Args:
        layout: Of the directory.
        text: What the network reads.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If it is missing, incomplete or another kind of model.
    """
    # transformers takes seconds to import, and the bundled model does not need it.
    folder = layout.text_encoder
    kind = _kind_of(read_config(folder), f"{folder}/config.json")
    if len(text.widths) > 1:
        from ea_dit.text.bert_t5 import load_bert_t5  # noqa: PLC0415

        lengths = (text.lengths[0], text.lengths[1])
        return load_bert_t5(
            layout.directory,
            dtype=dtype,
            device=device,
            use_mask=text.masked,
            lengths=lengths,
            allow_pickle=allow_pickle,
        )
    if kind == BYTE_ENCODER:
        return load_byte_encoder(folder, dtype=dtype, device=str(device))
    if kind == "qwen2_vl":
        from ea_dit.text.qwen2_vl import load_qwen2_vl  # noqa: PLC0415

        return load_qwen2_vl(folder, layout.tokenizer, dtype=dtype, device=device, allow_pickle=allow_pickle)
    from ea_dit.text.t5 import load_t5  # noqa: PLC0415

    return load_t5(
        folder,
        layout.tokenizer,
        dtype=dtype,
        device=device,
        max_length=text.lengths[0],
        use_mask=text.masked,
        clean=clean_caption if text.cleaned else None,
        allow_pickle=allow_pickle,
    )


def _kind_of(values: Mapping[str, Any], file: str) -> str:
    kind = BYTE_ENCODER if values.get("_class_name") == BYTE_ENCODER else values.get("model_type")
    if not isinstance(kind, str) or kind not in _WIDTH_KEYS:
        known = ", ".join(sorted(_WIDTH_KEYS))
        raise ValueError(f"{file}: unknown text encoder {kind!r}; known: {known}")
    return kind


def _width_of(values: Mapping[str, Any], kind: str) -> Any:
    """Width of the states; newer files of language models have it one level down."""
    key = _WIDTH_KEYS[kind]
    return values.get("text_config", values).get(key, values.get(key))
