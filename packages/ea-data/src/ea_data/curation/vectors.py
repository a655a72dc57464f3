"""Motion from the vectors that an H.264 file has for its blocks: no flow has to be computed.

Only frames that are predicted from earlier ones are used (P frames): their vectors point to the frame before
that is no B frame, mostly, so that the time between the two is known. Blocks without a vector count as the
others do on average.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from av.codec.context import Flags2
from av.sidedata.sidedata import Type
from av.video.frame import PictureType

from ea_data.curation.reading import LIMITS
from ea_data.media.container import opened
from ea_data.media.errors import media_errors
from ea_data.media.limits import sniff

__all__ = ["vector_score"]

_DIGITS: Final = 5
_ONLY_VECTORS: Final = {"skip_frame": "noref", "skip_loop_filter": "all", "skip_idct": "all"}
"""Pixels are not needed, nor frames that no other one is predicted from."""


def vector_score(path: Path, fps: float) -> float | None:
    """The motion score of a file, in pixels for one step of so many frames a second.

    Args:
        path: The video.
        fps: Steps a second.

    Returns:
        None for a file that has no vectors.

    Raises:
        MediaError: It cannot be read.
    """
    name = sniff(path, LIMITS)
    if name not in ("mp4", "matroska"):
        return None
    with media_errors(path, "read"), opened(path, name, LIMITS) as (container, stream):
        codec = stream.codec_context
        if codec.name != "h264":
            return None
        codec.flags2 |= Flags2.export_mvs
        codec.options = dict(_ONLY_VECTORS)
        speeds, anchor = [], None
        for frame in container.decode(stream):
            kind = PictureType(frame.pict_type)
            if kind == PictureType.B or frame.time is None:
                continue
            if kind == PictureType.P and anchor is not None and frame.time > anchor:
                length = _mean_length(frame)
                if length is not None:
                    speeds.append(length / (frame.time - anchor))
            anchor = frame.time
    return round(float(np.mean(speeds)) / fps, _DIGITS) if speeds else None


def _mean_length(frame: Any) -> float | None:
    """Mean length of the vectors of a frame in pixels, each as often as its block has pixels."""
    data = frame.side_data.get(Type.MOTION_VECTORS)
    if data is None:
        return None
    table = data.to_ndarray()
    table = table[table["source"] < 0]
    if not len(table):
        return None
    scale = np.maximum(table["motion_scale"].astype(np.float64), 1)
    lengths = np.hypot(table["motion_x"] / scale, table["motion_y"] / scale)
    area = table["w"].astype(np.float64) * table["h"]
    return float((lengths * area).sum() / area.sum())
