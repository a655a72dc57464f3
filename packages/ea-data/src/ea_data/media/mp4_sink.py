"""H.264 in mp4, encoded as frames come."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.container
import av.video.stream
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from ea_data.media.atomic import discard, put_in_place, temporary_name
from ea_data.media.container import decode_all, opened
from ea_data.media.errors import MediaError
from ea_data.media.limits import Limits

__all__ = ["Mp4Sink"]

_BT709: Final = 1
# x264's macroblock tree reads memory that is not set in small pictures, and its threads race.
_REPEATABLE: Final = {"threads": "1", "x264-params": "no-mbtree=1"}
_NO_LIMITS: Final = Limits(
    max_pixels=1 << 31, max_frames=1 << 62, max_seconds=float("inf"), max_bytes=1 << 62
)


class Mp4Sink:
    """4:2:0, BT.709, index first.

    Args:
        path: Output.
        fps: Frames per second.
        crf: x264 quality.
        metadata: The comment, None for none.
        repeatable: See `ea_data.media.write_video`.
    """

    def __init__(
        self, path: Path, fps: float, crf: int, metadata: str | None, *, repeatable: bool = False
    ) -> None:
        self._path, self._temporary = path, temporary_name(path)
        self._rate, self._metadata = Fraction(fps).limit_denominator(1001), metadata
        self._options = {"crf": str(crf), "preset": "medium", **(_REPEATABLE if repeatable else {})}
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.stream.VideoStream
        self._reformatter = VideoReformatter()
        self._count = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Encode a frame (H, W, 3); an odd height or width gets a repeated row or column."""
        height, width, _ = picture.shape
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._container is None:
            self._container = self._open(*picture.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def finish(self) -> Path:
        """Write what is left, decode the file, rename it.

        Raises:
            MediaError: It holds other frames than were written.
        """
        assert self._container is not None
        container, self._container = self._container, None
        with container:
            container.mux(self._stream.encode())
        self._verify()
        put_in_place(self._temporary, self._path)
        return self._path

    def abandon(self) -> None:
        """Remove what was begun."""
        if self._container is not None:
            with suppress(FFmpegError, OSError, ValueError):
                self._container.close()
        discard(self._temporary)

    def _open(self, height: int, width: int) -> av.container.OutputContainer:
        options = {"movflags": "+faststart"}
        container = av.open(str(self._temporary), "w", format="mp4", options=options)
        if self._metadata is not None:
            container.metadata["comment"] = self._metadata
        stream = container.add_stream("libx264", rate=self._rate, options=self._options)
        # PyAV's default cuts each frame into a slice per core, which takes more bytes for the same picture.
        stream.thread_type = "FRAME"
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        self._stream = stream
        return container

    def _verify(self) -> None:
        size = (self._stream.height, self._stream.width)
        count = 0
        with opened(self._temporary, "mp4", _NO_LIMITS) as (container, stream):
            for frame in decode_all(self._temporary, container, stream, _NO_LIMITS):
                count += (frame.height, frame.width) == size
        if count != self._count:
            raise MediaError(
                f"cannot write {self._path}: reading it back gave {count} of {self._count} frames"
            )
