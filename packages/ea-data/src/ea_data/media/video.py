"""Reading videos with PyAV.

PyAV is the default because its wheels carry their own FFmpeg; torchcodec binds to the FFmpeg libraries of the
system, which a fresh machine does not have.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.container
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from ea_data.media.errors import MediaError, media_errors
from ea_data.media.image import read_animation
from ea_data.media.limits import Limits, check_pixels, sniff

_PILLOW_ANIMATIONS: Final = ("gif", "webp")
_STILL_FORMATS: Final = ("png", "jpeg", "bmp")
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
    if name in _STILL_FORMATS:
        raise MediaError(f"cannot read {path}: it is a {name} picture, not a video")
    if name in _PILLOW_ANIMATIONS:
        frames, shown = read_animation(path, limits, take)
        starts = np.concatenate([[0.0], np.cumsum(shown)[:-1]])
        uneven = max(shown) - min(shown) > _UNEVEN * float(np.median(shown))
        rate = 1 / min(shown) if uneven else len(shown) / sum(shown)
        return _constant_rate(path, frames, starts, rate, sum(shown), fps, limits)
    with media_errors(path, "read"), opened(path, name, limits) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
        frames, starts = _decode(path, container, stream, limits, take)
    length = float(starts[-1] - starts[0]) + 1 / rate
    return _constant_rate(path, frames, starts - starts[0], rate, length, fps, limits)


@contextmanager
def opened(
    path: Path, name: str, limits: Limits
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Open a video with a forced demuxer and check its bounds before decoding."""
    options = {"max_pixels": str(limits.max_pixels), "protocol_whitelist": "file"}
    with av.open(str(path), format=name, options=options, metadata_errors="replace") as container:
        if not container.streams.video:
            raise MediaError(f"cannot read {path}: it has no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise MediaError(f"cannot read {path}: its codec is unknown")
        check_pixels(path, stream.width, stream.height, limits)
        seconds = seconds_of(container, stream)
        if seconds > limits.max_seconds:
            raise MediaError(
                f"cannot read {path}: {seconds:.1f} s long; allowed: at most {limits.max_seconds:g} s"
            )
        stream.codec_context.options = {"err_detect": "explode"}  # a damaged frame is an error, not a guess
        yield container, stream


def seconds_of(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float:
    """Declared length in seconds, 0 when the file does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def _decode(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    limits: Limits,
    take: int | None,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    frames: list[NDArray[np.uint8]] = []
    starts: list[float] = []
    packets = hidden = 0
    for packet in container.demux(stream):
        if packet.size:
            packets += 1
            hidden += bool(packet.is_discard)  # cut away by an edit list
        if packet.is_corrupt:
            raise MediaError(f"cannot read {path}: damaged at frame {packets}")
        for frame in packet.decode():
            assert isinstance(frame, av.VideoFrame)
            if frame.is_corrupt:
                raise MediaError(f"cannot read {path}: damaged at frame {len(frames)}")
            check_pixels(path, frame.width, frame.height, limits)
            if len(frames) >= limits.max_frames:
                raise MediaError(f"cannot read {path}: more than {limits.max_frames} frames")
            frames.append(_upright(frame, stream.sample_aspect_ratio))
            starts.append(frame.time if frame.time is not None else len(starts) / 25)
            if take is not None and len(frames) == take:
                return np.stack(frames), np.array(starts)
    if not frames:
        raise MediaError(f"cannot read {path}: it has no frames")
    if packets < stream.frames or len(frames) < packets - hidden:
        declared = max(stream.frames, packets) - hidden
        raise MediaError(f"cannot read {path}: damaged, {len(frames)} of {declared} frames could be decoded")
    return np.stack(frames), np.array(starts)


def _upright(frame: av.VideoFrame, aspect: Fraction | None) -> NDArray[np.uint8]:
    width = frame.width
    if aspect and aspect > 0 and aspect != 1:
        width = max(1, min(round(width * aspect), 8 * width))
    picture = frame.reformat(width=width, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise quarter turns
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


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
