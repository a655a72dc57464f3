"""Frames of a video written as a clip of a constant rate, the same bytes every time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ea_data.media import VideoReader, open_writer

__all__ = ["HIGHEST_FPS", "LOWEST_FPS", "clip_facts", "frame_numbers", "write_clip"]

LOWEST_FPS, HIGHEST_FPS = 0.1, 240.0
_AT_ONCE: Final = 16


def frame_numbers(reader: VideoReader, start: float, seconds: float, fps: float) -> list[int]:
    """Numbers of the frames of a piece of a video at a rate; a variable rate becomes a constant one.

    Args:
        reader: The video.
        start: Seconds.
        seconds: Length.
        fps: Frames a second; more than the video has repeat frames.
    """
    last = int(np.searchsorted(reader.seconds, start + seconds - 1e-6))
    if fps == reader.fps and _is_even(reader):
        return list(range(reader.number_at(start), max(last, 1)))
    count = max(1, round(seconds * fps))
    return [min(reader.number_at(start + n / fps), last - 1) for n in range(count)]


def write_clip(
    path: Path,
    reader: VideoReader,
    numbers: Sequence[int],
    *,
    fps: float,
    size: tuple[int, int] | None,
    crf: int,
) -> None:
    """Write frames as H.264; their folder is made.

    Args:
        path: An .mp4 file.
        reader: The video.
        numbers: Of its frames.
        fps: Frames a second.
        size: (height, width), to which the largest box in the middle with its proportions is scaled; None for
            as they are.
        crf: Quality, 0 (best) to 51.

    Raises:
        MediaError: The video is damaged, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, fps=fps, crf=crf, repeatable=True) as writer:
        for begin in range(0, len(numbers), _AT_ONCE):
            for frame in reader.read(numbers[begin : begin + _AT_ONCE], size=size):
                writer.add(frame)


def clip_facts(height: int, width: int, frames: int, fps: float) -> dict[str, Any]:
    """What `probe` would tell of a clip that was written; H.264 has even sides."""
    return {
        "width": width + width % 2,
        "height": height + height % 2,
        "frames": frames,
        "fps": round(fps, 6),
        "seconds": round(frames / fps, 6),
        "container": "mp4",
        "codec": "h264",
    }


def _is_even(reader: VideoReader) -> bool:
    """Whether frames come at a constant rate."""
    steps = np.diff(reader.seconds)
    return len(steps) < 2 or float(steps.max() - steps.min()) < 0.5 / reader.fps
