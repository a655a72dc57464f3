"""What steers a video beside its prompt: one typed list, `GenerationRequest.conditions`.

Pixels are float in 0 ... 1 or uint8. Messages call a condition by its `name`; front ends give the name of the
option that it came from. Shapes: T frames, H and W pixels of the result; N, h and w any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ea_dit.pipelines.pixels import check_pixels, check_shape, check_tensor

ConditionT = TypeVar("ConditionT")


class Clip(Protocol):
    """What conditions need to know of the clip they are for."""

    @property
    def num_frames(self) -> int:
        """T."""
        ...

    @property
    def height(self) -> int:
        """H."""
        ...

    @property
    def width(self) -> int:
        """W."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Frames that are given at their place: the first, the last, or any between.

    Attributes:
        pixels: One frame (3, H, W), or several in a row (3, N, H, W).
        at: Place of the first of them, 0 ... T - 1; negative numbers count from the end, -1 is the last.
        edit_ratio: 0 gives them as they are; above, up to but without 1, they join the sampling the earlier
            and are changed the more. Only Open-Sora's models take that.
        name: In messages.
    """

    pixels: Tensor
    at: int = 0
    edit_ratio: float = 0.0
    name: str = "frames"

    @property
    def video(self) -> Tensor:
        """The pixels as (3, N, H, W)."""
        return self.pixels if self.pixels.ndim == 4 else self.pixels[:, None]

    def places(self, num_frames: int) -> range:
        """Where they are in a clip of so many frames."""
        start = self.at if self.at >= 0 else num_frames + self.at
        return range(start, start + self.video.shape[1])

    def check(self, clip: Clip) -> None:
        """Refuses pixels of a wrong shape or range, and places outside of the clip."""
        check_tensor(self.name, self.pixels)
        size = (clip.height, clip.width)
        check_pixels(self.name, self.pixels, (3, *size) if self.pixels.ndim == 3 else (3, None, *size))
        if isinstance(self.at, bool) or not isinstance(self.at, int):
            raise ValueError(f"{self.name} must be at a whole number, got {self.at!r}")  # noqa: TRY004
        places, last = self.places(clip.num_frames), clip.num_frames - 1
        if places.start < 0 or places.stop - 1 > last:
            got = f"{self.at}" if len(places) == 1 else f"{places.start} ... {places.stop - 1}"
            got = "" if self.name.endswith(f" {got}") else f", got {got}"
            raise ValueError(f"{self.name} must lie in frames 0 ... {last} of the clip{got}")
        _check_edit_ratio(self.name, self.edit_ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class Echo:
    """Frames of the video itself, from a window before, that come again; for videos that are made in windows.

    Attributes:
        source: The first of them.
        at: Place of the first of them when they come again.
        length: How many.
        edit_ratio: See `Frames`.
        name: In messages.
    """

    source: int
    at: int
    length: int = 1
    edit_ratio: float = 0.0
    name: str = "echo"

    def places(self, num_frames: int) -> range:
        """Where they come again."""
        del num_frames
        return range(self.at, self.at + self.length)

    def check(self, clip: Clip) -> None:
        """Refuses places outside of the clip, and what is not there yet."""
        fits = self.length >= 1 and self.at + self.length <= clip.num_frames
        if not fits or self.source < 0 or self.source + self.length > self.at:
            raise ValueError(
                f"{self.name} must repeat frames of the clip that are made before, got {self.length} from "
                f"{self.source} at {self.at}"
            )
        _check_edit_ratio(self.name, self.edit_ratio)


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """A video to change: all of it with a `strength` below 1, or where a mask says so.

    Attributes:
        pixels: (3, T, H, W).
        mask: (H, W) or (T, H, W): at least half (uint8: at least 128, bool: True) = make anew. None for all.
        name: In messages.
    """

    pixels: Tensor
    mask: Tensor | None = None
    name: str = "video"

    def check(self, clip: Clip) -> None:
        """Refuses pixels or a mask of a wrong shape or range."""
        size = (clip.height, clip.width)
        check_pixels(self.name, self.pixels, (3, clip.num_frames, *size))
        if self.mask is None:
            return
        check_tensor("mask", self.mask)
        check_shape("mask", self.mask, size if self.mask.ndim == 2 else (clip.num_frames, *size))
        if self.mask.dtype not in (torch.bool, torch.uint8) and not self.mask.is_floating_point():
            raise ValueError(f"mask must be bool, uint8 or floating point, got {self.mask.dtype}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """A signal to follow, drawn as a video: edges, depth, poses, or the heat map of a trajectory.

    Attributes:
        pixels: (3, T, h, w).
        name: In messages.
    """

    pixels: Tensor
    name: str = "control"

    def check(self, clip: Clip) -> None:
        """Refuses pixels of a wrong shape or range."""
        check_pixels(self.name, self.pixels, (3, clip.num_frames, None, None))


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """A picture of what is to be seen, for control and camera models that read one.

    Attributes:
        pixels: (3, h, w).
        name: In messages.
    """

    pixels: Tensor
    name: str = "reference"

    def check(self, clip: Clip) -> None:
        """Refuses pixels of a wrong shape or range."""
        del clip
        check_pixels(self.name, self.pixels, (3, None, None))


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A camera path, as the ray of every pixel.

    Attributes:
        rays: (6, T, h, w) ray map.
        name: In messages.
    """

    rays: Tensor
    name: str = "camera"

    def check(self, clip: Clip) -> None:
        """Refuses rays of a wrong shape."""
        check_shape(self.name, self.rays, (6, clip.num_frames, None, None))
        if not self.rays.is_floating_point() or not bool(self.rays.isfinite().all()):
            raise ValueError(f"{self.name} must be finite floating point numbers")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipImage:
    """What models that read a picture with CLIP (V3, V4) see in the place of the first frame.

    Attributes:
        pixels: (3, h, w).
        name: In messages.
    """

    pixels: Tensor
    name: str = "clip_image"

    def check(self, clip: Clip) -> None:
        """Refuses pixels of a wrong shape or range."""
        del clip
        check_pixels(self.name, self.pixels, (3, None, None))


