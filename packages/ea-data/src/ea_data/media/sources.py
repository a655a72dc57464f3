"""Where frames come from: a video with a table of its frames, or an animation that Pillow reads."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from ea_data.media.container import TIMED, decode_all, decode_packet, opened, rate_of
from ea_data.media.errors import MediaError, media_errors
from ea_data.media.image import read_animation
from ea_data.media.index import read_index
from ea_data.media.limits import Limits

__all__ = ["AnimationSource", "FrameSource", "VideoSource"]


class FrameSource(Protocol):
    """Frames by number.

    Attributes:
        seconds: Begin of every frame (N,), the first at 0.
        fps: Frames per second on average.
    """

    seconds: NDArray[np.float64]
    fps: float

    @property
    def aspect(self) -> Fraction | None:
        """Width of a stored pixel over its height, None for square ones; known once a frame came out."""
        ...

    def pick(self, frames: Sequence[int]) -> Iterator[av.VideoFrame]:
        """The frames with these ascending numbers, each once."""
        ...

    def every(self) -> Iterator[av.VideoFrame]:
        """All frames, one at a time."""
        ...

    def key_frames(self) -> NDArray[np.int64]:
        """Ascending numbers of the frames from which decoding can begin."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class VideoSource:
    """A video file, decoded from the key packet before what is wanted.

    Args:
        path: The file.
        name: Its container, as `sniff` found it.
        limits: Bounds.
        threads: That decode; 0 is one per core.

    Raises:
        MediaError: Not such a file, damaged, or out of bounds.
    """

    def __init__(self, path: Path, name: str, limits: Limits, threads: int) -> None:
        self._path, self._name, self._limits, self._threads = path, name, limits, threads
        self._files = ExitStack()
        with media_errors(path, "read"):
            try:
                self._open()
                stream = self._stream
                self.index = read_index(path, self._container, stream, timed=name in TIMED)
                self.fps = rate_of(stream)
            except BaseException:
                self.close()
                raise
        self.seconds = self.index.seconds

    @property
    def aspect(self) -> Fraction | None:
        """Width of a stored pixel over its height, as the container has it, or else the decoder."""
        return self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio

    def key_frames(self) -> NDArray[np.int64]:
        """Ascending numbers of the frames whose packets are keys; 0 is always among them."""
        if self.index.pts is None:
            return np.zeros(1, np.int64)
        keys = np.flatnonzero(np.isin(self.index.pts, self.index.keys))
        return np.union1d(keys, [0]).astype(np.int64)

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def _open(self) -> None:
        """Open the file, again if it was: not every container can seek back to its first packet."""
        self._files.close()
        self._container, self._stream = self._files.enter_context(
            opened(self._path, self._name, self._limits, threads=self._threads, headers_only=True)
        )

    def every(self) -> Iterator[av.VideoFrame]:
        """All frames, one at a time; see `decode_all`."""
        with media_errors(self._path, "read"):
            self._open()
            yield from decode_all(self._path, self._container, self._stream, self._limits)

    def pick(self, frames: Sequence[int]) -> Iterator[av.VideoFrame]:
        """The frames with these ascending numbers.

        Decoding begins at the last key packet that is shown no later than the frame. Should it not bring the
        frame out whole (a stream that is refreshed bit by bit, a container that cannot seek), decoding begins
        one key packet earlier, then at the beginning.

        Raises:
            MediaError: Damaged, or a frame does not come out from the beginning either.
        """
        done = 0
        while done < len(frames):
            key = self.index.key_before(frames[done])
            before = done
            for begin in dict.fromkeys((key, max(key - 1, -1), -1)):
                try:
                    for frame in self._pick_from(begin, frames[done:]):
                        done += 1
                        yield frame
                except MediaError:
                    if begin < 0:
                        raise
                if done > before:
                    break
            else:
                number = frames[done]
                raise MediaError(f"cannot read {self._path}: damaged, frame {number} could not be decoded")

    def _pick_from(self, key: int, frames: Sequence[int]) -> Iterator[av.VideoFrame]:
        """Frames that come out after a key packet, until one is missing or a later key packet is nearer."""
        wanted = iter(frames)
        number = next(wanted)
        for count, frame in enumerate(self.every() if key < 0 else self._decode_after(key)):
            found = self._number_of(frame, count)
            if found > number:
                return
            if found == number:
                yield frame
                following = next(wanted, None)
                if following is None or self._is_far(number, following, key):
                    return
                number = following

    def _is_far(self, number: int, following: int, key: int) -> bool:
        """Whether a jump saves more than the group of pictures that decoding threads are at already."""
        return key >= 0 and self.index.key_before(following) > self.index.key_before(number) + 1

    def _number_of(self, frame: av.VideoFrame, count: int) -> int:
        pts = self.index.pts
        if pts is None:
            return count
        if frame.pts is None:
            return -1
        place = int(np.searchsorted(pts, frame.pts))
        return place if place < len(pts) and pts[place] == frame.pts else -1

    def _decode_after(self, key: int) -> Iterator[av.VideoFrame]:
        shown, decoded = int(self.index.keys[key]), int(self.index.key_dts[key])
        begun = False
        with media_errors(self._path, "read"):
            # mp4 looks for a time of decoding, matroska for one of presentation.
            self._container.seek(decoded if self._name == "mp4" else shown, stream=self._stream)
            for packet in self._container.demux(self._stream):
                begun = begun or packet.pts == shown
                if not begun and packet.is_keyframe and packet.pts is not None and packet.pts > shown:
                    return  # sought too far
                # What follows the key packet and is shown before it leans on frames that were not decoded.
                leading = packet.pts is not None and packet.pts < shown
                if begun and not leading:
                    yield from decode_packet(self._path, packet, self._limits)


class AnimationSource:
    """A gif or webp, decoded whole when something is asked for.

    Args:
        path: The file.
        limits: Bounds.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        with media_errors(path, "read"):
            self._frames, shown = read_animation(path, limits, None)
        self.seconds = np.concatenate([[0.0], np.cumsum(shown)[:-1]])
        self.fps = len(shown) / sum(shown)

    @property
    def aspect(self) -> Fraction | None:
        """Square pixels."""
        return None

    def key_frames(self) -> NDArray[np.int64]:
        """Every frame is there."""
        return np.zeros(1, np.int64)

    def close(self) -> None:
        """Nothing is open."""

    def every(self) -> Iterator[av.VideoFrame]:
        """All frames."""
        return self.pick(range(len(self._frames)))

    def pick(self, frames: Sequence[int]) -> Iterator[av.VideoFrame]:
        """The frames with these numbers."""
        for number in frames:
            yield av.VideoFrame.from_ndarray(self._frames[number], format="rgb24")
