"""Control signals of a video, frame by frame.

    frames = make_control(video, "canny", low=50, high=150)

Memory is bounded: one frame is worked on at a time. The same frames and options give the same signal; kinds
with weights promise that on one machine, since torch adds up in another order on another.

Time: every frame is made by itself, so that a signal can be cut and joined like its video, and a frame at a
cut is never mixed with the one before. The one exception is `depth`, whose range of depths follows the
frames slowly unless `smoothing` is 0, for a range of its own would make each frame flicker.

Shapes: T frames, H and W pixels.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.edges import canny, scribble, soft_edges
from ea_data.control.extras import load
from ea_data.control.kinds import find_kind
from ea_data.control.lines import line_art, segments
from ea_data.control.networks.depth import depth
from ea_data.control.networks.dwpose import dwpose
from ea_data.control.networks.hed import hed
from ea_data.control.networks.lineart_anime import lineart_anime
from ea_data.control.networks.mlsd_lines import mlsd
from ea_data.control.networks.pose import pose
from ea_data.control.networks.source import pinned
from ea_data.control.options import Options

__all__ = ["ControlMaker", "make_control", "open_maker"]

Pixels = NDArray[np.uint8]
Notify = Callable[[str], None]

_PLAIN: Final[dict[str, Callable[[Any], Callable[[Pixels], Pixels]]]] = {
    "canny": canny,
    "softedge_scharr": soft_edges,
    "scribble": scribble,
    "lineart_xdog": line_art,
    "lines_lsd": segments,
}
_NETWORKS: Final[dict[str, Callable[[Any, Notify], Callable[[], Callable[[Pixels], Pixels]]]]] = {
    "pose": pose,
    "dwpose": dwpose,
    "depth": depth,
    "hed": hed,
    "mlsd": mlsd,
    "lineart_anime": lineart_anime,
}


class ControlMaker:
    """Makes one kind of control signal; its weights, if it has any, are read.

    Attributes:
        kind: One of `KINDS`.
        options: What it was opened with; names of weights always mean the same ones, see `pinned`.
    """

    def __init__(self, kind: str, options: Options, start: Callable[[], Callable[[Pixels], Pixels]]) -> None:
        self.kind = kind
        self.options = options
        self._start = start

    def __call__(self, frames: Iterable[Pixels]) -> Iterator[Pixels]:
        """Make the signal of a video.

        Args:
            frames: Each (H, W, 3), sRGB 0..255; taken one at a time.

        Yields:
            (H, W, 3) uint8 for every frame.

        Raises:
            ValueError: A frame of another shape or type.
        """
        make = self._start()
        for frame in frames:
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
                raise ValueError(
                    f"a frame is {frame.dtype} {frame.shape}; allowed: uint8 (H, W, 3), none of them 0"
                )
            made = make(np.ascontiguousarray(frame))
            yield np.repeat(made[..., None], 3, axis=2) if made.ndim == 2 else made


def open_maker(kind: str, options: Options | None = None, *, notify: Notify | None = None) -> ControlMaker:
    """Get ready to make a kind of signal: load its libraries and weights.

    Args:
        kind: One of `KINDS`.
        options: Of the class of that kind; the defaults if None.
        notify: Is told, in a line each, what is about to be downloaded and how large it is.

    Raises:
        ValueError: No such kind, options of another kind or that do not go together, weights that are not
            there or not of this kind.
        MissingExtraError: A library is not installed (a ValueError too).
    """
    entry = find_kind(kind)
    options = entry.options() if options is None else options
    if type(options) is not entry.options:
        raise ValueError(
            f"options are {type(options).__name__}; allowed for {kind}: {entry.options.__name__}"
        )
    if kind in _PLAIN:
        make = _PLAIN[kind](options)
        return ControlMaker(kind, options, lambda: make)
    load("torch")  # first, so that a missing extra is the one that brings everything
    start = _NETWORKS[kind](options, notify or _silent)
    return ControlMaker(kind, _with_pins(options), start)


def make_control(
    video: Pixels, kind: str, *, progress: Callable[[int, int], None] | None = None, **options: Any
) -> Pixels:
    """The control signal of a video or picture.

    Args:
        video: (T, H, W, 3), or (H, W, 3) for a picture; uint8 sRGB.
        kind: One of `KINDS`.
        progress: Is told how many frames are done, and how many there are.
        **options: Fields of the options of that kind, see `ea_data.control.kinds`.

    Returns:
        (T, H, W, 3) uint8; T is 1 for a picture.

    Raises:
        ValueError: See `open_maker`; an option that the kind does not have, or a wrong value; a video of
            another shape or type.
    """
    chosen = find_kind(kind).options.of(kind, options)
    frames = video[None] if video.ndim == 3 else video
    if frames.ndim != 4 or 0 in frames.shape:
        raise ValueError(
            f"a video is {video.dtype} {video.shape}; allowed: uint8 (T, H, W, 3) or (H, W, 3), none 0"
        )
    made = np.empty_like(frames)
    for index, picture in enumerate(open_maker(kind, chosen)(frames)):
        made[index] = picture
        if progress is not None:
            progress(index + 1, len(frames))
    return made


def _with_pins(options: Options) -> Options:
    names = {"weights", "detector"} & {field.name for field in dataclasses.fields(options)}
    return dataclasses.replace(options, **{name: pinned(name, getattr(options, name)) for name in names})


def _silent(_: str) -> None:
    pass
