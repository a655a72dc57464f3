"""Which frames a video has, and where decoding has to begin to reach one.

The table is made of packets, not of frames, so nothing is decoded for it. Its order is that of presentation.
"""

from dataclasses import dataclass
from pathlib import Path

import av.container
import av.video.stream
import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import check_packets, declared_packets, is_shown, rate_of
from ea_data.media.errors import MediaError

__all__ = ["FrameIndex", "read_index"]


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """The frames of a video.

    Attributes:
        pts: Presentation time stamps (N,) of what is shown, ascending; None when the file has none to trust,
            as in avi.
        seconds: Begin of every frame (N,), the first at 0.
        keys: Ascending (K,) time stamps of the packets from which decoding can begin; empty without `pts`.
        key_dts: Their decoding time stamps (K,), which mp4 seeks by.
    """

    pts: NDArray[np.int64] | None
    seconds: NDArray[np.float64]
    keys: NDArray[np.int64]
    key_dts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seconds)

    def key_before(self, frame: int) -> int:
        """Position in `keys` of the last one that is not after a frame; -1 is the beginning of the file.

        Frames that follow a key packet but are shown before it may need what was before (open groups of
        pictures). Looking by presentation time never takes that key for them.
        """
        if self.pts is None:
            return -1
        return int(np.searchsorted(self.keys, self.pts[frame], side="right")) - 1


def read_index(
    path: Path, container: av.container.InputContainer, stream: av.video.stream.VideoStream, *, timed: bool
) -> FrameIndex:
    """Read all packets of a video that has just been opened.

    Args:
        path: For messages.
        container: At its beginning; it is at its end afterwards.
        stream: The video stream.
        timed: Whether time stamps of the container are to be trusted.

    Raises:
        MediaError: Damaged, no frames, or fewer packets than declared.
    """
    codec = stream.codec_context.name
    shown: list[int | None] = []
    keys: list[tuple[int, int]] = []
    packets = 0
    for packet in container.demux(stream):
        if not packet.size:
            continue
        packets += 1
        check_packets(path, packets)
        if packet.is_corrupt:
            raise MediaError(f"cannot read {path}: damaged at byte {packet.pos}")
        if is_shown(packet, codec):
            shown.append(packet.pts)
        if packet.is_keyframe and packet.pts is not None:
            keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
    if not shown:
        raise MediaError(f"cannot read {path}: it has no frames")
    declared = declared_packets(stream)
    if packets < declared:
        raise MediaError(f"cannot read {path}: damaged, {packets} of {declared} frames are there")
    stamps = [stamp for stamp in shown if stamp is not None]
    if not timed or len(set(stamps)) < len(shown):
        none = np.zeros(0, np.int64)
        return FrameIndex(pts=None, seconds=np.arange(len(shown)) / rate_of(stream), keys=none, key_dts=none)
    pts = np.sort(np.array(stamps, np.int64))
    order = np.array(sorted(keys), np.int64).reshape(-1, 2)
    seconds = (pts - pts[0]) * float(stream.time_base or 0)
    return FrameIndex(pts=pts, seconds=seconds, keys=order[:, 0], key_dts=order[:, 1])
