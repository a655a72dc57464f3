"""Self-attention of the autoencoders.

Shape letters: B batch, C channels, T frames, H height, W width, N token sets, L tokens in each.
"""

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import GroupNorm
from ea_vae.layers.norm import NORM_EPSILON

# Which positions of a clip attend to each other: how sets and the tokens of a set are made of its axes.
_SETS: Mapping[str, tuple[str, str]] = {
    "3d": ("b", "t h w"),
    "spatial": ("b t", "h w"),
    "temporal": ("b h w", "t"),
}


class TokenAttention(nn.Module):
    """Residual self-attention over sets of tokens.

    Args:
        channels: Channels, a multiple of `num_heads`.
        num_heads: Heads.
        num_groups: Channel groups of the norm before it, with statistics over a whole set.
    """

    def __init__(self, channels: int, *, num_heads: int, num_groups: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = GroupNorm(num_groups, channels, eps=NORM_EPSILON)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_NCL: Tensor) -> Tensor:
        """Attend within the sets and add the input; the shape stays."""
        h_NLC = rearrange(self.norm(x_NCL), "n c l -> n l c")
        q, k, v = (
            rearrange(project(h_NLC), "n l (a d) -> n l a d", a=self.num_heads)
            for project in (self.query, self.key, self.value)
        )
        y_NLC = self.out(rearrange(ops.attention(q, k, v), "n l a d -> n l (a d)"))
        return x_NCL + rearrange(y_NLC, "n l c -> n c l")


class ClipAttention(TokenAttention):
    """Residual self-attention over positions of a slice of a clip.

    Args:
        channels: Channels, a multiple of `num_heads`.
        over: "3d" for all positions of all frames, "spatial" for the positions of each frame on its own,
            "temporal" for the frames at each position.
        num_heads: Heads.
        num_groups: See `TokenAttention`.
    """

    def __init__(self, channels: int, *, over: str, num_heads: int, num_groups: int) -> None:
        super().__init__(channels, num_heads=num_heads, num_groups=num_groups)
        self.sets, self.tokens = _SETS[over]

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Attend and add the input; the shape stays."""
        batch, _, frames, height, _ = x_BCTHW.shape
        folded = f"({self.sets}) c ({self.tokens})"
        y_NCL = super().forward(rearrange(x_BCTHW, f"b c t h w -> {folded}"))
        sizes = {"b": batch, "t": frames, "h": height}
        return rearrange(y_NCL, f"{folded} -> b c t h w", **sizes)
