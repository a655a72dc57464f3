"""Whole videos as arrays of frames at a constant rate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import CONTAINERS, TIMED, decode_all, opened, rate_of
from ea_data.media.errors import MediaError, media_errors
from ea_data.media.fitting import RgbConverter
from ea_data.media.image import is_animation, read_animation
from ea_data.media.limits import Limits, sniff

__all__ = ["Video", "read_video"]

_UNEVEN: Final = 0.5  # of the median interval: beyond this, time stamps count as a variable frame rate


@dataclass(frozen=True, kw_only=True)
class Video:
    """Decoded frames.

    Attributes:
        frames: Shape (T, H, W, 3), sRGB 0..255, upright, square pixels.
        fps: Frames per second.
    """

    frames: NDArray[np.uint8]
    fps: float


def read_video(
    path: str | Path, *, limits: Limits | None = None, take: int | None = None, fps: float | None = None
) -> Video:
    """Read a video as it is meant to be seen: turned by its rotation tag, stretched to square pixels.

    A variable frame rate becomes a constant one (the average) by repeating and dropping frames.

    Args:
        path: An mp4, mov, webm, mkv, avi, gif or webp file.
        limits: Bounds; the defaults of `Limits` if None.
        take: Stop after so many decoded frames; everything if None.
        fps: Resample to this rate; the file's own if None.

    Raises:
        MediaError: Not such a file, damaged anywhere (fewer frames than declared counts), or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    if take is not None and take < 1:
        raise MediaError(f"take is {take}; allowed: 1 or more")
    if fps is not None and not 0.1 <= fps <= 1000:
        raise MediaError(f"fps is {fps}; allowed: 0.1 to 1000")
    name = sniff(path, limits)
    if is_animation(path, name, limits):
        frames, shown = read_animation(path, limits, take)
        starts = np.concatenate([[0.0], np.cumsum(shown)[:-1]])
        uneven = max(shown) - min(shown) > _UNEVEN * float(np.median(shown))
        rate = 1 / min(shown) if uneven else len(shown) / sum(shown)
        return _constant_rate(path, frames, starts, rate, sum(shown), fps, limits)
    if name not in CONTAINERS:
        raise MediaError(f"cannot read {path}: it is a {name} picture, not a video")
    frames, starts, rate = _decode(path, name, limits, take)
    length = float(starts[-1] - starts[0]) + 1 / rate
    return _constant_rate(path, frames, starts - starts[0], rate, length, fps, limits)


def _decode(
    path: Path, name: str, limits: Limits, take: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """Frames (T, H, W, 3), their begin in seconds (T,), and the declared rate."""
    frames: list[NDArray[np.uint8]] = []
    starts: list[float] = []
    with media_errors(path, "read"), opened(path, name, limits) as (container, stream):
        rate, convert = rate_of(stream), RgbConverter(stream.sample_aspect_ratio)
        for frame in decode_all(path, container, stream, limits):
            if len(frames) >= limits.max_frames:
                raise MediaError(f"cannot read {path}: more than {limits.max_frames} frames")
            frames.append(convert(frame))
            timed = name in TIMED and frame.time is not None
            starts.append(frame.time if timed else len(starts) / rate)
            if len(frames) == take:
                break
        return np.stack(frames), np.array(starts), rate


def _constant_rate(
    path: Path,
    frames: NDArray[np.uint8],
    starts: NDArray[np.float64],
    rate: float,
    length: float,
    fps: float | None,
    limits: Limits,
) -> Video:
    """Pick, for every tick of a constant rate, the frame that is on screen."""
    steps = np.diff(starts)
    even = len(steps) == 0 or np.abs(steps - np.median(steps)).max() <= _UNEVEN * np.median(steps)
    target = rate if fps is None else fps
    if even and (fps is None or abs(fps - rate) < 1e-6):
        return Video(frames=frames, fps=float(target))
    count = max(1, round(length * target))
    if count > limits.max_frames:
        raise MediaError(
            f"cannot read {path}: {count} frames at {target:g} fps; allowed: at most {limits.max_frames}"
        )
    # Half a tick of tolerance: rounded time stamps must not show the frame before.
    ticks = np.arange(count) / target + 0.5 * min(1 / target, 1 / rate)
    return Video(frames=frames[np.searchsorted(starts, ticks, side="right") - 1], fps=float(target))
