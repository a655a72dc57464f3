"""Endless loops: gif with 256 colours a frame, lossless webp."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ea_data.media.atomic import discard, put_in_place, temporary_name
from ea_data.media.errors import MediaError
from ea_data.media.image import read_animation
from ea_data.media.limits import Limits
from ea_data.media.metadata import TextSource, final_text, xmp_packet

__all__ = ["AnimationSink"]


class AnimationSink:
    """Holds all frames until the end, since Pillow writes an animation in one go.

    Args:
        path: Output, .gif or .webp.
        fps: Frames per second.
        metadata: The comment of a gif or the XMP description of a webp, see `TextSource`.
    """

    def __init__(self, path: Path, fps: float, metadata: TextSource) -> None:
        self._path, self._temporary = path, temporary_name(path)
        self._fps, self._metadata = fps, metadata
        self._pictures: list[Image.Image] = []

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append a frame (H, W, 3)."""
        image = Image.fromarray(picture)
        if self._path.suffix.lower() == ".gif":
            image = image.quantize(256, dither=Image.Dither.NONE)
        self._pictures.append(image)

    def finish(self) -> Path:
        """Write the file, read it back, rename it.

        Raises:
            MediaError: It holds other frames than were written.
        """
        ticks = np.arange(len(self._pictures) + 1) / self._fps
        options: dict[str, Any] = {}
        text = final_text(self._metadata)
        if self._path.suffix.lower() == ".gif":
            # A gif counts hundredths of a second, and browsers slow down what lasts less than two.
            durations = [max(20, int(step) * 10) for step in np.diff(np.round(ticks * 100))]
            options |= {"format": "GIF", "disposal": 1}
            options |= {} if text is None else {"comment": text.encode()}
        else:
            durations = [int(step) for step in np.diff(np.round(ticks * 1000))]
            options |= {"format": "WEBP", "lossless": True}
            options |= {} if text is None else {"xmp": xmp_packet(text)}
        first, *others = self._pictures
        first.save(
            self._temporary, save_all=True, append_images=others, duration=durations, loop=0, **options
        )
        self._verify()
        put_in_place(self._temporary, self._path)
        return self._path

    def abandon(self) -> None:
        """Remove what was begun."""
        discard(self._temporary)

    def _verify(self) -> None:
        """Animations merge equal neighbours, so they may hold fewer frames."""
        limits = Limits(
            max_pixels=1 << 31,
            max_image_pixels=1 << 31,
            max_frames=1 << 31,
            max_seconds=float("inf"),
            max_bytes=1 << 40,
        )
        frames, _ = read_animation(self._temporary, limits, None)
        width, height = self._pictures[0].size
        if frames.shape[1:3] != (height, width) or len(frames) > len(self._pictures):
            raise MediaError(
                f"cannot write {self._path}: reading it back gave {frames.shape} instead of "
                f"{len(self._pictures)} frames of {height}x{width}"
            )
