"""Looking into one file: what it is, whether it can be decoded, and what it looks like.

This runs in worker processes, so it imports neither torch nor anything of the recipe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ea_data.lint.looks import SIDE, Looks, Motion, looks_of, reduced
from ea_data.manifest import file_problem
from ea_data.media import Limits, MediaError, VideoReader, probe, read_image
from ea_data.store import CacheError, digest_file

__all__ = ["FactsOf", "FileFacts", "FileKey", "Kind", "inspect_file"]

_SAMPLES: Final = 9
_EITHER: Final = ("gif", "webp")
_ARTICLE: Final = {"image": "a picture", "video": "a video"}


Kind = Literal["video", "image"]
FileKey = tuple[Path, Kind]
"""A file and what it is used as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What was found in a file.

    Attributes:
        problem: "missing", "broken", "type" or "timeout", or "" if it can be read.
        message: Why it cannot be read.
        kind: "video" or "image", as what the row uses it; "" if unknown.
        other: Whether it is rather the other kind: an animation (gif, webp, png) as a picture, or one
            with one frame as a video.
        height: Upright, with square pixels.
        width: Upright, with square pixels.
        frames: That are there; 1 for a picture.
        fps: Frames per second on average; 0 for a picture.
        digest: Of all bytes; "" if they could not be read.
        looks: What some of its frames look like.
    """

    problem: str = ""
    message: str = ""
    kind: str = ""
    other: bool = False
    height: int = 0
    width: int = 0
    frames: int = 0
    fps: float = 0.0
    digest: str = ""
    looks: Looks | None = None

    @property
    def seconds(self) -> float:
        """Length; 0 for a picture."""
        return self.frames / self.fps if self.fps else 0.0


FactsOf = Mapping[FileKey, FileFacts]
"""What was found in each file."""


def inspect_file(path: Path, kind: Kind, limits: Limits, *, deep: bool) -> FileFacts:
    """Look into a file; whatever is wrong with it is part of the answer.

    Args:
        path: A video or picture.
        kind: What it is to be used as.
        limits: Bounds of what is read.
        deep: Decode every frame; otherwise nine, evenly spread from the first to the last. Either way the
            frames are counted, and a file that was cut off has fewer than it declares.
    """
    if problem := file_problem(path):
        return FileFacts(problem="missing" if problem == "no such file" else "broken", message=problem)
    digest = ""
    try:
        digest = digest_file(path)
        info = probe(path, limits=limits)
        moving_png = info.container == "png" and kind == "image"  # its first frame is the picture
        if info.kind != kind and info.container not in _EITHER and not moving_png:
            message = f"the row says {kind}; the file is {_ARTICLE[info.kind]} ({info.container})"
            return FileFacts(problem="type", message=message, digest=digest)
        facts = _picture(path, limits) if kind == "image" else _video(path, limits, deep=deep)
        return replace(facts, digest=digest, other=info.kind != kind)
    except (MediaError, CacheError) as error:
        message = str(error).removeprefix(f"cannot read {path}: ")
        return FileFacts(problem="broken", message=message, digest=digest)


def _picture(path: Path, limits: Limits) -> FileFacts:
    picture = read_image(path, limits=limits)
    height, width = picture.shape[:2]
    looks = looks_of(reduced(picture)[None])
    return FileFacts(kind="image", height=height, width=width, frames=1, looks=looks)


def _video(path: Path, limits: Limits, *, deep: bool) -> FileFacts:
    with VideoReader(path, limits=limits, threads=1) as reader:
        places = np.unique(np.linspace(0, len(reader) - 1, _SAMPLES).round().astype(np.int64))
        height, width, looks = (_every if deep else _some)(reader, places)
        return FileFacts(
            kind="video", height=height, width=width, frames=len(reader), fps=reader.fps, looks=looks
        )


def _some(reader: VideoReader, places: NDArray[np.int64]) -> tuple[int, int, Looks]:
    """Height, width and looks from some frames."""
    height, width = reader[0].shape[:2]
    # The whole picture squeezed into a square, not the square that is cut out of its middle.
    return height, width, looks_of(reader.read(places, size=(SIDE, SIDE), crop=(0, 0, height, width)))


def _every(reader: VideoReader, places: NDArray[np.int64]) -> tuple[int, int, Looks]:
    """Height, width and looks from all frames, of which one at a time is held."""
    motion, samples, wanted = Motion(), [], set(places.tolist())
    height = width = 0
    for number, frame in enumerate(reader):
        small, (height, width) = reduced(frame), frame.shape[:2]
        motion.add(small)
        if number in wanted:
            samples.append(small)
    return height, width, looks_of(np.stack(samples), motion.largest)
