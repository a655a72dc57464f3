"""What a file is: size, length, rate; and whether that is enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import LIMITS, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import MediaError, picture_size, probe

__all__ = ["Probe", "ProbeOptions"]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """What a file must have.

    Attributes:
        least_pixels: Width times height.
        least_seconds: Of a video.
        most_seconds: Of a video; None for any.
        least_fps: Of a video.
        most_aspect: Of the longer side to the shorter.
    """

    least_pixels: int = 65_536
    least_seconds: float = 3.0
    most_seconds: float | None = None
    least_fps: float = 0.0
    most_aspect: float = 4.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        ranges = {"least_pixels": (1, 1 << 31), "least_seconds": (0, 86_400), "most_seconds": (0.01, 86_400)}
        check_ranges(self, {**ranges, "least_fps": (0, 1000), "most_aspect": (1, 1000)})


class Probe(ItemStage[ProbeOptions]):
    """Reads the packets of a video, and the header of a picture; decodes one frame at most."""

    name = "probe"
    summary = "size, length and rate; files that are broken, too small, too short or too long go"
    options_type = ProbeOptions
    gives = ("width", "height", "frames", "fps", "seconds", "codec", "container")
    thresholds: ClassVar = ("least_pixels", "least_seconds", "most_seconds", "least_fps", "most_aspect")

    def measure(self, item: Item) -> dict[str, Any]:
        """See `gives`; upright, with square pixels."""
        info = probe(item.path, limits=LIMITS)
        if info.kind != item.kind:
            raise MediaError(f"it is used as a {item.kind}, and is a {info.kind} ({info.container})")
        found: dict[str, Any] = {"codec": info.codec, "container": info.container}
        if item.kind == "image":
            height, width = picture_size(item.path)
            return {**found, "width": width, "height": height, "frames": 1, "fps": 0.0, "seconds": 0.0}
        with opened(item.path) as reader:
            frames, fps = len(reader), reader.fps
            seconds = float(reader.seconds[-1]) + 1 / fps
        sizes = {"width": info.width, "height": info.height}
        return {**found, **sizes, "frames": frames, "fps": round(fps, 6), "seconds": round(seconds, 6)}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Too small, too short, too long, too slow, too narrow."""
        options, sides = self.options, (columns["width"], columns["height"])
        found = outside("width x height", sides[0] * sides[1], least=options.least_pixels)
        found = found or outside("aspect", max(sides) / min(sides), most=options.most_aspect)
        if columns["fps"]:
            seconds = columns["seconds"]
            found = found or outside(
                "length in seconds", seconds, least=options.least_seconds, most=options.most_seconds
            )
            found = found or outside("frames per second", columns["fps"], least=options.least_fps)
        return found
