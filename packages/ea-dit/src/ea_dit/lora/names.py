"""How LoRA files call their tensors.

A name is a prefix that says which network is meant, the layer, and the factor. Layers are written with dots
(PEFT and diffusers) or with underscores in their places (EasyAnimate and kohya), from which the dots cannot
be told without the model. Names that these programs write:

    lora_unet__transformer_blocks_0_attn1_to_q.lora_down.weight             EasyAnimate
    lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight              kohya
    transformer.transformer_blocks.0.attn1.to_q.lora_A.weight               diffusers
    base_model.model.transformer_blocks.0.attn1.to_q.lora_A.default.weight  PEFT
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Format = Literal["easyanimate", "kohya", "peft"]
"""Whose names a file has."""
Network = Literal["transformer", "text_encoder"]
Style = Literal["kohya", "peft", "dotted", "linear"]
"""How the two factors of a LoRA are spelled: lora_down, lora_A, lora.down or lora_linear_layer.down."""

FORMATS: tuple[Format, ...] = ("easyanimate", "kohya", "peft")

_TEMPLATES: Mapping[Style, Mapping[str, str]] = MappingProxyType(
    {
        "kohya": {"lora_down": "lora_down.weight", "lora_up": "lora_up.weight"},
        "peft": {"lora_down": "lora_A{adapter}.weight", "lora_up": "lora_B{adapter}.weight"},
        "dotted": {"lora_down": "lora.down.weight", "lora_up": "lora.up.weight"},
        "linear": {
            "lora_down": "lora_linear_layer.down.weight",
            "lora_up": "lora_linear_layer.up.weight",
        },
    }
)
STYLES = tuple(_TEMPLATES)
_FACTOR = re.compile(
    r"(?P<layer>.+)\.(?:"
    r"lora_(?P<kohya>up|down|mid)\.weight|"
    r"lora_(?P<peft>[AB])(?P<adapter>\.[^.]+)?\.weight|"
    r"lora(?P<linear>_linear_layer)?\.(?P<dotted>up|down)\.weight|"
    r"(?P<lycoris>hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)(?P<lycoris_adapter>\.[^.]+)?|"
    r"(?P<alpha>alpha))"
)
# The longest first where one begins like another. True: underscores instead of dots.
_PREFIXES: tuple[tuple[str, Network, bool], ...] = (
    ("lora_unet__", "transformer", True),
    ("lora_unet_", "transformer", True),
    ("lora_transformer_", "transformer", True),
    ("lycoris_", "transformer", True),
    ("lora_te1_", "text_encoder", True),
    ("lora_te2_", "text_encoder", True),
    ("lora_te_", "text_encoder", True),
    ("text_encoder_2.", "text_encoder", False),
    ("text_encoder.", "text_encoder", False),
    ("base_model.model.transformer.", "transformer", False),
    ("base_model.model.", "transformer", False),
    ("diffusion_model.", "transformer", False),
    ("transformer.", "transformer", False),
    ("", "transformer", False),
)
PREFIXES: Mapping[Format, str] = MappingProxyType(
    {"easyanimate": "lora_unet__", "kohya": "lora_unet_", "peft": "transformer."}
)
"""What files of ours begin names with."""


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How a file writes names.

    Attributes:
        prefix: Before the layer.
        style: Of the factors.
        adapter: Between `lora_A` and `weight`, such as ".default"; usually nothing.
    """

    prefix: str
    style: Style
    adapter: str = ""

    @property
    def flat(self) -> bool:
        """Whether layers are written without dots."""
        return next(flat for prefix, _, flat in _PREFIXES if prefix == self.prefix)

    @property
    def format(self) -> Format:
        """Whose names these are."""
        if not self.flat:
            return "peft"
        return "easyanimate" if self.prefix == PREFIXES["easyanimate"] else "kohya"

    def write(self, layer: str, factor: str) -> str:
        """Name of a tensor.

        Args:
            layer: With dots, or without where this spelling has none.
            factor: As `TensorName.factor`.
        """
        stem = layer.replace(".", "_") if self.flat else layer
        suffix = f"{factor}.weight" if factor == "lora_mid" else factor
        template = _TEMPLATES[self.style].get(factor, suffix)
        return f"{self.prefix}{stem}.{template.format(adapter=self.adapter)}"


SPELLINGS: Mapping[Format, Spelling] = MappingProxyType(
    {
        "easyanimate": Spelling(prefix=PREFIXES["easyanimate"], style="kohya"),
        "kohya": Spelling(prefix=PREFIXES["kohya"], style="kohya"),
        "peft": Spelling(prefix=PREFIXES["peft"], style="peft"),
    }
)
"""How files of ours write names."""


@dataclass(frozen=True, kw_only=True)
class TensorName:
    """What a tensor's name says.

    Attributes:
        layer: As written, without the prefix.
        factor: "lora_up", "lora_down", "lora_mid", "alpha", or as LyCORIS calls it ("hada_w1_a", "lokr_w1").
        network: Which network is meant.
        spelling: How it is written.
    """

    layer: str
    factor: str
    network: Network
    spelling: Spelling


def parse_name(name: str) -> TensorName | None:
    """Reads the name of a tensor; None for one that is no factor of a LoRA."""
    found = _FACTOR.fullmatch(name)
    if found is None:
        return None
    prefix, network, _ = next(entry for entry in _PREFIXES if found["layer"].startswith(entry[0]))
    layer = found["layer"].removeprefix(prefix)
    if not layer:
        return None
    factor, style = _factor_of(found)
    adapter = found["adapter"] or found["lycoris_adapter"] or ""
    return TensorName(
        layer=layer,
        factor=factor,
        network=network,
        spelling=Spelling(prefix=prefix, style=style, adapter=adapter),
    )


def _factor_of(found: re.Match[str]) -> tuple[str, Style]:
    if found["peft"]:
        return {"A": "lora_down", "B": "lora_up"}[found["peft"]], "peft"
    if found["dotted"]:
        return f"lora_{found['dotted']}", "linear" if found["linear"] else "dotted"
    if found["kohya"]:
        return f"lora_{found['kohya']}", "kohya"
    return found["lycoris"] or "alpha", "kohya"
