"""Arithmetic and memory of the transformer of V5 and V5.1, from its config.

Shapes: N video tokens, T text tokens, S = N + T, d width, L blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIVE_STREAMS = 8
"""Tensors of S x d that live at once in a block: stream, norm, the MLP's four wide rows, results."""


@dataclass(frozen=True)
class TransformerCosts:
    """What a config decides.

    Attributes:
        config: The content of `config.json`.
    """

    config: Mapping[str, Any]

    @property
    def width(self) -> int:
        """d."""
        return self.config["num_attention_heads"] * self.config["attention_head_dim"]

    @property
    def blocks(self) -> int:
        """L."""
        return self.config["num_layers"]

    @property
    def patch(self) -> int:
        """Side of a patch in latents."""
        return self.config.get("patch_size") or 2

    @property
    def text_projections(self) -> int:
        """Text encoders that it reads."""
        return 2 if self.config.get("text_embed_dim_t5") else 1

    def block_parameters(self) -> int:
        """Numbers in all blocks."""
        d, joint = self.width, self.config.get("mmdit_layers")
        joint = self.blocks if joint is None else min(joint, self.blocks)
        stream = 4 * (d * d + d) + 4 * self.config["attention_head_dim"] + 8 * d * d + 5 * d
        modulation = self._condition() * 6 * d + 6 * d + (2 * d if self._affine() else 0)
        after = 2 * d if self.config.get("after_norm") else 0
        return self.blocks * (stream + 2 * modulation + after) + joint * stream

    def parameters(self) -> int:
        """Numbers in the whole network."""
        config, d, c = self.config, self.width, self._condition()
        area, out = self.patch**2, config.get("out_channels") or config["in_channels"]
        embeds = d * config["in_channels"] * area + d + (d * c + c) + (c * c + c)
        for name in ("text_embed_dim", "text_embed_dim_t5"):
            if text := config.get(name):
                embeds += text * d + d + (text if config.get("add_norm_text_encoder") else 0)
        if config.get("ref_channels"):
            embeds += config["ref_channels"] * area * d + d
        if config.get("clip_channels"):
            embeds += config["clip_channels"] * d + d
        head = 2 * d + c * 2 * d + 2 * d + (2 * d if self._affine() else 0) + (d + 1) * area * out
        return embeds + self.block_parameters() + head

    def flops(self, video_tokens: int, text_tokens: int) -> float:
        """Of one pass of one sample: products of blocks and attention, which are all but one per cent."""
        tokens, d = video_tokens + text_tokens, self.width
        return self.blocks * (24.0 * tokens * d * d + 4.0 * tokens * tokens * d)

    def activations(self, tokens: int, samples: int) -> int:
        """Numbers that live at once in a pass without gradients."""
        return LIVE_STREAMS * samples * tokens * self.width

    def _condition(self) -> int:
        return self.config.get("time_embed_dim") or 512

    def _affine(self) -> bool:
        return bool(self.config.get("norm_elementwise_affine", True))