Condition = Frames | Echo | Video | Control | Reference | Camera | ClipImage
STEERING = (Control, Reference, Camera)
"""What control and camera models take."""


def only(conditions: Sequence[Condition], kind: type[ConditionT]) -> ConditionT | None:
    """The condition of a kind, None without one; of all but `Frames` a checked request has at most one."""
    return next((condition for condition in conditions if isinstance(condition, kind)), None)


def placed(conditions: Sequence[Condition]) -> tuple[Frames | Echo, ...]:
    """What has places in the clip: given frames, and frames that come again."""
    return tuple(condition for condition in conditions if isinstance(condition, Frames | Echo))


def frames_of(conditions: Sequence[Condition]) -> tuple[Frames, ...]:
    """All given frames."""
    return tuple(condition for condition in conditions if isinstance(condition, Frames))


def check_conditions(conditions: Sequence[Condition], clip: Clip) -> None:
    """Refuses conditions that are wrong in themselves or that do not go together.

    Args:
        conditions: Those.
        clip: What they are for.

    Raises:
        ValueError: One line that begins with a name and says what is allowed.
    """
    if not isinstance(conditions, tuple | list):
        raise ValueError(f"conditions must be a tuple of conditions, got {type(conditions).__name__}")  # noqa: TRY004
    for condition in conditions:
        if not isinstance(condition, Condition):
            raise ValueError(f"conditions must be conditions, got {type(condition).__name__}")  # noqa: TRY004
    _check_together(conditions)
    for condition in conditions:
        condition.check(clip)
    _check_places(placed(conditions), clip.num_frames)


def _check_together(conditions: Sequence[Condition]) -> None:
    for kind in (Video, *STEERING, ClipImage):
        several = [condition for condition in conditions if isinstance(condition, kind)]
        if len(several) > 1:
            raise ValueError(f"{several[1].name} cannot be combined with {several[0].name}")
    video, camera, control = (only(conditions, kind) for kind in (Video, Camera, Control))
    frames = placed(conditions)
    if video is not None and frames:
        raise ValueError(
            f"{video.name} cannot be combined with {frames[0].name}; keep frames with a mask instead"
        )
    steering = next((condition for condition in conditions if isinstance(condition, STEERING)), None)
    pixels = next((condition for condition in (*frames, video) if condition is not None), None)
    if steering is not None and pixels is not None:
        raise ValueError(f"{steering.name} cannot be combined with {pixels.name}")
    if camera is not None and control is not None:
        raise ValueError(f"{camera.name} cannot be combined with {control.name}")


def _check_places(frames: Sequence[Frames | Echo], num_frames: int) -> None:
    taken: dict[int, str] = {}
    for given in frames:
        for place in given.places(num_frames):
            if place in taken:
                raise ValueError(f"{given.name} gives frame {place}, which {taken[place]} gives already")
            taken[place] = given.name
    kept = sum(len(given.places(num_frames)) for given in frames if given.edit_ratio == 0)
    if kept and kept >= num_frames:
        raise ValueError(f"num_frames must be above the number of given frames ({kept}), got {num_frames}")


def _check_edit_ratio(name: str, ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise ValueError(f"{name} must have an edit ratio of at least 0 and below 1, got {ratio}")
