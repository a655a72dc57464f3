"""Arithmetic between pixels and latents; nothing else in the project multiplies by 4 or 8 for this.

A causal video autoencoder keeps the first frame on its own and packs the frames after it in groups of
`time`; height and width shrink by `space`. So `time * n + 1` frames make n + 1 latent frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class LatentGeometry:
    """Compression of a causal video autoencoder.

    Attributes:
        time: Frames per latent frame after the first.
        space: Pixels per latent pixel, in height and in width.
    """

    time: int = 4
    space: int = 8

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames of a clip; a clip in between two lengths counts as the longer one."""
        return -(-(_positive("num_frames", num_frames) - 1) // self.time) + 1

    def pixel_frames(self, num_latent_frames: int) -> int:
        """Frames that decoding this many latent frames gives."""
        return (_positive("num_latent_frames", num_latent_frames) - 1) * self.time + 1

    def round_frames_up(self, num_frames: int) -> int:
        """The smallest length of the form time * n + 1 that is not shorter."""
        return self.pixel_frames(self.latent_frames(num_frames))

    def round_frames_down(self, num_frames: int) -> int:
        """The largest length of the form time * n + 1 that is not longer."""
        return (_positive("num_frames", num_frames) - 1) // self.time * self.time + 1

    def is_whole(self, num_frames: int) -> bool:
        """Whether a clip of this length needs no padding."""
        return self.round_frames_up(num_frames) == num_frames

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Latent height and width.

        Raises:
            ValueError: If a side is not a positive multiple of `space`.
        """
        for name, side in (("height", height), ("width", width)):
            if side < self.space or side % self.space:
                raise ValueError(f"{name} must be a positive multiple of {self.space}, got {side}")
        return height // self.space, width // self.space

    def round_size_up(self, height: int, width: int) -> tuple[int, int]:
        """The smallest height and width that are multiples of `space` and not smaller."""
        return -(-height // self.space) * self.space, -(-width // self.space) * self.space

    def latent_shape(
        self, *, batch: int, channels: int, num_frames: int, height: int, width: int
    ) -> tuple[int, int, int, int, int]:
        """Shape [batch, channels, t, h, w] of the latents of clips of the given pixel size."""
        return (batch, channels, self.latent_frames(num_frames), *self.latent_size(height, width))

    def pad_frames(self, video_BCTHW: Tensor) -> Tensor:
        """Repeat the last frame until the length has the form time * n + 1."""
        missing = self.round_frames_up(video_BCTHW.shape[2]) - video_BCTHW.shape[2]
        if not missing:
            return video_BCTHW
        last = video_BCTHW[:, :, -1:].expand(-1, -1, missing, -1, -1)
        return torch.cat((video_BCTHW, last), dim=2)

    def pad_size(self, video_BCTHW: Tensor) -> Tensor:
        """Repeat the bottom row and the right column until both sides are multiples of `space`."""
        height, width = video_BCTHW.shape[-2:]
        new_height, new_width = self.round_size_up(height, width)
        if (new_height, new_width) == (height, width):
            return video_BCTHW
        return F.pad(video_BCTHW, (0, new_width - width, 0, new_height - height, 0, 0), mode="replicate")


def crop_video(video_BCTHW: Tensor, *, num_frames: int, height: int, width: int) -> Tensor:
    """Undo padding: keep the first frames, the upper rows and the left columns."""
    return video_BCTHW[:, :, :num_frames, :height, :width]


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value
