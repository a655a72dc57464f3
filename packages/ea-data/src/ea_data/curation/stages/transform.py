"""Files of another size or rate, as Open-Sora's transform makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ea_data.curation.clip_writing import HIGHEST_FPS, LOWEST_FPS, clip_facts, frame_numbers, write_clip
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import Pixels, load_cv2, opened
from ea_data.curation.stage import Item, Made, SplitStage
from ea_data.geometry.crop import centre_offset, cover_size
from ea_data.media import open_writer, read_image
from ea_data.store import digest_file

__all__ = ["Transform", "TransformOptions"]


@dataclass(frozen=True, kw_only=True)
class TransformOptions:
    """What files are made into.

    Attributes:
        height: Pixels, even; with `width`. The largest box in the middle with these proportions is scaled
            down; files that are smaller go.
        width: Pixels, even.
        shorter_side: Pixels that the shorter side is scaled down to, in place of `height` and `width`.
        fps: Frames a second of videos, by leaving out or repeating frames; None for as they are.
        crf: Quality of H.264, 0 (best) to 51.
    """

    height: int | None = None
    width: int | None = None
    shorter_side: int | None = None
    fps: float | None = None
    crf: int = 17

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        ranges = dict.fromkeys(("height", "width", "shorter_side"), (16, 8192))
        check_ranges(self, {**ranges, "fps": (LOWEST_FPS, HIGHEST_FPS), "crf": (0, 51)})
        if (self.height is None) != (self.width is None):
            raise ValueError("height or width is missing; allowed: both or none")
        if self.height is not None and self.shorter_side is not None:
            raise ValueError("shorter_side is given with height and width; allowed: one of the two ways")
        for name in ("height", "width"):
            if (getattr(self, name) or 0) % 2:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: even numbers")


class Transform(SplitStage[TransformOptions]):
    """One file of each; what is known of a file goes on to what it is made into."""

    name = "transform"
    summary = "files scaled, cropped and of another rate"
    options_type = TransformOptions
    needs = ("width", "height", "fps", "frames", "seconds", "container", "codec", "stem")
    gives = ("fps", "frames", "seconds", "width", "height", "container", "codec")
    libraries: ClassVar = ("av", "opencv-python-headless")
    modules: ClassVar = ("cv2",)
    same_content: ClassVar = True

    def open(self) -> None:
        """OpenCV."""
        load_cv2()

    def split(self, item: Item) -> list[Made]:
        """A file below the folder of the item; none where it would have to be enlarged."""
        columns = item.columns
        before = (columns["height"], columns["width"])
        size = self._size(*before)
        if size is None:
            return []
        fps = columns["fps"] if self.options.fps is None else self.options.fps
        if size == before and (item.kind == "image" or fps == columns["fps"]):
            return [Made(name="", digest="", columns={name: columns[name] for name in self.gives})]
        return [self._picture(item, *size) if item.kind == "image" else self._clip(item, *size)]

    def verdict(self, made: Sequence[Made]) -> str:
        """Only what is too small is left out."""
        del made
        return f"is smaller than {self.options.width}x{self.options.height}"

    def _size(self, height: int, width: int) -> tuple[int, int] | None:
        """Height and width of what is made; None where it cannot be made."""
        options = self.options
        if options.height is not None and options.width is not None:
            enough = height >= options.height and width >= options.width
            return (options.height, options.width) if enough else None
        side = options.shorter_side
        if side is None or min(height, width) <= side:
            return height, width
        factor = side / min(height, width)
        return round(height * factor / 2) * 2, round(width * factor / 2) * 2

    def _clip(self, item: Item, height: int, width: int) -> Made:
        size = None if (height, width) == (item.columns["height"], item.columns["width"]) else (height, width)
        path = item.folder / f"{item.path.stem}.mp4"
        with opened(item.path) as reader:
            fps = min(
                max(reader.fps if self.options.fps is None else self.options.fps, LOWEST_FPS), HIGHEST_FPS
            )
            numbers = frame_numbers(reader, 0.0, item.columns["seconds"], fps)
            write_clip(path, reader, numbers, fps=fps, size=size, crf=self.options.crf)
        facts = clip_facts(height, width, len(numbers), fps)
        return Made(name=path.name, digest=digest_file(path), columns=facts)

    @staticmethod
    def _picture(item: Item, height: int, width: int) -> Made:
        path = item.folder / f"{item.path.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_writer(path, repeatable=True) as writer:
            writer.add(_scaled(read_image(item.path), height, width))
        columns: dict[str, Any] = {name: item.columns[name] for name in ("fps", "frames", "seconds")}
        facts = {"height": height, "width": width, "container": "png", "codec": "png"}
        return Made(name=path.name, digest=digest_file(path), columns={**columns, **facts})


def _scaled(picture: Pixels, height: int, width: int) -> Pixels:
    """The middle of a picture (H, W, 3), in another size."""
    cv2 = load_cv2()
    tall, wide = cover_size(picture.shape[0], picture.shape[1], height, width, rounding="nearest")
    whole = cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_AREA)
    top, left = centre_offset(tall, height), centre_offset(wide, width)
    return whole[top : top + height, left : left + width]
