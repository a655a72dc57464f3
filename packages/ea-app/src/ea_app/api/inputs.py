"""Pictures, videos and masks of a job: opened, cut to the job's size, and remembered for replay.

Shapes: T frames, H and W pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from ea_app.api.extraction import Extraction
from ea_app.api.fields import FILE_INPUTS, REFERENCES, is_file_input, numbered, option_of
from ea_app.options import InputError, concerning
from ea_data.media import probe, read_image, read_mask, read_video
from ea_data.transforms import cover_crop, cover_crop_mask

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An input file as it was when it was read.

    Attributes:
        path: Absolute path.
        xxh3: Hash of its content, 32 hex digits.
        extraction: How the control signal is made of it; None where the file is used as it is.
    """

    path: Path
    xxh3: str
    extraction: Extraction | None = None

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Hash a file.

        Raises:
            ValueError: It is no file, such as a folder or a pipe, or cannot be read.
        """
        absolute = Path(path).expanduser().absolute()
        digest = xxhash.xxh3_128()
        try:
            if absolute.exists() and not absolute.is_file():  # a pipe would be waited for without an end
                raise ValueError(f"{path} is no file")
            with absolute.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except FileNotFoundError:
            raise ValueError(f"{path} does not exist") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        return cls(path=absolute, xxh3=digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class Text:
    """An input that is kept as it was given: words, or what a file held.

    Attributes:
        text: Those.
        loops: Of a mask strategy: how many loops it is about.
    """

    text: str
    loops: int | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the files of a job hold, at the job's size.

    Attributes:
        arrays: By name, see `ea_app.api.fields`. Pictures (H, W, 3) and videos (T, H, W, 3) are uint8; mask,
            (H, W) or (T, H, W), is boolean, True = make anew.
        sources: Where they came from, by name.
        notices: What was done to them that the user should know.
        frames: How many frames the job has; None where nothing said.
        fps: Rate of the video, None without one.
    """

    arrays: Mapping[str, NDArray[Any]]
    sources: Mapping[str, Source]
    notices: tuple[str, ...]
    frames: int | None
    fps: float | None


def read_inputs(files: Mapping[str, str], size: Size, frames: int | None, preferred_frames: int) -> Inputs:
    """Open the files of a job.

    Args:
        files: Paths by name of the input.
        size: What they are cut to.
        frames: How many frames the job has; None lets a video decide.
        preferred_frames: At most so many frames are taken of a video that decides; a picture to follow is
            repeated so often.

    Raises:
        InputError: A file that is missing, broken, empty, of the wrong kind, or too short.
    """
    arrays: dict[str, NDArray[Any]] = {}
    sources: dict[str, Source] = {}
    notices: list[str] = []
    fps = None
    for name in sorted(files, key=_reading_order):
        with concerning(option_of(name)):
            sources[name] = Source.of(files[name])
            path = Path(files[name]).expanduser()
            if name == "mask":
                mask = _read_mask(path, frames or 1)
                fitted = cover_crop_mask(mask, size[1], size[0])
                arrays[name] = fitted if len(fitted) > 1 else fitted[0]
                notices += _aspect_notice(name, mask, size)
                continue
            if name == "video" or (name == "control" and not _is_picture(path)):
                raw, fps = _read_video(path, frames, preferred_frames)
                frames = len(raw)
            elif numbered(name, REFERENCES) is not None and not _is_picture(path):
                raw = read_video(path).frames
            else:
                raw = read_image(path)[None]
            notices += _aspect_notice(name, raw, size)
            fitted = cover_crop(raw, size[1], size[0])
            if name == "control" and len(fitted) == 1:
                frames = frames or preferred_frames
                fitted = np.broadcast_to(fitted, (frames, *fitted.shape[1:]))
            several = name in ("video", "control") or numbered(name, REFERENCES) is not None
            arrays[name] = fitted if several else fitted[0]
    return Inputs(arrays=arrays, sources=sources, notices=tuple(notices), frames=frames, fps=fps)


def _reading_order(name: str) -> tuple[int, str]:
    """The video before its mask, which is as long; keyframes last."""
    assert is_file_input(name), name
    return (FILE_INPUTS.index(name) if name in FILE_INPUTS else len(FILE_INPUTS), name)


def kept_area(width: int, height: int, size: Size) -> Size:
    """Width and height of the part of a picture that is used: the largest with the shape of `size`."""
    scale = min(width / size[0], height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _is_picture(path: Path) -> bool:
    return path.is_file() and probe(path).kind == "image"


def _read_video(path: Path, frames: int | None, preferred: int) -> tuple[NDArray[np.uint8], float]:
    if _is_picture(path):
        raise ValueError(f"{path} is a picture; give a video, or use --image")
    video = read_video(path, take=frames or preferred)
    if frames is not None and len(video.frames) < frames:
        raise ValueError(
            f"{path} has {len(video.frames)} frames, {frames} are needed; use --frames {len(video.frames)}"
        )
    return video.frames, video.fps


def _read_mask(path: Path, frames: int) -> NDArray[np.bool_]:
    mask = read_mask(path)
    if len(mask) > 1 and len(mask) < frames:
        raise ValueError(
            f"{path} has {len(mask)} frames; give one picture, or a video of at least {frames} frames"
        )
    if not mask.any():
        raise ValueError(
            f"{path} is black everywhere: nothing would be made anew; paint white what should be"
        )
    return mask if len(mask) == 1 else mask[:frames]


def _aspect_notice(field: str, raw: NDArray[Any], size: Size) -> list[str]:
    height, width = raw.shape[1:3]
    used = kept_area(width, height, size)
    if used == (width, height):
        return []
    shape = f"{width}x{height} has another shape than {size[0]}x{size[1]}"
    return [f"{field}: {shape}; the middle {used[0]}x{used[1]} pixels are used"]


def check_unchanged(field: str, path: Path, xxh3: str) -> None:
    """Make sure that a file is what it was.

    Raises:
        InputError: It is missing or has another content.
    """
    with concerning(field):
        found = Source.of(path)
    if found.xxh3 != xxh3:
        raise InputError(field, f"{path} has changed since (its hash was {xxh3}, now {found.xxh3})")
