"""Writing frames to files: complete, checked, and carrying a text on how they were made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ea_data.media.animation_sink import AnimationSink
from ea_data.media.errors import MediaError, media_errors
from ea_data.media.metadata import TextSource, checked_text
from ea_data.media.png_sink import PngSink
from ea_data.media.video_sink import VideoSink
from ea_data.media.zip_sink import ZipSink

__all__ = ["OUTPUT_SUFFIXES", "VideoWriter", "check_output", "open_writer", "write_video"]

Frames = NDArray[np.uint8]

OUTPUT_SUFFIXES: Final = (".mp4", ".webm", ".gif", ".webp", ".png", ".zip")


class Sink(Protocol):
    """A file that is being written under a temporary name."""

    def add(self, picture: Frames) -> None:
        """Append a frame (H, W, 3)."""
        ...

    def finish(self) -> Path:
        """Write what is left, read the file back and rename it.

        Returns:
            Its name.

        Raises:
            MediaError: What comes back is not what was written.
        """
        ...

    def abandon(self) -> None:
        """Remove what was begun; nothing after `finish`."""
        ...


class VideoWriter:
    """Takes frames one by one; comes from `open_writer`.

    Attributes:
        path: What is written; once it is closed, the folder of a sequence of pictures.
        count: Frames so far.
    """

    def __init__(self, path: Path, sink: Sink) -> None:
        self.path, self.count = path, 0
        self._sink = sink
        self._shape: tuple[int, ...] | None = None

    def add(self, frame: Frames) -> None:
        """Append a frame.

        Args:
            frame: Shape (H, W, 3), sRGB 0..255; all of one writer have one size.

        Raises:
            MediaError: Another shape or type, or a full disk.
        """
        allowed = "uint8 (H, W, 3), none of them 0" if self._shape is None else f"uint8 {self._shape}"
        wrong = frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape or frame.dtype != np.uint8
        if wrong or self._shape not in (None, frame.shape):
            raise MediaError(f"frame {self.count} is {frame.dtype} {frame.shape}; allowed: {allowed}")
        self._shape = frame.shape
        with media_errors(self.path, "write"):
            self._sink.add(frame)
        self.count += 1


def check_output(path: str | Path) -> Path:
    """Check an output name before any work is done.

    Raises:
        MediaError: Unknown suffix, a folder that does not exist, or a name that cannot be.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise MediaError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; allowed: {', '.join(OUTPUT_SUFFIXES)}"
        )
    with media_errors(path, "write"):  # a name may be too long to be looked for
        if not path.parent.is_dir():
            raise MediaError(f"cannot write {path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise MediaError(f"cannot write {path}: a folder has that name")
    return path


@contextmanager
def open_writer(
    path: str | Path,
    *,
    fps: float = 8.0,
    crf: int = 14,
    metadata: TextSource = None,
    repeatable: bool = False,
) -> Iterator[VideoWriter]:
    """Write a video frame by frame: a block in which `writer.add(frame)` appends one.

    The file is read back and gets its name when the block ends without an error; otherwise nothing is left
    and a file that was there stays. Videos and sequences of pictures are written as frames come, so that
    their length is not bound by memory; gif and webp are held until the end. A text that is known in the end
    only lets every format hold its frames, encoded where that is possible: the file is the same to the byte.

    Args:
        path: Output; its folder must exist. See `write_video` for what the suffix means.
        fps: Frames per second, 0.1 to 240.
        crf: Quality on the scale of x264, 0 (lossless 4:2:0) to 51; 14 shows no loss to the eye.
        metadata: Text to embed, read back by `read_metadata`; any Unicode without NUL. Or what is called for
            it once, after the last frame, when the block has ended without an error.
        repeatable: Encode in one thread and in a way that makes the same bytes of the same frames every time;
            else a video of the same frames can differ a little from run to run.

    Raises:
        MediaError: Wrong suffix, rate or text; no frames; an unwritable folder; a full disk.
    """
    path = check_output(path)
    if not 0.1 <= fps <= 240:
        raise MediaError(f"fps is {fps}; allowed: 0.1 to 240")
    if not 0 <= crf <= 51:
        raise MediaError(f"crf is {crf}; allowed: 0 to 51")
    metadata = checked_text(metadata)
    suffix = path.suffix.lower()
    sink: Sink
    if suffix in (".mp4", ".webm"):
        sink = VideoSink(path, fps, crf, metadata, repeatable=repeatable)
    elif suffix == ".png":
        sink = PngSink(path, metadata)
    elif suffix == ".zip":
        sink = ZipSink(path, metadata)
    else:
        sink = AnimationSink(path, fps, metadata)
    writer = VideoWriter(path, sink)
    try:
        yield writer
        if not writer.count:
            raise MediaError(f"cannot write {path}: no frames")
        with media_errors(path, "write"):
            writer.path = sink.finish()
    finally:
        sink.abandon()


def write_video(
    path: str | Path,
    frames: Frames,
    *,
    fps: float = 8.0,
    crf: int = 14,
    metadata: str | None = None,
    repeatable: bool = False,
) -> Path:
    """Write frames; the suffix chooses the format. Only a complete, checked file replaces an existing one.

    * `.mp4`: H.264, 4:2:0, BT.709, index first, plays in browsers. An odd height or width gets one repeated
      row or column, since 4:2:0 has none.
    * `.webm`: the same with VP9.
    * `.gif` (256 colours per frame), `.webp` (lossless): endless loops.
    * `.png`: one frame makes a picture; more make a folder of that name without the suffix, holding
      `00000.png`, `00001.png`, ...
    * `.zip`: such pictures in one file.

    Args:
        path: Output; its folder must exist.
        frames: Shape (T, H, W, 3), sRGB 0..255.
        fps: Frames per second, 0.1 to 240.
        crf: Quality on the scale of x264, 0 (lossless 4:2:0) to 51; 14 shows no loss to the eye.
        metadata: Text to embed, read back by `read_metadata`; any Unicode without NUL.
        repeatable: Encode in one thread and in a way that makes the same bytes of the same frames every time;
            else a video of the same frames can differ a little from run to run.

    Returns:
        What was written: the path, or the folder of a sequence.

    Raises:
        MediaError: Wrong suffix, frames, rate or text; an unwritable folder; a full disk.
    """
    path = check_output(path)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise MediaError(
            f"frames are {frames.dtype} {frames.shape}; allowed: uint8 (T, H, W, 3), none of them 0"
        )
    with open_writer(path, fps=fps, crf=crf, metadata=metadata, repeatable=repeatable) as writer:
        for frame in frames:
            writer.add(frame)
    return writer.path
