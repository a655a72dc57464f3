"""Looking at a file without decoding it, and reading whatever it holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import CONTAINERS, opened, seconds_of
from ea_data.media.errors import media_errors
from ea_data.media.image import open_pillow, read_image
from ea_data.media.limits import Kind, Limits, sniff
from ea_data.media.video import read_video


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a file declares.

    Attributes:
        path: The file.
        kind: "video" for anything with more than one frame or in a video container, else "image".
        container: "mp4", "matroska", "avi", "gif", "webp", "png", "jpeg" or "bmp".
        codec: Name of the video codec; the container again for pictures.
        width: Stored pixels.
        height: Stored pixels.
        frames: Declared frames, 0 when the file does not say.
        fps: Average frame rate, 0 for a picture.
        seconds: Declared length, 0 for a picture.
        pixel_aspect: Width of a pixel over its height.
    """

    path: str
    kind: Kind
    container: str
    codec: str
    width: int
    height: int
    frames: int
    fps: float
    seconds: float
    pixel_aspect: float


def probe(path: str | Path, *, limits: Limits | None = None) -> MediaInfo:
    """Describe a video or picture from its headers.

    Raises:
        MediaError: Not such a file, or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    name = sniff(path, limits)
    if name in CONTAINERS:
        with media_errors(path, "read"), opened(path, name, limits) as (container, stream):
            return MediaInfo(
                path=str(path),
                kind="video",
                container=name,
                codec=stream.codec_context.name,
                width=stream.width,
                height=stream.height,
                frames=stream.frames,
                fps=float(stream.average_rate or 0),
                seconds=seconds_of(container, stream),
                pixel_aspect=float(stream.sample_aspect_ratio or 1),
            )
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            image.load()  # webp knows how long a frame is shown only after decoding it
        shown = float(image.info.get("duration", 0) or 0) / 1000
        kind: Literal["video", "image"] = "video" if frames > 1 else "image"
        return MediaInfo(
            path=str(path),
            kind=kind,
            container=name,
            codec=name,
            width=image.width,
            height=image.height,
            frames=frames,
            fps=1 / shown if kind == "video" and shown else 0.0,
            seconds=frames * shown if kind == "video" else 0.0,
            pixel_aspect=1.0,
        )


def read_frames(
    path: str | Path, *, limits: Limits | None = None, take: int | None = None
) -> NDArray[np.uint8]:
    """Read a video or a picture as frames (T, H, W, 3); a picture has one.

    Raises:
        MediaError: See `read_video` and `read_image`.
    """
    if probe(path, limits=limits).kind == "image":
        return read_image(path, limits=limits)[None]
    return read_video(path, limits=limits, take=take).frames


def read_mask(path: str | Path, *, limits: Limits | None = None) -> NDArray[np.bool_]:
    """Read a mask picture or video; bright (luma 128 and more) is True: repaint here.

    Returns:
        Shape (T, H, W), one frame for a picture.

    Raises:
        MediaError: See `read_video` and `read_image`.
    """
    if probe(path, limits=limits).kind == "image":
        frames = read_image(path, limits=limits, matte=(0, 0, 0))[None]
    else:
        frames = read_video(path, limits=limits).frames
    luma = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return luma >= 127.5
