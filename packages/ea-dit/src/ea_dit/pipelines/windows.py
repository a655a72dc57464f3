"""Long videos as windows that overlap: what each window makes, and what it is given.

A window is a clip that the model makes at once. It begins with frames that the window before made and shows
how they go on. Shapes: B batch, T frames, H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ea_dit.pipelines.conditions import (
    Camera,
    Condition,
    Control,
    Echo,
    Frames,
    Video,
    only,
    placed,
)
from ea_dit.pipelines.pixels import to_boolean, to_float
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.variants import Traits
from ea_vae.geometry import LatentGeometry

BEFORE = "frames of the window before"
"""Name of the condition that hands frames over."""

_SHARE = 4
_SMALLEST = 4


@dataclass(frozen=True)
class Window:
    """Frames of a video that are made at once.

    Attributes:
        start: Number of its first frame in the video.
        frames: How many it has. The last window may reach beyond the end of the video.
        overlap: How many of them, the first, the window before made as well.
    """

    start: int
    frames: int
    overlap: int = 0

    @property
    def stop(self) -> int:
        """Number of the frame after its last."""
        return self.start + self.frames


def cut(request: GenerationRequest, traits: Traits, geometry: LatentGeometry) -> tuple[Window, ...]:
    """The windows of a request, checked against what a model can do.

    Args:
        request: Valid in itself.
        traits: What the network wants.
        geometry: Of the autoencoder.

    Raises:
        ValueError: One line that names the field and what is allowed.
    """
    windows = windows_of(request, geometry)
    most, longest = traits.max_latent_frames, windows[0].frames
    if most is not None and geometry.latent_frames(longest) > most:
        name = "num_frames" if len(windows) == 1 else "window_frames"
        frames = geometry.round_frames_down(geometry.pixel_frames(most))
        raise ValueError(f"{name} must be at most {frames} for this model, got {longest}")
    check_windows(request, windows)
    return windows


def windows_of(request: GenerationRequest, geometry: LatentGeometry) -> tuple[Window, ...]:
    """How a request is cut; one window without `window_frames`, or where the video is no longer than that.

    Windows are equally long. The last one starts early enough to be full too, so it may overlap by more.

    Args:
        request: Valid in itself.
        geometry: Of the autoencoder: windows and overlaps are lengths that come back as they were.

    Raises:
        ValueError: Naming `window_frames` or `overlap_frames` and what is allowed.
    """
    size, total = request.window_frames, request.num_frames
    if size is None or total <= size:
        return (Window(0, total),)
    _check_whole("window_frames", size, geometry)
    allowed = [length for length in range(1, size) if geometry.shares_tail(size, length)]
    overlap = _overlap(request.overlap_frames, size, allowed)
    windows = [Window(0, size)]
    while (end := windows[-1].stop) < total:
        last = [length for length in allowed if length >= overlap and end - length + size >= total]
        length = max(last, default=overlap)
        windows.append(Window(end - length, size, length))
    return tuple(windows)


def _overlap(given: int | None, size: int, allowed: Sequence[int]) -> int:
    most = (size + 1) // 2
    if not allowed or (given is None and allowed[0] > most):
        raise ValueError(f"window_frames {size} is too short for windows that overlap")
    if given is None:
        wanted = max(_SMALLEST, size // _SHARE)
        return min(
            (length for length in allowed if wanted <= length <= most),
            default=max(length for length in allowed if length <= most),
        )
    if given not in allowed:
        near = sorted(sorted(allowed, key=lambda length: abs(length - given))[:2])
        raise ValueError(
            f"overlap_frames must be a length at which latents can be cut, got {given}; nearest: "
            f"{' and '.join(map(str, near))}"
        )
    return given


def _check_whole(name: str, length: int, geometry: LatentGeometry) -> None:
    if not geometry.is_whole(length):
        near = (geometry.round_frames_down(length), geometry.round_frames_up(length))
        raise ValueError(
            f"{name} must be a length that the autoencoder gives back, got {length}; nearest: "
            f"{' and '.join(map(str, near))}"
        )


def check_windows(request: GenerationRequest, windows: Sequence[Window]) -> None:
    """Refuses conditions that windows cannot share.

    Raises:
        ValueError: Naming the condition, or `window_frames` where a window has nothing left to make.
    """
    if len(windows) == 1:
        echo = only(request.conditions, Echo)
        if echo is not None:
            raise ValueError(f"{echo.name} needs a video in several windows")
        if len(request.window_prompts) > 1:
            raise ValueError(f"window_prompts must be 1 for one window, got {len(request.window_prompts)}")
        return
    camera = only(request.conditions, Camera)
    if camera is not None:
        raise ValueError(
            f"{camera.name} cannot be used with window_frames: rays start at the first frame of a window"
        )
    kept = [given for given in placed(request.conditions) if given.edit_ratio == 0]
    taken = [place for given in kept for place in given.places(request.num_frames)]
    for echo in (given for given in request.conditions if isinstance(given, Echo)):
        here = next(window for window in reversed(windows) if window.start + window.overlap <= echo.at)
        if echo.at + echo.length > here.stop or echo.source + echo.length > here.start + here.overlap:
            raise ValueError(f"{echo.name} must repeat frames that windows before made, in one window")
    if request.window_prompts and len(request.window_prompts) != len(windows):
        got = len(request.window_prompts)
        raise ValueError(f"window_prompts must be {len(windows)}, one for each window, got {got}")
    for window in windows:
        inside = sum(window.start + window.overlap <= place < window.stop for place in taken)
        if window.overlap + inside >= window.frames:
            raise ValueError(
                f"window_frames must leave frames to make: {window.start} ... {window.stop - 1} are given"
            )


def window_request(
    request: GenerationRequest, window: Window, before: Tensor | None, made: Tensor | None = None
) -> GenerationRequest:
    """The request of one window.

    Args:
        request: Of the whole video.
        window: Which part of it.
        before: (3, T, H, W) pixels in 0 ... 1 of the frames that it starts with, to be given; None gives
            none.
        made: (3, T, H, W) pixels of the video so far, for frames that come again.
    """
    conditions = [
        _recalled(given, made) if isinstance(given, Echo) else given for given in request.conditions
    ]
    given = [_part(condition, window, request.num_frames, before) for condition in conditions if condition]
    conditions = [condition for condition in given if condition is not None]
    if before is not None and only(conditions, Video) is None:
        conditions.append(Frames(pixels=before, name=BEFORE))
    return replace(
        request,
        num_frames=window.frames,
        conditions=tuple(conditions),
        window_frames=None,
        overlap_frames=None,
        window_prompts=(),
    )


def _recalled(echo: Echo, made: Tensor | None) -> Frames | None:
    """Frames that come again, once they are there."""
    stop = echo.source + echo.length
    if made is None or made.shape[1] < stop:
        return None
    pixels = made[:, echo.source : stop]
    return Frames(pixels=pixels, at=echo.at, edit_ratio=echo.edit_ratio, name=echo.name)


def _part(condition: Condition, window: Window, num_frames: int, before: Tensor | None) -> Condition | None:
    """What a window sees of a condition; None where it lies outside."""
    match condition:
        case Frames():
            return _frames(condition, window, num_frames)
        case Video():
            return _video(condition, window, before)
        case Control():
            return replace(condition, pixels=_cut(condition.pixels, 1, window))
        case _:
            return condition


def _frames(given: Frames, window: Window, num_frames: int) -> Frames | None:
    places = given.places(num_frames)
    start, stop = max(places.start, window.start + window.overlap), min(places.stop, window.stop)
    if start >= stop:
        return None
    pixels = given.video[:, start - places.start : stop - places.start]
    return replace(given, pixels=pixels, at=start - window.start)


def _video(video: Video, window: Window, before: Tensor | None) -> Video:
    pixels = to_float(_cut(video.pixels, 1, window))
    mask = video.mask
    if mask is not None:
        mask = to_boolean(mask)
        mask = _cut(mask, 0, window) if mask.ndim == 3 else mask.expand(window.frames, *mask.shape)
    if mask is not None and before is not None:
        pixels, mask = pixels.clone(), mask.clone()
        pixels[:, : before.shape[1]] = before
        mask[: before.shape[1]] = False
    return replace(video, pixels=pixels, mask=mask)


def _cut(signal: Tensor, axis: int, window: Window) -> Tensor:
    """The frames of a window; beyond the end of the video its last frame is repeated."""
    last = signal.shape[axis] - 1
    places = torch.arange(window.start, window.stop).clamp(max=last).to(signal.device)
    return signal.index_select(axis, places)
