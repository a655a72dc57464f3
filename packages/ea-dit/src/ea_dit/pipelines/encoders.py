"""The text encoder of a model directory, told by its config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ea_dit.pipelines.layout import (
    SECOND_TEXT_ENCODER,
    SECOND_TOKENIZER,
    TEXT_ENCODER,
    TOKENIZER,
    Layout,
)
from ea_dit.pipelines.variants import BYTE_ENCODER, TextInput
from ea_dit.text.base import TextEncoder
from ea_dit.text.bytes import load_byte_encoder
from ea_dit.text.cleaning import clean_caption
from ea_dit.text.tokenizers import check_tokenizer_files, check_vocabulary, has_tokenizer, load_tokenizer
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.weights import read_config

_WIDTH_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "bert": "hidden_size",
        "t5": "d_model",
        "mt5": "d_model",
        "qwen2_vl": "hidden_size",
        BYTE_ENCODER: "width",
    }
)


@dataclass(frozen=True, kw_only=True)
class EncoderFolder:
    """One text encoder of a directory.

    Attributes:
        name: Of its part, such as "text_encoder_2".
        folder: Its config and weights.
        tokenizer_name: Of the part that its tokenizer is.
        tokenizer: Where its tokenizer is.
        kinds: What it may be.
        width: Width of the states that the transformer reads.
    """

    name: str
    folder: Path
    tokenizer_name: str
    tokenizer: Path
    kinds: tuple[str, ...]
    width: int

    @property
    def kind(self) -> str:
        """What it is.

        Raises:
            ValueError: If it is not what it may be.
        """
        values = read_config(self.folder)
        found = BYTE_ENCODER if values.get("_class_name") == BYTE_ENCODER else values.get("model_type")
        if found not in self.kinds:
            allowed = " or ".join(kind for kind in self.kinds if kind != BYTE_ENCODER)
            also = f" (or _class_name {BYTE_ENCODER})" if BYTE_ENCODER in self.kinds else ""
            raise ValueError(
                f"{self.folder / CONFIG_NAME}: model_type must be {allowed}{also} for this transformer, "
                f"got {found!r}"
            )
        return found

    def check(self) -> None:
        """Refuses a config that does not fit the transformer.

        Raises:
            ValueError: Naming the file and what is allowed.
        """
        kind = self.kind
        width = self.sizes.get(_WIDTH_KEYS[kind])
        if width != self.width:
            raise ValueError(
                f"{self.folder / CONFIG_NAME}: the text states are {width} wide, but the transformer reads "
                f"{self.width}"
            )

    @property
    def reads_tokens(self) -> bool:
        """Whether it is of a kind that reads tokens, as all released ones do."""
        return read_config(self.folder).get("_class_name") != BYTE_ENCODER

    def check_tokenizer(self) -> None:
        """Refuses a tokenizer with missing or damaged files.

        Raises:
            ValueError: Naming the file.
        """
        inside = self.tokenizer == self.folder and self.folder.name == TEXT_ENCODER
        if inside and not has_tokenizer(self.folder):
            raise ValueError(f"{self.folder.parent}: the tokenizer of {self.name} is missing: {TOKENIZER}/")
        check_tokenizer_files(self.tokenizer)

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Sizes in its config; newer files of language models have them one level down."""
        values = read_config(self.folder)
        inner = values.get("text_config")
        return {**values, **inner} if isinstance(inner, Mapping) else values


def text_encoders(layout: Layout, text: TextInput) -> Iterator[EncoderFolder]:
    """The text encoders that a transformer reads.

    Raises:
        ValueError: If the second is missing.
    """
    places = [(TEXT_ENCODER, layout.text_encoder, TOKENIZER, layout.tokenizer)]
    if len(text.widths) > 1:
        if layout.second_text_encoder is None:
            raise ValueError(
                f"{layout.directory}: the transformer reads two text encoders, "
                f"{SECOND_TEXT_ENCODER}/{CONFIG_NAME} is missing"
            )
        second = (SECOND_TEXT_ENCODER, layout.second_text_encoder, SECOND_TOKENIZER, layout.second_tokenizer)
        # Where there are two of them, each has a tokenizer in a folder of its own.
        places = [(*places[0][:3], layout.directory / TOKENIZER), second]
    for (name, folder, tokenizer_name, tokenizer), kinds, width in zip(
        places, text.kinds, text.widths, strict=True
    ):
        yield EncoderFolder(
            name=name,
            folder=folder,
            tokenizer_name=tokenizer_name,
            tokenizer=tokenizer,
            kinds=kinds,
            width=width,
        )


def load_tokenizers(layout: Layout, text: TextInput) -> tuple[Any, ...]:
    """Loads the tokenizers of a model directory; the byte encoder has none.

    Raises:
        ValueError: If one cannot be read, or is that of another text encoder.
    """
    return tuple(
        load_tokenizer_of(encoder) for encoder in text_encoders(layout, text) if encoder.reads_tokens
    )


def load_tokenizer_of(encoder: EncoderFolder) -> Any:
    """Loads the tokenizer of a text encoder; errors as in `load_tokenizers`."""
    tokenizer = load_tokenizer(encoder.tokenizer)
    check_vocabulary(tokenizer, encoder.sizes.get("vocab_size"), encoder.tokenizer)
    return tokenizer


def load_text_encoder(
    layout: Layout,
    text: TextInput,
    tokenizers: tuple[Any, ...],
    *,
    dtype: torch.dtype,
    device: torch.device,
    allow_pickle: bool = False,
) -> TextEncoder:
    """Loads the text encoder (or the two of them) of a model directory.

    Args:
        layout: Of the directory.
        text: What the network reads.
        tokenizers: From `load_tokenizers`.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If it is missing, incomplete or another kind of model.
    """
    # transformers takes seconds to import, and the bundled model does not need it.
    folder = layout.text_encoder
    if len(text.widths) > 1:
        from ea_dit.text.bert_t5 import load_bert_t5  # noqa: PLC0415

        return load_bert_t5(
            layout.directory,
            dtype=dtype,
            device=device,
            use_mask=text.masked,
            lengths=(text.lengths[0], text.lengths[1]),
            tokenizers=(tokenizers[0], tokenizers[1]),
            allow_pickle=allow_pickle,
        )
    kind = next(text_encoders(layout, text)).kind
    if kind == BYTE_ENCODER:
        return load_byte_encoder(folder, dtype=dtype, device=str(device), allow_pickle=allow_pickle)
    if kind == "qwen2_vl":
        from ea_dit.text.qwen2_vl import load_qwen2_vl  # noqa: PLC0415

        return load_qwen2_vl(folder, tokenizers[0], dtype=dtype, device=device, allow_pickle=allow_pickle)
    from ea_dit.text.t5 import load_t5  # noqa: PLC0415

    return load_t5(
        folder,
        tokenizers[0],
        dtype=dtype,
        device=device,
        max_length=text.lengths[0],
        use_mask=text.masked,
        clean=clean_caption if text.cleaned else None,
        allow_pickle=allow_pickle,
    )
