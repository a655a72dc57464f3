"""Which frames of a video are scored, under the names of EasyAnimate's tools."""

from collections.abc import Sequence
from typing import Final, Literal

__all__ = ["METHODS", "Method", "choose_frames"]

Method = Literal["mid", "uniform", "stride", "first", "last", "keyframe", "keyframe+first", "keyframe+last"]
METHODS: Final = ("mid", "uniform", "stride", "first", "last", "keyframe", "keyframe+first", "keyframe+last")


def choose_frames(
    method: Method,
    total: int,
    *,
    fps: float = 0.0,
    count: int = 1,
    stride: int = 1,
    keyframes: Sequence[int] = (0,),
) -> list[int]:
    """Numbers of frames, from 0.

    Args:
        method: `mid` the one in the middle; `uniform` `count` at equal distances from the first, which come
            twice when there are fewer frames; `stride` every so manyth; `keyframe` those that stand for
            themselves in the file, with `+first` another after one second where there is none within it, with
            `+last` the last frame.
        total: Frames of the video.
        fps: Frames per second, for `keyframe+first`.
        count: For `uniform`.
        stride: For `stride`.
        keyframes: Ascending numbers, for the methods named so.

    Raises:
        ValueError: The video is shorter than a second, for `keyframe+first`; or no such method.
    """
    if method == "mid":
        return [total // 2]
    if method == "uniform":
        return [int(total * number / count) for number in range(count)]
    if method == "stride":
        return list(range(0, total, stride))
    if method in ("first", "last"):
        return [0 if method == "first" else total - 1]
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; allowed: {', '.join(METHODS)}")
    chosen = list(keyframes)
    if method == "keyframe+first":
        if int(fps) >= total:
            raise ValueError(f"the video has {total} frames, less than a second; allowed: more")
        if len(chosen) == 1 or chosen[1] > int(fps):
            chosen.insert(1, int(fps))
    elif method == "keyframe+last" and chosen[-1] != total - 1:
        chosen.append(total - 1)
    return chosen
