"""Frames of a video by number or by time, without decoding the others."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import CONTAINERS
from ea_data.media.errors import MediaError, media_errors
from ea_data.media.fitting import FrameFitter, RgbConverter, check_size, in_background
from ea_data.media.image import is_animation
from ea_data.media.limits import Limits, sniff
from ea_data.media.orientation import Box
from ea_data.media.sources import AnimationSource, FrameSource, VideoSource

__all__ = ["VideoReader", "read_clip"]

_MAX_THREADS: Final = 64


class VideoReader:
    """An open video, as a sequence of its frames: `reader[5]`, `len(reader)`, `for frame in reader`.

    Opening reads all packets and decodes none; the table of frames that comes of it is exact with frames that
    depend on later ones, variable rates, edit lists and open groups of pictures. A file without trustworthy
    time stamps (avi) is decoded from its beginning. Use it in a `with` block, in one thread at a time.

    Args:
        path: An mp4, mov, webm, mkv, avi, gif or webp file; the content chooses the demuxer, not the name.
        limits: Bounds; the defaults of `Limits` if None. `max_frames` is that of one call of `read`.
        threads: That decode frames side by side, 1 to 64, or 0 for one per core. 1 suits the workers of a
            data loader, of which there are many. One more scales and converts what came out.

    Attributes:
        path: The file.
        seconds: Begin of every frame (N,), float64, the first at 0.
        fps: Frames per second, on average.

    Raises:
        MediaError: Not such a file, damaged, or out of bounds.
    """

    def __init__(self, path: str | Path, *, limits: Limits | None = None, threads: int = 0) -> None:
        self.path = Path(path)
        self._limits = limits or Limits()
        if not 0 <= threads <= _MAX_THREADS:
            raise MediaError(f"threads is {threads}; allowed: 0 to {_MAX_THREADS}")
        name = sniff(self.path, self._limits)
        if name in CONTAINERS:
            self._source: FrameSource = VideoSource(self.path, name, self._limits, threads)
        elif is_animation(self.path, name, self._limits):
            self._source = AnimationSource(self.path, self._limits)
        else:
            raise MediaError(f"cannot read {self.path}: it is a {name} picture, not a video")
        self.seconds: NDArray[np.float64] = self._source.seconds
        self.fps = float(self._source.fps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The frame with a number from 0, shape (H, W, 3).

        Raises:
            IndexError: There is no such frame; negative numbers do not count from the end.
            MediaError: Damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {self.path}; allowed: 0 to {len(self) - 1}")
        return self.read([index])[0]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Every frame (H, W, 3) from the first, holding one at a time.

        Raises:
            MediaError: Damaged; after the last frame also when some were missing.
        """
        with media_errors(self.path, "read"):
            convert: RgbConverter | None = None
            for frame in self._source.every():
                convert = convert or RgbConverter(self._source.aspect)
                yield convert(frame)

    def pick(self, indexes: Sequence[int] | NDArray[np.integer]) -> Iterator[NDArray[np.uint8]]:
        """Frames (H, W, 3) with ascending numbers, as they are, holding one at a time.

        Raises:
            MediaError: No such frame, numbers that do not ascend, or damaged.
        """
        numbers = np.asarray(indexes)
        self._check(numbers[:1], None, None)
        self._check(numbers[-1:], None, None)
        if (np.diff(numbers) <= 0).any():
            raise MediaError(
                f"cannot read {self.path}: indexes do not ascend; allowed: each more than the one before"
            )
        with media_errors(self.path, "read"):
            convert: RgbConverter | None = None
            for frame in self._source.pick(numbers.tolist()):
                convert = convert or RgbConverter(self._source.aspect)
                yield convert(frame)

    def key_frames(self) -> NDArray[np.int64]:
        """Ascending numbers (K,) of the frames from which decoding can begin; 0 is always among them."""
        return self._source.key_frames()

    def number_at(self, seconds: float) -> int:
        """Number of the frame that is on screen at a time; the last one also after the end.

        Raises:
            MediaError: A negative time, or none.
        """
        if not seconds >= 0:
            raise MediaError(f"cannot read {self.path}: seconds is {seconds}; allowed: 0 or more")
        # Time stamps are rounded to the ticks of the file: 1/25 s may be stored as 0.040000001.
        return max(0, int(np.searchsorted(self.seconds, seconds + 1e-6, side="right")) - 1)

    def at(self, seconds: float) -> NDArray[np.uint8]:
        """The frame (H, W, 3) that is on screen at a time.

        Raises:
            MediaError: A negative time, or damaged.
        """
        return self[self.number_at(seconds)]

    def read(
        self,
        indexes: Sequence[int] | NDArray[np.integer],
        *,
        size: tuple[int, int] | None = None,
        crop: Box | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Decode, crop and scale only these frames, into one array.

        Args:
            indexes: Numbers of frames, from 0, in any order; one may come several times.
            size: (height, width) of the result; that of the crop, or of the video, if None. Scaling is
                bilinear and anti-aliased, as in the training of EasyAnimate and Open-Sora.
            crop: (top, left, height, width) in pixels of the upright picture with square pixels. If None, the
                largest centred box with the proportions of `size`, so that nothing is distorted. It is
                rounded to two pixels where the video stores colour at half resolution.
            out: Array (T, H, W, 3) to write to, such as one in shared memory; a new one if None.

        Returns:
            `out`, shape (T, H, W, 3), sRGB 0..255; C-contiguous when it is new, so that `torch.from_numpy`
            shares its memory.

        Raises:
            MediaError: No such frame, a wrong size, crop or array, more frames than `Limits.max_frames`, or
                damaged.
        """
        numbers = np.asarray(indexes)
        self._check(numbers, size, out)
        wanted, places = np.unique(numbers, return_inverse=True)
        with media_errors(self.path, "read"):
            frames = self._source.pick(wanted.tolist())
            first = next(frames)
            fitter = FrameFitter(self.path, self._source.aspect, size, crop)
            shape = (len(numbers), *fitter.result_size(first), 3)
            result = np.empty(shape, np.uint8) if out is None else out
            _check_out(self.path, result, shape)
            in_background(
                partial(_write, fitter, frame, result, np.flatnonzero(places == position))
                for position, frame in enumerate(chain([first], frames))
            )
        return result

    def _check(
        self, numbers: NDArray[np.integer], size: tuple[int, int] | None, out: NDArray[np.uint8] | None
    ) -> None:
        check_size(self.path, size)
        if numbers.ndim != 1 or not len(numbers) or not np.issubdtype(numbers.dtype, np.integer):
            raise MediaError(
                f"cannot read {self.path}: indexes are {numbers.dtype} {numbers.shape}; "
                "allowed: one or more whole numbers"
            )
        if len(numbers) > self._limits.max_frames:
            raise MediaError(
                f"cannot read {self.path}: {len(numbers)} frames; allowed: at most {self._limits.max_frames}"
            )
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= len(self):
            wrong = low if low < 0 else high
            raise MediaError(f"cannot read {self.path}: no frame {wrong}; allowed: 0 to {len(self) - 1}")
        if out is not None and out.dtype != np.uint8:
            raise MediaError(f"cannot read {self.path}: out is {out.dtype}; allowed: uint8")


def read_clip(
    path: str | Path,
    indexes: Sequence[int] | NDArray[np.integer],
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
    *,
    out: NDArray[np.uint8] | None = None,
    limits: Limits | None = None,
    threads: int = 0,
) -> NDArray[np.uint8]:
    """Decode, crop and scale some frames of a video: `VideoReader(path).read(...)` and closed again.

    Returns:
        Shape (T, H, W, 3), sRGB 0..255.

    Raises:
        MediaError: See `VideoReader` and `VideoReader.read`.
    """
    with VideoReader(path, limits=limits, threads=threads) as reader:
        return reader.read(indexes, size=size, crop=crop, out=out)


def _write(
    fitter: FrameFitter, frame: av.VideoFrame, out: NDArray[np.uint8], places: NDArray[np.intp]
) -> None:
    """Fit a frame, and write it to all its places."""
    first, *others = places
    fitter.write(frame, out[first])
    for other in others:
        out[other] = out[first]


def _check_out(path: Path, out: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if out.shape != shape:
        raise MediaError(f"cannot read {path}: out has shape {out.shape}; allowed: {shape}")
