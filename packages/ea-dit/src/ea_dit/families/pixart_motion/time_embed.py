"""What a PixArt model knows of the step: the timestep and, where it is told, the size of the picture.

Shapes: B batch, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.layers.embeddings import TimestepEmbed, embed_numbers
from ea_dit.types import Conditioning

SINUSOID = 256
"""Features of a timestep or size before its network."""


class TimeEmbed(nn.Module):
    """The timestep, with the size of the picture added where a model is told it.

    Args:
        width: D.
        sizes: Whether it is.
    """

    def __init__(self, width: int, *, sizes: bool) -> None:
        super().__init__()
        self.timestep = TimestepEmbed(SINUSOID, width)
        self.resolution = TimestepEmbed(SINUSOID, width // 3) if sizes else None
        self.aspect_ratio = TimestepEmbed(SINUSOID, width // 3) if sizes else None
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, timestep_B: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """Returns the embedding (B, D) and the modulation that all blocks share (B, 6, D)."""
        time_BD = self.timestep(timestep_B)
        if self.resolution is not None and self.aspect_ratio is not None:
            assert conditioning.resolution is not None
            assert conditioning.aspect_ratio is not None
            sizes = embed_numbers(self.resolution, conditioning.resolution)
            ratio = embed_numbers(self.aspect_ratio, conditioning.aspect_ratio)
            time_BD = time_BD + torch.cat((sizes, ratio), dim=-1)
        return time_BD, self.modulation(F.silu(time_BD)).unflatten(-1, (6, -1))
