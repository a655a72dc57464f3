"""Opening videos with PyAV, and decoding them from beginning to end.

PyAV is the reader because its wheels carry their own FFmpeg; torchcodec binds to the FFmpeg libraries of the
system, which a fresh machine does not have.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import av
import av.container
import av.video.stream

from ea_data.media.errors import MediaError
from ea_data.media.limits import Limits, check_pixels

__all__ = [
    "CONTAINERS",
    "TIMED",
    "check_packets",
    "declared_packets",
    "decode_all",
    "decode_packet",
    "is_shown",
    "opened",
    "rate_of",
    "seconds_of",
]

CONTAINERS: Final = ("mp4", "matroska", "avi")
TIMED: Final = ("mp4", "matroska")
"""Containers whose time stamps say when a frame is shown; those of avi only count."""

_MAX_PACKETS: Final = 4_000_000
_VP8_SHOWN: Final = 0x10  # RFC 6386, 9.1: the bit show_frame of a frame's first byte
_FALLBACK_RATE: Final = 25.0


@contextmanager
def opened(
    path: Path, name: str, limits: Limits, *, threads: int = 1, headers_only: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Open a video with a forced demuxer and check its bounds before decoding.

    Args:
        path: The file.
        name: Its container, as `sniff` found it.
        limits: Bounds.
        threads: That decode frames side by side; 0 is one per core.
        headers_only: Do not decode the first frame of an mp4 to learn what its headers leave out, such as the
            pixel format. The shape of its pixels may then only be known when a frame was decoded.

    Raises:
        MediaError: No video stream, an unknown codec, or out of bounds.
    """
    options = {"max_pixels": str(limits.max_pixels), "protocol_whitelist": "file"}
    # Headers of an mp4 give sizes, times and rates, and a first frame is the most expensive one.
    streams: Any = [{"skip_frame": "all"}] if headers_only and name == "mp4" else None
    with av.open(
        str(path), format=name, options=options, stream_options=streams, metadata_errors="replace"
    ) as container:
        if not container.streams.video:
            raise MediaError(f"cannot read {path}: it has no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise MediaError(f"cannot read {path}: its codec is unknown")
        check_pixels(path, stream.width, stream.height, limits.max_pixels)
        seconds = seconds_of(container, stream)
        if seconds > limits.max_seconds:
            raise MediaError(
                f"cannot read {path}: {seconds:.1f} s long; allowed: at most {limits.max_seconds:g} s"
            )
        stream.codec_context.options = {"err_detect": "explode"}  # a damaged frame is an error, not a guess
        if threads != 1:
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
        yield container, stream


def seconds_of(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float:
    """Declared length in seconds, 0 when the file does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def rate_of(stream: av.video.stream.VideoStream) -> float:
    """Average frames per second, 25 when the file does not say."""
    return float(stream.average_rate or stream.guessed_rate or 0) or _FALLBACK_RATE


def declared_packets(stream: av.video.stream.VideoStream) -> int:
    """Packets that a file says it has, 0 when it does not say.

    The table of an mp4 is that after its edit list, which may leave out whole groups of pictures. The table
    of a matroska has only some packets, so that it never says too much.
    """
    return stream.frames if stream.container.format.name == "avi" else len(stream.index_entries)


def is_shown(packet: "av.Packet[av.video.stream.VideoStream]", codec: str) -> bool:
    """Whether a frame comes out of a packet: not one cut away by an edit list, nor a hidden one of VP8."""
    if packet.is_discard:
        return False
    return codec != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN)


def decode_packet(
    path: Path, packet: "av.Packet[av.video.stream.VideoStream]", limits: Limits
) -> Iterator[av.VideoFrame]:
    """The frames that come out when a packet goes in; an empty packet brings out what is left.

    Raises:
        MediaError: A frame is damaged or too large.
    """
    if packet.is_corrupt:
        raise MediaError(f"cannot read {path}: damaged at byte {packet.pos}")
    for frame in packet.decode():
        assert isinstance(frame, av.VideoFrame)
        if frame.is_corrupt:
            raise MediaError(f"cannot read {path}: damaged at {frame.time or 0:.2f} s")
        check_pixels(path, frame.width, frame.height, limits.max_pixels)
        yield frame


def decode_all(
    path: Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    limits: Limits,
) -> Iterator[av.VideoFrame]:
    """Every frame in the order of presentation, one at a time.

    Raises:
        MediaError: Damaged anywhere; after the last frame also when fewer came out than were declared.
    """
    codec = stream.codec_context.name
    packets = hidden = count = 0
    for packet in container.demux(stream):
        if packet.size:
            packets += 1
            hidden += not is_shown(packet, codec)
            check_packets(path, packets)
        for frame in decode_packet(path, packet, limits):
            count += 1
            yield frame
    if not count:
        raise MediaError(f"cannot read {path}: it has no frames")
    declared = declared_packets(stream)
    if packets < declared or count < packets - hidden:
        declared = max(declared, packets) - hidden
        raise MediaError(f"cannot read {path}: damaged, {count} of {declared} frames could be decoded")


def check_packets(path: Path, count: int) -> None:
    """Refuse files that claim frames without end.

    Raises:
        MediaError: Too many.
    """
    if count > _MAX_PACKETS:
        raise MediaError(f"cannot read {path}: more than {_MAX_PACKETS} packets")
