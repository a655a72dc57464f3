"""Dense optical flow between frames that lie about half a second apart.

Farnebäck's flow with the parameters of EasyAnimate's score, and dense inverse search (Kroeger, Timofte, Dai
and Van Gool, 2016).
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np

from ea_data.curation.reading import Pixels, grey, load_cv2, scaled
from ea_data.media import VideoReader

__all__ = ["Flow", "classical_flow", "flow_lengths", "motion_score", "sampling_step"]

Flow = Callable[[Pixels, Pixels], Any]
"""The flow (H, W, 2) from one frame to another, in pixels."""

_DIGITS: Final = 5


def sampling_step(fps: float, wanted: float, frames: int) -> int:
    """From how many to how many frames one is taken; at least two frames are, where there are two.

    Args:
        fps: Of the video.
        wanted: Frames a second.
        frames: Of the video.
    """
    return max(1, min(int(fps / min(wanted, fps)), frames - 1))


def classical_flow(method: Literal["farneback", "dis"]) -> Flow:
    """Flow between frames of luma."""
    return _farneback() if method == "farneback" else _inverse_search()


def flow_lengths(
    reader: VideoReader, flow: Flow, *, fps: float, side: int | None, colour: bool = False
) -> Iterator[float]:
    """The mean length of the flow between each two sampled frames, in pixels of the video.

    Args:
        reader: The video.
        flow: Between two of its frames.
        fps: Frames a second that are sampled.
        side: Pixels that the longer side is scaled down to; None for as it is.
        colour: Whether the flow is of frames in colour (H, W, 3), and not of their luma (H, W).
    """
    step = sampling_step(reader.fps, fps, len(reader))
    before: Pixels | None = None
    for picture in reader.pick(range(0, len(reader), step)):
        frame = picture if colour else grey(picture)
        small = frame if side is None else scaled(frame, side)
        if before is not None:
            field = flow(before, small)
            length = float(np.sqrt(np.einsum("hwc,hwc->hw", field, field)).mean())
            yield length * frame.shape[1] / small.shape[1]
        before = small


def motion_score(lengths: Iterator[float]) -> float:
    """The mean, with five digits.

    Raises:
        ValueError: There are fewer than two frames.
    """
    found = list(lengths)
    if not found:
        raise ValueError("a single frame has no motion")
    return round(float(np.mean(found)), _DIGITS)


def _farneback() -> Flow:
    cv2 = load_cv2()
    return lambda first, second: cv2.calcOpticalFlowFarneback(
        first,
        second,
        None,
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )


def _inverse_search() -> Flow:
    cv2 = load_cv2()
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return lambda first, second: search.calc(first, second, None)
