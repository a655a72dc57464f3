"""The block of the V4 family.

Shapes: B batch, L video tokens, M text tokens, Q image tokens, D width, E width of text and image tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig
from ea_dit.layers.attention import Attention
from ea_dit.layers.feed_forward import FeedForward
from ea_dit.layers.sincos import sincos_1d
from ea_kernels import ops
from ea_kernels.nn import LayerNorm

EPS = 1e-6
MAX_FRAMES = 512
"""Rows of the frame table that released files hold for every block."""


@dataclass(frozen=True)
class BlockContext:
    """What every block gets beside the video tokens.

    Attributes:
        condition_BD: SiLU of the condition vector.
        text_BME: Text tokens, padding already replaced.
        image_BQE: Image tokens, None for models without.
        rope: Cosines and sines of the video tokens, the same for every frame.
        frames: Latent frames.
    """

    condition_BD: Tensor
    text_BME: Tensor
    image_BQE: Tensor | None
    rope: tuple[Tensor, Tensor]
    frames: int


class Hunyuan3DBlock(nn.Module):
    """Self-attention, cross-attention to text, cross-attention to image tokens, MLP.

    Args:
        config: Of the model.
        index: Of the block; the second half takes up the output of an early block, and block 0 may go without
            rotary positions.
    """

    frame_table_FD: Tensor

    def __init__(self, config: Hunyuan3DConfig, *, index: int) -> None:
        super().__init__()
        width = config.width
        self.rotates = index > 0 or config.rope_in_first_block
        self.skip = SkipMerge(width) if index > config.num_layers // 2 else None
        self.register_buffer("frame_table_FD", sincos_1d(MAX_FRAMES, width)[None])
        self.attention_norm = LayerNorm(width, eps=EPS)
        self.shift = nn.Linear(width, width)
        self.attention = _attention(config, context_width=None)
        self.text_norm = LayerNorm(width, eps=EPS)
        self.text_attention = _attention(config, context_width=config.cross_attention_dim)
        self.image = ImageAttention(config) if config.enable_clip_in_inpaint else None
        self.mlp_norm = LayerNorm(width, eps=EPS)
        self.mlp = FeedForward(width, config.mlp_width)

    def forward(self, x_BLD: Tensor, context: BlockContext) -> tuple[Tensor]:
        """Returns the tokens after the block."""
        if context.frames > 1:
            x_BLD = x_BLD + self._frame_positions(context.frames, x_BLD)
        shifted_BLD = self.attention_norm(x_BLD) + self.shift(context.condition_BD)[:, None]
        x_BLD = x_BLD + self.attention(shifted_BLD, rope=context.rope if self.rotates else None)
        x_BLD = x_BLD + self.text_attention(self.text_norm(x_BLD), context.text_BME, rope=context.rope)
        if self.image is not None:
            assert context.image_BQE is not None
            x_BLD = x_BLD + self.image(x_BLD, context.image_BQE, context.rope)
        return (x_BLD + self.mlp(self.mlp_norm(x_BLD)),)

    def _frame_positions(self, frames: int, x_BLD: Tensor) -> Tensor:
        table_FD = self.frame_table_FD[0, :frames].to(x_BLD.dtype)
        return table_FD.repeat_interleave(x_BLD.shape[1] // frames, dim=0)


class SkipMerge(nn.Module):
    """Joins the tokens with those of an early block.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(2 * width, eps=EPS)
        self.projection = nn.Linear(2 * width, width)

    def forward(self, x_BLD: Tensor, early_BLD: Tensor) -> Tensor:
        """Returns the new tokens."""
        return self.projection(self.norm(torch.cat((x_BLD, early_BLD), dim=-1)))


class ImageAttention(nn.Module):
    """Cross-attention to image tokens with a gated unit and a norm behind it.

    Args:
        config: Of the model.
    """

    def __init__(self, config: Hunyuan3DConfig) -> None:
        super().__init__()
        width = config.width
        self.norm = LayerNorm(width, eps=EPS)
        self.attention = _attention(config, context_width=config.cross_attention_dim)
        # Released weights were trained with the channel count where an epsilon belongs.
        self.gate_norm = LayerNorm(width, eps=float(width))
        self.gate = nn.Linear(width, 2 * width)
        self.out_norm = LayerNorm(width, eps=EPS)

    def forward(self, x_BLD: Tensor, image_BQE: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the update, same shape as the tokens."""
        seen_BLD = self.attention(self.norm(x_BLD), image_BQE, rope=rope)
        return self.out_norm(ops.geglu(self.gate(self.gate_norm(seen_BLD))))


def _attention(config: Hunyuan3DConfig, *, context_width: int | None) -> Attention:
    return Attention(
        config.width,
        config.num_attention_heads,
        config.attention_head_dim,
        context_width=context_width,
        norm=lambda head_dim: LayerNorm(head_dim, eps=EPS),
    )
