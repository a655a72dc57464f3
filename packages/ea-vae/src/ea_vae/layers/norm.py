"""Group normalisation of clips, over the whole slice or frame by frame."""

from einops import rearrange
from torch import Tensor

from ea_kernels.nn import GroupNorm
from ea_kernels.ops import group_norm_silu

NORM_EPSILON = 1e-6


class ClipGroupNorm(GroupNorm):
    """Group norm of [B, C, T, H, W].

    Args:
        num_groups: Channel groups.
        num_channels: Channels, a multiple of `num_groups`.
        per_frame: Statistics of each frame on its own (independent of how a clip is cut) instead of over all
            frames of the slice at once.
    """

    def __init__(self, num_groups: int, num_channels: int, *, per_frame: bool) -> None:
        super().__init__(num_groups, num_channels, eps=NORM_EPSILON)
        self.per_frame = per_frame

    def forward(self, x_BCTHW: Tensor, *, activate: bool = False, out: Tensor | None = None) -> Tensor:
        """Normalise; the shape stays.

        Args:
            x_BCTHW: The slice.
            activate: Return the SiLU of the norm.
            out: Where to write that, if no gradient is wanted.
        """
        if activate:
            return group_norm_silu(
                x_BCTHW,
                self.num_groups,
                self.weight,
                self.bias,
                eps=self.eps,
                per_frame=self.per_frame,
                out=out,
            )
        if not self.per_frame:
            return super().forward(x_BCTHW)
        # A view without a copy when the clip is in channels_last_3d, the fast format for training.
        x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
        return rearrange(super().forward(x_NCHW), "(b t) c h w -> b c t h w", b=x_BCTHW.shape[0])
