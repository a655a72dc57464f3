"""H.264 in mp4 and VP9 in webm, encoded as frames come."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
from ea_data.media.metadata import TextSource

__all__ = ["VideoSink"]

_BT709: Final = 1
_MOST_CRF: Final = 51  # of x264


@dataclass(frozen=True, kw_only=True)
class _Format:
    """How a kind of file is written and read back.

    Attributes:
        muxer: FFmpeg's name for writing.
        demuxer: For reading.
        encoder: Of the frames.
        container: Options of the file.
        options: Of the encoder.
        repeatable: More of them, for the same bytes every time.
        most_crf: The worst quality on the encoder's scale.
    """

    muxer: str
    demuxer: str
    encoder: str
    container: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    repeatable: Mapping[str, str] = field(default_factory=dict)
    most_crf: int = _MOST_CRF


_FORMATS: Final = {
    ".mp4": _Format(
        muxer="mp4",
        demuxer="mp4",
        encoder="libx264",
        container={"movflags": "+faststart"},
        options={"preset": "medium"},
        # x264's macroblock tree reads memory that is not set in small pictures, and its threads race.
        repeatable={"threads": "1", "x264-params": "no-mbtree=1"},
    ),
    ".webm": _Format(
        muxer="webm",
        demuxer="matroska",
        encoder="libvpx-vp9",
        container={"fflags": "+bitexact"},  # no random number that names the file
        # Without alternate frames every packet is a frame that is shown, as `decode_all` counts them.
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1", "auto-alt-ref": "0"},
        repeatable={"threads": "1", "row-mt": "0"},
        most_crf=63,
    ),
}
_NO_LIMITS: Final = Limits(
    max_pixels=1 << 31, max_frames=1 << 62, max_seconds=float("inf"), max_bytes=1 << 62
)


class VideoSink:
    """4:2:0, BT.709; of an mp4 the index first.

    A file begins with its text. If that is known in the end only, encoded frames are held in memory until
    then, about a hundredth of their size as pixels, and nothing is on disk.

    Args:
        path: Output, .mp4 or .webm.
        fps: Frames per second.
        crf: Quality on the scale of x264, also for webm.
        metadata: The comment, see `TextSource`.
        repeatable: See `ea_data.media.write_video`.
    """

    def __init__(
        self, path: Path, fps: float, crf: int, metadata: TextSource, *, repeatable: bool = False
    ) -> None:
        self._path, self._temporary = path, temporary_name(path)
        self._rate, self._metadata = Fraction(fps).limit_denominator(1001), metadata
        self._format = _FORMATS[path.suffix.lower()]
        quality = {"crf": str(round(crf * self._format.most_crf / _MOST_CRF))}
        self._options = {**quality, **self._format.options, **(self._format.repeatable if repeatable else {})}
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.stream.VideoStream
        self._reformatter = VideoReformatter()
        self._held: list[av.Packet[av.video.stream.VideoStream]] = []
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
        packets = self._stream.encode(frame)
        if callable(self._metadata):
            self._held += packets
        else:
            self._container.mux(packets)
        self._count += 1

    def finish(self) -> Path:
        """Write what is left, decode the file, rename it.

        Raises:
            MediaError: It holds other frames than were written.
        """
        assert self._container is not None
        container, self._container = self._container, None
        with container:
            packets = [*self._held, *self._stream.encode()]
            if callable(self._metadata):
                container.metadata["comment"] = self._metadata()
            container.mux(packets)
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
        options = dict(self._format.container)
        container = av.open(str(self._temporary), "w", format=self._format.muxer, options=options)
        if isinstance(self._metadata, str):
            container.metadata["comment"] = self._metadata
        stream = container.add_stream(self._format.encoder, rate=self._rate, options=self._options)
        assert isinstance(stream, av.video.stream.VideoStream)
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
        with opened(self._temporary, self._format.demuxer, _NO_LIMITS) as (container, stream):
            for frame in decode_all(self._temporary, container, stream, _NO_LIMITS):
                count += (frame.height, frame.width) == size
        if count != self._count:
            raise MediaError(
                f"cannot write {self._path}: reading it back gave {count} of {self._count} frames"
            )
