"""The PixArt block with a motion module.

Shapes: B batch, T frames, L video tokens, M text and image tokens, D width.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ea_dit.families.pixart_motion.config import PixArtMotionConfig
from ea_dit.families.pixart_motion.motion import MotionModule
from ea_dit.layers import windows
from ea_dit.layers.adaln import ModulationTable
from ea_dit.layers.attention import Attention
from ea_dit.layers.feed_forward import FeedForward
from ea_kernels import ops


@dataclass(frozen=True)
class BlockContext:
    """What every block gets beside the video tokens.

    Attributes:
        modulation_B6D: Shift, scale and gate of self-attention and MLP, before a block's own table.
        text_BMD: Text tokens, then image tokens.
        text_bias: Additive mask over them, None if all count.
        grid: Tokens along time, rows, columns.
    """

    modulation_B6D: Tensor
    text_BMD: Tensor
    text_bias: Tensor | None
    grid: tuple[int, int, int]


class PixArtBlock(nn.Module):
    """Self-attention inside frames, motion module, cross-attention to the text, MLP.

    Args:
        config: Of the model.
        index: Of the block, which decides the kind of motion module.
    """

    def __init__(self, config: PixArtMotionConfig, index: int) -> None:
        super().__init__()
        width, heads, head_dim = config.width, config.num_attention_heads, config.attention_head_dim
        motion = config.motion_of(index)
        self.norm_eps = config.norm_eps
        self.modulation = ModulationTable(6, width)
        self.attention = Attention(width, heads, head_dim)
        self.motion = None if motion is None else MotionModule(width, motion)
        self.text_attention = Attention(width, heads, head_dim)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, x_BLD: Tensor, context: BlockContext) -> tuple[Tensor]:
        """Returns the video tokens after the block."""
        frames = context.grid[0]
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(context.modulation_B6D)
        h_BLD = ops.modulated_layer_norm(x_BLD, scale, shift, eps=self.norm_eps)
        update = windows.from_frames(self.attention(windows.to_frames(h_BLD, frames)), frames)
        x_BLD = ops.gated_residual(x_BLD, gate, update)
        if self.motion is not None:
            x_BLD = self.motion(x_BLD, context.grid)
        x_BLD = x_BLD + self.text_attention(x_BLD, context.text_BMD, mask=context.text_bias)
        h_BLD = ops.modulated_layer_norm(x_BLD, mlp_scale, mlp_shift, eps=self.norm_eps)
        return (ops.gated_residual(x_BLD, mlp_gate, self.mlp(h_BLD)),)
