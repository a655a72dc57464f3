"""Scenes become clips of 3 to 10 seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from ea_data.curation.clip_writing import HIGHEST_FPS, LOWEST_FPS, clip_facts, frame_numbers, write_clip
from ea_data.curation.cut_rule import Piece, plan_pieces
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import opened
from ea_data.curation.stage import Item, Made, SplitStage
from ea_data.media import VideoReader
from ea_data.store import digest_file

__all__ = ["Cut", "CutOptions"]


@dataclass(frozen=True, kw_only=True)
class CutOptions:
    """Which clips are made, and how they are written.

    Attributes:
        least_seconds: Shorter scenes, and shorter ends of longer ones, are left out.
        most_seconds: Longer scenes are cut into pieces of this length.
        trim_seconds: What a scene between two cuts loses at its end.
        shorter_side: Pixels that the shorter side is scaled down to; None for as it is.
        most_fps: Frames are left out so that a clip has at most so many a second; None for as it is.
        crf: Quality of H.264, 0 (best) to 51.
        keep_whole: Take an mp4 as it is where nothing has to be cut, scaled or left out.
    """

    least_seconds: float = 3.0
    most_seconds: float = 10.0
    trim_seconds: float = 0.5
    shorter_side: int | None = None
    most_fps: float | None = None
    crf: int = 17
    keep_whole: bool = True

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(
            self,
            {
                "least_seconds": (0.01, 3600),
                "most_seconds": (0.01, 3600),
                "trim_seconds": (0, 60),
                "shorter_side": (16, 4096),
                "most_fps": (1, 240),
                "crf": (0, 51),
            },
        )
        if self.trim_seconds >= self.least_seconds:
            raise ValueError(f"trim_seconds is {self.trim_seconds:g}; allowed: less than least_seconds")
        if self.least_seconds > self.most_seconds:
            raise ValueError(f"least_seconds is {self.least_seconds:g}; allowed: at most most_seconds")


class Cut(SplitStage[CutOptions]):
    """Writes clips as H.264, the same bytes every time."""

    name = "cut"
    summary = "clips of 3 to 10 seconds, of one scene each"
    options_type = CutOptions
    kinds = ("video",)
    needs = ("scenes", "seconds", "fps", "frames", "width", "height", "container", "codec", "stem")
    gives = ("start", "seconds", "fps", "frames", "width", "height", "container", "codec")
    libraries: ClassVar = ("av",)

    def split(self, item: Item) -> list[Made]:
        """Clips below the folder of the item."""
        columns, options = item.columns, self.options
        scenes = [(begin, end) for _, _, begin, end in columns["scenes"]]
        pieces = plan_pieces(
            columns["seconds"],
            scenes,
            least=options.least_seconds,
            most=options.most_seconds,
            trim=options.trim_seconds,
        )
        if self._is_whole(columns, pieces):
            return [Made(name="", digest="", columns={"start": 0.0, **_facts(columns)})]
        stem = PurePosixPath(columns["stem"]).name
        with opened(item.path) as reader:
            return [self._write(reader, item, f"{stem}{piece.suffix}.mp4", piece) for piece in pieces]

    def verdict(self, made: Sequence[Made]) -> str:
        """Only where no scene is long enough."""
        del made
        return f"no scene of {self.options.least_seconds:g} s"

    def _is_whole(self, columns: Any, pieces: Sequence[Piece]) -> bool:
        options = self.options
        side = min(columns["width"], columns["height"])
        return (
            options.keep_whole
            and columns["container"] == "mp4"
            and len(pieces) == 1
            and abs(pieces[0].seconds - columns["seconds"]) < 1e-3
            and (options.shorter_side is None or side <= options.shorter_side)
            and (options.most_fps is None or columns["fps"] <= options.most_fps + 1e-3)
        )

    def _write(self, reader: VideoReader, item: Item, name: str, piece: Piece) -> Made:
        fps = min(max(reader.fps, LOWEST_FPS), self.options.most_fps or HIGHEST_FPS, HIGHEST_FPS)
        numbers = frame_numbers(reader, piece.start, piece.seconds, fps)
        size = self._size(item.columns["height"], item.columns["width"])
        path = item.folder / name
        write_clip(path, reader, numbers, fps=fps, size=size, crf=self.options.crf)
        height, width = size or (item.columns["height"], item.columns["width"])
        facts = clip_facts(height, width, len(numbers), fps)
        return Made(name=name, digest=digest_file(path), columns={"start": piece.start, **facts})

    def _size(self, height: int, width: int) -> tuple[int, int] | None:
        side = self.options.shorter_side
        if side is None or min(height, width) <= side:
            return None
        factor = side / min(height, width)
        return round(height * factor / 2) * 2, round(width * factor / 2) * 2


def _facts(columns: Any) -> dict[str, Any]:
    return {name: columns[name] for name in Cut.gives if name != "start"}
