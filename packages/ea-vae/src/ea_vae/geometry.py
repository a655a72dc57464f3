"""Arithmetic between pixels and latents; nothing else in the project multiplies by 4 or 8 for this.

A causal video autoencoder keeps the first frame on its own and packs the frames after it in groups of
`time`; height and width shrink by `space`. So `time * n + 1` frames make n + 1 latent frames. Older
autoencoders cut clips in other ways, each with its own lengths that come back as they were.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

FrameRule = Literal["causal", "slices", "pairs", "groups"]
FRAME_RULES: tuple[FrameRule, ...] = ("causal", "slices", "pairs", "groups")


@dataclass(frozen=True, kw_only=True)
class LatentGeometry:
    """Compression of an autoencoder.

    Encoders take more lengths than decoders give back. Those that survive both are called whole; `rule` says
    which they are, with n a whole number:

    - "causal": time * n + 1 frames make n + 1 latent frames. With `time` 1, the image autoencoders, every
      length is whole.
    - "slices": the same within every slice of `slice_frames` frames, counted from the first.
    - "pairs": 2 * time * n frames make 2 * n latent frames, one frame more makes one latent frame more.
    - "groups": time * n frames make n latent frames if n is at least 2, and a single picture makes one.

    Attributes:
        time: Frames per latent frame (after the first, where that goes alone).
        space: Pixels per latent pixel, in height and in width.
        rule: Which lengths are whole.
        slice_frames: Frames that "slices" are encoded in, at least 1.
        slice_latents: Latent frames that "slices" are decoded in, at least 1.
        any_size: Sides need not be multiples of `space`; what is left over at the bottom and on the right is
            dropped by the encoder.
    """

    time: int = 4
    space: int = 8
    rule: FrameRule = "causal"
    slice_frames: int = 9
    slice_latents: int = 3
    any_size: bool = False

    def __post_init__(self) -> None:
        if self.rule not in FRAME_RULES:
            raise ValueError(f"rule must be one of {', '.join(FRAME_RULES)}, got {self.rule!r}")
        for name in ("time", "space", "slice_frames", "slice_latents"):
            _positive(name, getattr(self, name))

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames of a clip; a clip in between two whole lengths counts as the longer one."""
        return self._encoded(self.round_frames_up(num_frames))

    def pixel_frames(self, num_latent_frames: int) -> int:
        """Frames that decoding this many latent frames gives."""
        count = _positive("num_latent_frames", num_latent_frames)
        match self.rule:
            case "causal":
                return (count - 1) * self.time + 1
            case "slices":
                slices = _slices(count, self.slice_latents)
                return sum((length - 1) * self.time + 1 for length in slices)
            case "pairs":
                return (count - count % 2) * self.time + count % 2
            case "groups":
                return 1 if count == 1 else count * self.time

    def _encoded(self, num_frames: int) -> int:
        """Latent frames that encoding this many frames gives, whole or not."""
        match self.rule:
            case "causal":
                return (num_frames - 1) // self.time + 1
            case "slices":
                slices = _slices(num_frames, self.slice_frames)
                return sum((length - 1) // self.time + 1 for length in slices)
            case "pairs" | "groups":
                # An odd clip starts with a frame that is encoded alone.
                return num_frames % 2 - (num_frames % 2 - num_frames) // self.time

    def is_whole(self, num_frames: int) -> bool:
        """Whether a clip of this length comes back as long as it was, so that it needs no padding."""
        return self.pixel_frames(self._encoded(_positive("num_frames", num_frames))) == num_frames

    def round_frames_up(self, num_frames: int) -> int:
        """The smallest whole length that is not shorter.

        Raises:
            ValueError: If there is none, which happens only if the slices of encoder and decoder do not fit.
        """
        longest = num_frames + 2 * (self.time + self.slice_frames)
        for length in range(num_frames, longest):
            if self.is_whole(length):
                return length
        raise ValueError(
            f"no clip of {num_frames} frames or somewhat more comes back as long as it was: slices of "
            f"{self.slice_frames} frames and of {self.slice_latents} latent frames do not fit"
        )

    def round_frames_down(self, num_frames: int) -> int:
        """The largest whole length that is not longer; a single frame always is whole."""
        length = _positive("num_frames", num_frames)
        while not self.is_whole(length):
            length -= 1
        return length

    def shares_tail(self, num_frames: int, tail: int) -> bool:
        """Whether a clip that begins with the last `tail` frames of another has the same latents there.

        A causal autoencoder with `time` above 1 packs the first frame of a clip alone, so there the first
        latent differs and the others are the same.
        """
        if not (0 < tail < num_frames and self.is_whole(num_frames) and self.is_whole(tail)):
            return False
        match self.rule:
            case "causal":
                return True
            case "slices":
                return (num_frames - tail) % self.slice_frames == 0
            case "pairs":
                return tail % (2 * self.time) == 0
            case "groups":
                return tail % self.time == 0

    def cut(self, *, slice_frames: int, slice_latents: int) -> Self:
        """A copy for other slice sizes; they matter under the rule "slices" only."""
        return replace(self, slice_frames=slice_frames, slice_latents=slice_latents)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Latent height and width.

        Raises:
            ValueError: If a side is not a positive multiple of `space` (with `any_size`, if it is smaller).
        """
        for name, side in (("height", height), ("width", width)):
            if self.any_size and side < self.space:
                raise ValueError(f"{name} must be at least {self.space}, got {side}")
            if not self.any_size and (side < self.space or side % self.space):
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
        """Repeat the last frame until the length is whole."""
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


def _slices(total: int, length: int) -> list[int]:
    full, rest = divmod(total, length)
    return [length] * full + [rest] * (rest > 0)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value
