"""The frames of a window on their way into the video, as they are decoded.

Shapes: B batch, T frames, H and W pixels.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ea_dit.pipelines.windows import Window


class WindowFrames:
    """Fades a window into the one before and leaves out what the next one makes again.

    Args:
        window: Which.
        after: The next one, None for the last.
        before_B3THW: Frames that the window before handed over, None for the first.
        num_frames: Of the whole video.
    """

    def __init__(
        self, window: Window, after: Window | None, before_B3THW: Tensor | None, num_frames: int
    ) -> None:
        self._overlap = 0 if after is None else after.overlap
        self._left = min(window.frames - self._overlap, num_frames - window.start)
        self._before = before_B3THW
        self._last: Tensor | None = None

    def finished(self, decoded: Iterable[Tensor]) -> Iterator[Tensor]:
        """The frames that are done, as early as they are.

        Args:
            decoded: Consecutive frames (B, 3, T, H, W) of the window, in any portions.

        Yields:
            (B, 3, T, H, W), one after the other the part of the window that goes into the video.
        """
        for frames in self._faded(self._remembered(decoded)):
            done = frames[:, :, : self._left]
            self._left -= done.shape[2]
            if done.shape[2]:
                yield done

    @property
    def handed(self) -> Tensor:
        """As they were decoded, the frames that the next window makes again; known when all are decoded."""
        assert self._last is not None
        return self._last

    def _remembered(self, decoded: Iterable[Tensor]) -> Iterator[Tensor]:
        for frames in decoded:
            if self._overlap:
                known = frames if self._last is None else torch.cat((self._last, frames), dim=2)
                # A copy: a view would keep all that it was cut from.
                self._last = known[:, :, -self._overlap :].clone()
            yield frames

    def _faded(self, decoded: Iterable[Tensor]) -> Iterator[Tensor]:
        """Holds frames back until those of the whole overlap are there."""
        held: list[Tensor] = []
        for frames in decoded:
            if self._before is None:
                yield frames
                continue
            held.append(frames)
            if sum(part.shape[2] for part in held) >= self._before.shape[2]:
                yield cross_faded(self._before, torch.cat(held, dim=2))
                self._before = None
                held.clear()


def cross_faded(before_B3THW: Tensor, frames_B3THW: Tensor) -> Tensor:
    """Frames of a window that come out of those of the window before, frame by frame through the overlap."""
    count = before_B3THW.shape[2]
    weights = (torch.arange(count) / count).to(frames_B3THW)[:, None, None]
    faded = frames_B3THW.clone()
    faded[:, :, :count] = torch.lerp(before_B3THW, frames_B3THW[:, :, :count], weights)
    return faded
