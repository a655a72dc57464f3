"""Where one scene ends and the next begins, found by PySceneDetect on frames that PyAV decodes.

PySceneDetect's own readers are not used: that of OpenCV stops at damage without an error.
"""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from ea_data.control.extras import load
from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import opened, scaled
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Scenes", "ScenesOptions"]

_SIDE: Final = 256
"""Pixels of the longer side that changes are measured on."""


@dataclass(frozen=True, kw_only=True)
class ScenesOptions:
    """How cuts are found.

    Attributes:
        detector: `content`, the mean change of hue, saturation and value between two frames; or `adaptive`,
            that change beside its neighbours', which a fast camera misleads less.
        threshold: Of the detector; None for 27 (content) or 3 (adaptive).
        least_frames: That a scene has.
    """

    detector: Literal["content", "adaptive"] = "content"
    threshold: float | None = None
    least_frames: int = 15

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"threshold": (0.1, 255), "least_frames": (1, 1 << 20)})


class Scenes(ItemStage[ScenesOptions]):
    """Decodes every frame, so that a file that is damaged anywhere ends here."""

    name = "scenes"
    summary = "where scenes begin and end; decodes every frame, so that damaged files go"
    options_type = ScenesOptions
    kinds = ("video",)
    gives = ("scenes",)
    modules: ClassVar = ("cv2", "scenedetect.detectors")
    libraries: ClassVar = ("scenedetect-headless",)

    def open(self) -> None:
        """PySceneDetect."""
        load("scenedetect.detectors")

    def measure(self, item: Item) -> dict[str, Any]:
        """`scenes`: [first frame, frame after the last, begin in seconds, end in seconds] of each.

        As released, the end of the last scene is the time of the last frame.
        """
        with opened(item.path) as reader:
            detector = self._detector()
            timecode = load("scenedetect").FrameTimecode
            cuts: list[int] = []
            for number, frame in enumerate(reader):
                small = scaled(frame, _SIDE)[:, :, ::-1]
                cuts += [cut.frame_num for cut in detector.process_frame(timecode(number, reader.fps), small)]
            cuts += [cut.frame_num for cut in detector.post_process(timecode(len(reader) - 1, reader.fps))]
            seconds = reader.seconds
        borders = [0, *sorted(set(cuts) - {0}), len(seconds)]
        scenes = [
            [
                begin,
                end,
                round(float(seconds[begin]), 6),
                round(float(seconds[min(end, len(seconds) - 1)]), 6),
            ]
            for begin, end in itertools.pairwise(borders)
        ]
        return {"scenes": scenes}

    def _detector(self) -> Any:
        detectors, options = load("scenedetect.detectors"), self.options
        if options.detector == "content":
            return detectors.ContentDetector(
                threshold=27.0 if options.threshold is None else options.threshold,
                min_scene_len=options.least_frames,
            )
        return detectors.AdaptiveDetector(
            adaptive_threshold=3.0 if options.threshold is None else options.threshold,
            min_scene_len=options.least_frames,
        )
