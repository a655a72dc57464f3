"""Self-attention inside the frames of a clip."""

from einops import rearrange
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import GroupNorm
from ea_vae.layers.norm import NORM_EPSILON


class FrameAttention(nn.Module):
    """Residual self-attention over the positions of each frame on its own.

    Args:
        channels: Channels, a multiple of `num_heads`.
        num_heads: Heads.
        num_groups: Channel groups of the norm before it.
    """

    def __init__(self, channels: int, *, num_heads: int, num_groups: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = GroupNorm(num_groups, channels, eps=NORM_EPSILON)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Attend within frames and add the input; the shape stays."""
        batch, _, _, height, _ = x_BCTHW.shape
        x_NLC = rearrange(self.norm(rearrange(x_BCTHW, "b c t h w -> (b t) c (h w)")), "n c l -> n l c")
        q, k, v = (
            rearrange(project(x_NLC), "n l (a d) -> n l a d", a=self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        y_NLC = self.out(rearrange(ops.attention(q, k, v), "n l a d -> n l (a d)"))
        return x_BCTHW + rearrange(y_NLC, "(b t) (h w) c -> b c t h w", b=batch, h=height)
