"""Opening the files of one sample: its frames, what steers it, its camera; only frames that are needed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Resampling

from ea_data.control.camera import CameraPath, plucker_rays, read_camera
from ea_data.manifest import Entry
from ea_data.media import Limits, MediaError, VideoReader, read_image
from ea_data.training.choices import SampleChoices
from ea_data.training.recipe import ControlKind
from ea_data.training.shapes import BatchShape
from ea_data.transforms import cover_crop

__all__ = ["OpenedSample", "SampleReader"]

T = TypeVar("T")
Frames = NDArray[np.uint8]

_SAME_SHAPE: Final = 0.05
"""By how much the proportions of a control video may differ: two rounded sizes of one video do."""


@dataclass(frozen=True)
class OpenedSample:
    """What the files of a sample hold, at the size of its batch.

    Attributes:
        frames: (T, H, W, 3) uint8.
        seconds: Of each frame in its file.
        fps: Frames per second of the file; 0 for a picture.
        control: Like `frames`, None without.
        rays: (T, 6, H, W) float32, None without.
    """

    frames: Frames
    seconds: tuple[float, ...]
    fps: float
    control: Frames | None = None
    rays: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SampleReader:
    """Opens samples.

    Attributes:
        control: What steers a sample.
        limits: Bounds of files.
        threads: That decode a video.
        timeout: Seconds until reading is given up, None for no end.
        picture_filter: By which pictures are scaled.
    """

    control: ControlKind
    limits: Limits
    threads: int = 1
    timeout: float | None = None
    picture_filter: Literal["bilinear", "bicubic"] = "bilinear"

    def __call__(self, entry: Entry, total: int, choices: SampleChoices, shape: BatchShape) -> OpenedSample:
        """The sample.

        Args:
            entry: Row of the manifest.
            total: Frames that its file is taken to have.
            choices: What was drawn for it.
            shape: Of its batch.

        Raises:
            ValueError: A file is missing, damaged, too short, or not as long as its control video; one line
                that names it.
        """

        def read() -> OpenedSample:
            return self._picture(entry, shape) if entry.type == "image" else self._clip(entry, choices, shape)

        opened = _within(self.timeout, read, entry.path)
        rays = self._rays(entry, total, choices, shape)
        if choices.flipped:
            control = None if opened.control is None else _mirrored(opened.control)
            return OpenedSample(_mirrored(opened.frames), opened.seconds, opened.fps, control, rays)
        return OpenedSample(opened.frames, opened.seconds, opened.fps, opened.control, rays)

    def _picture(self, entry: Entry, shape: BatchShape) -> OpenedSample:
        picture = read_image(entry.path, limits=self.limits)
        control = None
        if self.control == "video":
            path = _control_path(entry)
            drawing = read_image(path, limits=self.limits)
            _check_proportions(entry.path, picture.shape, path, drawing.shape)
            control = self._fit(drawing, shape)
        return OpenedSample(self._fit(picture, shape), (0.0,), 0.0, control)

    def _fit(self, picture: Frames, shape: BatchShape) -> Frames:
        resampling = Resampling.BILINEAR if self.picture_filter == "bilinear" else Resampling.BICUBIC
        return cover_crop(picture[None], shape.height, shape.width, resampling=resampling)

    def _clip(self, entry: Entry, choices: SampleChoices, shape: BatchShape) -> OpenedSample:
        numbers, size = np.array(choices.frames), (shape.height, shape.width)
        with VideoReader(entry.path, limits=self.limits, threads=self.threads) as reader:
            if numbers[-1] >= len(reader):
                raise MediaError(
                    f"{entry.path} has {len(reader)} frames, its clip needs frame {numbers[-1]}; allowed: as "
                    "many as its row says"
                )
            frames = reader.read(numbers, size=size)
            seconds = tuple(float(second) for second in reader.seconds[numbers])
            control = self._control_clip(entry, reader, choices, shape) if self.control == "video" else None
            return OpenedSample(frames, seconds, reader.fps, control)

    def _control_clip(
        self, entry: Entry, clip: VideoReader, choices: SampleChoices, shape: BatchShape
    ) -> Frames:
        path = _control_path(entry)
        with VideoReader(path, limits=self.limits, threads=self.threads) as reader:
            if len(reader) != len(clip):
                raise MediaError(
                    f"the control video {path} has {len(reader)} frames and {entry.path} {len(clip)}; "
                    "allowed: as many as the video"
                )
            first = choices.frames[0]
            _check_proportions(entry.path, clip[first].shape, path, reader[first].shape)
            return reader.read(np.array(choices.frames), size=(shape.height, shape.width))

    def _rays(
        self, entry: Entry, total: int, choices: SampleChoices, shape: BatchShape
    ) -> NDArray[np.float32] | None:
        if self.control != "camera":
            return None
        count = len(choices.frames)
        if entry.control_path is None:
            return np.zeros((count, 6, shape.height, shape.width), np.float32)
        whole, picked = read_camera(entry.control_path).stretched(total), list(choices.frames)
        camera = CameraPath(whole.intrinsics[picked], whole.world_to_camera[picked])
        try:
            return plucker_rays(camera, count, shape.height, shape.width)
        except ValueError as error:
            raise ValueError(f"{entry.control_path}: {error}") from error


def _within(seconds: float | None, work: Callable[[], T], path: Path) -> T:
    """The result of some work, which is left to itself when it takes too long.

    Raises:
        MediaError: It does.
    """
    if seconds is None:
        return work()
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name=f"read {path.name}")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise MediaError(f"cannot read {path}: not done within {seconds:g} s")
    return results[0]


def _control_path(entry: Entry) -> Path:
    if entry.control_path is None:
        raise MediaError(f"the row of {entry.path} names no control_file_path; allowed: one for every row")
    return entry.control_path


def _check_proportions(
    path: Path, shape: tuple[int, ...], control_path: Path, control_shape: tuple[int, ...]
) -> None:
    ratio = (control_shape[0] / control_shape[1]) / (shape[0] / shape[1])
    if abs(ratio - 1) > _SAME_SHAPE:
        raise MediaError(
            f"the control file {control_path} is {control_shape[1]}x{control_shape[0]} and {path} "
            f"{shape[1]}x{shape[0]}; allowed: the same proportions"
        )


def _mirrored(frames: Frames) -> Frames:
    return np.ascontiguousarray(frames[:, :, ::-1])
