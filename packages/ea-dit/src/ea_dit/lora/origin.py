"""How a LoRA file was before it was converted, so that the way back gives it as it was."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from ea_dit.lora.document import LoraFile, LoraLayer
from ea_dit.lora.names import FORMATS, STYLES, Format, Spelling

KEY = "ea_lora_origin"
"""Of the header."""

_STYLE = re.compile(r"|(float64|float32|bfloat16|float16|int64|int32|int16|int8|uint8):\d")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the new format cannot say.

    Attributes:
        format: Whose names it had.
        spelling: How it wrote them.
        alpha: Number type and axes of alpha, such as "float32:0", "" where it had none; by layer if they
            differ.
        names: Its layers by their present name, those that cannot be told from that.
        metadata: Text of its header.
    """

    format: Format
    spelling: Spelling
    alpha: str | Mapping[str, str] = ""
    names: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: LoraFile) -> Self:
        """The origin that a file states, or else the file itself.

        Raises:
            ValueError: If what it states is damaged.
        """
        metadata = dict(file.header.metadata)
        if KEY in metadata:
            return cls._from_text(file.header.path, metadata[KEY])
        alphas = {layer.name: alpha_style(file, layer) for layer in file.header.layers}
        same = len(set(alphas.values())) == 1
        return cls(
            format=file.header.format,
            spelling=file.header.spelling,
            alpha=next(iter(alphas.values())) if same else alphas,
            metadata={key: text for key, text in metadata.items() if key != "format"},
        )

    @classmethod
    def _from_text(cls, path: Path, text: str) -> Self:
        try:
            values: dict[str, Any] = json.loads(text)
            made = cls(**{**values, "spelling": Spelling(**values["spelling"])})
            usable = made.format in FORMATS and made.spelling.format == made.format and _is_whole(made)
        except (KeyError, StopIteration, TypeError, ValueError):
            usable = False
            made = None
        if not usable or made is None:
            raise ValueError(f"{path}: {KEY} in its header is damaged")
        return made

    def text(self) -> str:
        """For the header."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    def first_name(self, layer: str) -> str:
        """What a layer was called, of its present name."""
        return self.names.get(layer, self._told(layer))

    def alpha_of(self, first: str) -> str:
        """How alpha of a layer was kept, by the layer's first name."""
        return self.alpha if isinstance(self.alpha, str) else self.alpha.get(first, "")

    def renamed(self, names: Mapping[str, str]) -> "Origin":
        """The same with present names.

        Args:
            names: First names by present ones.
        """
        untold = {name: first for name, first in names.items() if self._told(name) != first}
        return Origin(
            format=self.format,
            spelling=self.spelling,
            alpha=self.alpha,
            names=untold,
            metadata=self.metadata,
        )

    def _told(self, layer: str) -> str:
        return layer.replace(".", "_") if self.spelling.flat else layer


def _is_whole(origin: Origin) -> bool:
    """Whether all texts of an origin are texts, and the styles are known."""
    alpha = {"": origin.alpha} if isinstance(origin.alpha, str) else origin.alpha
    tables = (origin.names, origin.metadata, alpha)
    if origin.spelling.style not in STYLES or not all(isinstance(table, dict) for table in tables):
        return False
    texts = [text for table in tables for entry in table.items() for text in entry]
    if not all(isinstance(text, str) for text in (*texts, origin.spelling.adapter)):
        return False
    return all(map(_STYLE.fullmatch, alpha.values()))


def alpha_style(file: LoraFile, layer: LoraLayer) -> str:
    """Number type and axes of a layer's alpha, "" where it is no tensor."""
    if "alpha" not in layer.stored:
        return ""
    tensor: Tensor = file.tensors[layer.stored["alpha"]]
    return f"{str(tensor.dtype).removeprefix('torch.')}:{tensor.ndim}"
