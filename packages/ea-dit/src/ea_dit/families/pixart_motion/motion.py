"""Motion modules: attention over time, inserted into an image model's blocks.

Shapes: B batch, T frames, S tokens per frame, L = T S tokens, D width.
"""

from torch import Tensor, nn

from ea_dit.families.pixart_motion.config import NORM_GROUPS, AttentionScope, MotionConfig
from ea_dit.layers import windows
from ea_dit.layers.attention import Attention
from ea_dit.layers.feed_forward import GatedFeedForward
from ea_dit.layers.sincos import sincos_1d
from ea_kernels.nn import GroupNorm, LayerNorm

Grid = tuple[int, int, int]


class MotionAttention(nn.Module):
    """Pre-norm attention over the frames, or over everything.

    The table of frame positions is part of released files, hence a saved buffer.

    Args:
        width: D.
        config: Of the motion module.
        scope: What a token sees.
    """

    positions: Tensor

    def __init__(self, width: int, config: MotionConfig, scope: AttentionScope) -> None:
        super().__init__()
        heads = config.num_attention_heads
        self.scope = scope
        self.window = config.grid
        self.photo_positions = config.photo_positions
        self.norm = LayerNorm(width)
        self.attention = Attention(width, heads, width // heads, bias=False)
        self.register_buffer("positions", sincos_1d(config.max_frames, width)[None])

    def forward(self, x_BLD: Tensor, grid: Grid) -> Tensor:
        """Returns x after the residual update; `grid` is frames, rows, columns of tokens."""
        h_BLD = self._with_positions(self.norm(x_BLD), grid[0])
        if self.scope == "global":
            return x_BLD + self.attention(h_BLD)
        h_NSD = windows.to_neighbourhoods(h_BLD, grid, self.window)
        return x_BLD + windows.from_neighbourhoods(self.attention(h_NSD), grid, self.window)

    def _with_positions(self, h_BLD: Tensor, frames: int) -> Tensor:
        if frames == 1 and self.scope == "temporal" and not self.photo_positions:
            return h_BLD
        table_T1D = self.positions[0, :frames, None].to(h_BLD.dtype)
        return (h_BLD.unflatten(1, (frames, -1)) + table_T1D).flatten(1, 2)


class MotionBlock(nn.Module):
    """Attentions, then a gated MLP, each after a LayerNorm and added to its input.

    Args:
        width: D.
        config: Of the motion module.
    """

    def __init__(self, width: int, config: MotionConfig) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(MotionAttention(width, config, scope) for scope in config.attention)
        self.mlp_norm = LayerNorm(width)
        self.mlp = GatedFeedForward(width, 4 * width)

    def forward(self, x_BLD: Tensor, grid: Grid) -> Tensor:
        """Returns x after the block."""
        for attention in self.attentions:
            x_BLD = attention(x_BLD, grid)
        return x_BLD + self.mlp(self.mlp_norm(x_BLD))


class MotionModule(nn.Module):
    """GroupNorm per frame, projection, inner blocks, projection, all added to the input.

    A new module adds nothing: its last projection is zero.

    Args:
        width: D.
        config: Of the module.
    """

    def __init__(self, width: int, config: MotionConfig) -> None:
        super().__init__()
        self.norm = GroupNorm(NORM_GROUPS, width)
        self.project_in = nn.Linear(width, width)
        self.blocks = nn.ModuleList(MotionBlock(width, config) for _ in range(config.num_layers))
        self.project_out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, grid: Grid) -> Tensor:
        """Returns x after the residual update; `grid` is frames, rows, columns of tokens."""
        frames_NDS = windows.to_frames(x_BLD, grid[0]).transpose(1, 2)
        h_BLD = windows.from_frames(self.norm(frames_NDS).transpose(1, 2), grid[0])
        h_BLD = self.project_in(h_BLD)
        for block in self.blocks:
            h_BLD = block(h_BLD, grid)
        return x_BLD + self.project_out(h_BLD)
