"""Looking at a file without decoding all of it, and reading whatever it holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import CONTAINERS, decode_all, opened, seconds_of
from ea_data.media.errors import media_errors
from ea_data.media.image import open_pillow, read_image, rotation_of, upright_size
from ea_data.media.limits import Kind, Limits, check_pixels, sniff
from ea_data.media.orientation import OrientationOf, shown_width
from ea_data.media.video import read_video


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a file declares; None where it does not say.

    Attributes:
        path: The file.
        kind: "video" for anything with more than one frame or in a video container, else "image".
        container: "mp4", "matroska", "avi", "gif", "webp", "png", "jpeg", "bmp" or "avif".
        codec: Name of the video codec; the container again for pictures.
        width: Pixels as the file is read and as a manifest has them: upright and square.
        height: The same.
        frames: Declared frames, 1 for a picture; matroska and webm rarely say.
        fps: Average frame rate, None for a picture.
        seconds: Declared length, None for a picture.
        pixel_aspect: Width of a stored pixel over its height.
        rotation: Clockwise degrees by which stored frames are turned: 0, 90, 180 or 270.
    """

    path: str
    kind: Kind
    container: str
    codec: str
    width: int
    height: int
    frames: int | None
    fps: float | None
    seconds: float | None
    pixel_aspect: float
    rotation: int = 0


def probe(path: str | Path, *, limits: Limits | None = None) -> MediaInfo:
    """Describe a picture from its header; a video from its header and its first frame, which tells its shape.

    Raises:
        MediaError: Not such a file, damaged there, or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    name = sniff(path, limits)
    return _video(path, name, limits) if name in CONTAINERS else _picture(path, name, limits)


def _video(path: Path, name: str, limits: Limits) -> MediaInfo:
    with media_errors(path, "read"), opened(path, name, limits) as (container, stream):
        frame = next(decode_all(path, container, stream, limits))
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        orientation = OrientationOf()(frame)
        height, width = frame.height, shown_width(frame.width, aspect)
        return MediaInfo(
            path=str(path),
            kind="video",
            container=name,
            codec=stream.codec_context.name,
            width=height if orientation.swaps else width,
            height=width if orientation.swaps else height,
            frames=stream.frames or None,
            fps=float(stream.average_rate or 0) or None,
            seconds=seconds_of(container, stream) or None,
            pixel_aspect=float(aspect or 1),
            rotation=-90 * orientation.turns % 360,
        )


def _picture(path: Path, name: str, limits: Limits) -> MediaInfo:
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            check_pixels(path, *image.size, limits.max_pixels)
            image.load()  # webp knows how long a frame is shown only after decoding it
        kind: Kind = "video" if frames > 1 else "image"
        shown = float(image.info.get("duration", 0) or 0) / 1000 if kind == "video" else 0.0
        # The frames of an animation are read as they are stored.
        height, width = upright_size(image) if kind == "image" else (image.height, image.width)
        return MediaInfo(
            path=str(path),
            kind=kind,
            container=name,
            codec=name,
            width=width,
            height=height,
            frames=frames,
            fps=1 / shown if shown else None,
            seconds=frames * shown if shown else None,
            pixel_aspect=1.0,
            rotation=rotation_of(image) if kind == "image" else 0,
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
