"""Writing frames to mp4, gif, webp or png: complete, checked, and carrying a text on how they were made."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ea_data.media.atomic import atomic_path
from ea_data.media.errors import MediaError
from ea_data.media.limits import Limits
from ea_data.media.metadata import PNG_KEY, xmp_packet
from ea_data.media.video import read_video

Frames = NDArray[np.uint8]

OUTPUT_SUFFIXES: Final = (".mp4", ".gif", ".webp", ".png")
_BT709: Final = 1
# x264's macroblock tree reads memory that is not set in small pictures, and its threads race.
_REPEATABLE: Final = {"threads": "1", "x264-params": "no-mbtree=1"}


def check_output(path: str | Path) -> Path:
    """Check an output name before any work is done.

    Raises:
        MediaError: Unknown suffix, or a folder that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise MediaError(
            f"cannot write {path}: unknown suffix {path.suffix!r}; allowed: {', '.join(OUTPUT_SUFFIXES)}"
        )
    if not path.parent.is_dir():
        raise MediaError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise MediaError(f"cannot write {path}: a folder has that name")
    return path


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
    * `.gif` (256 colours per frame), `.webp` (lossless): endless loops.
    * `.png`: one frame makes a picture; more make a folder of that name without the suffix, holding
      `00000.png`, `00001.png`, ...

    Args:
        path: Output; its folder must exist.
        frames: Shape (T, H, W, 3), sRGB 0..255.
        fps: Frames per second, 0.1 to 240.
        crf: x264 quality, 0 (lossless 4:2:0) to 51; 14 shows no loss to the eye.
        metadata: Text to embed, read back by `read_metadata`; any Unicode without NUL.
        repeatable: Encode in one thread and in a way that makes the same bytes of the same frames every time;
            else an `.mp4` of the same frames can differ a little from run to run.

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
    if not 0.1 <= fps <= 240:
        raise MediaError(f"fps is {fps}; allowed: 0.1 to 240")
    if not 0 <= crf <= 51:
        raise MediaError(f"crf is {crf}; allowed: 0 to 51")
    if metadata is not None and "\0" in metadata:
        raise MediaError("metadata contains a NUL character")
    suffix = path.suffix.lower()
    if suffix == ".png":
        return _write_png(path, frames, metadata)
    with atomic_path(path) as temporary:
        if suffix == ".mp4":
            _write_mp4(
                temporary, frames, fps, {"crf": str(crf), **(_REPEATABLE if repeatable else {})}, metadata
            )
        else:
            _write_animation(temporary, frames, fps, metadata)
        _verify(temporary, path, frames)
    return path


def _write_mp4(path: Path, frames: Frames, fps: float, options: dict[str, str], metadata: str | None) -> None:
    _, height, width, _ = frames.shape
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    frames = np.pad(frames, odd, mode="edge") if height % 2 or width % 2 else np.ascontiguousarray(frames)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if metadata is not None:
            container.metadata["comment"] = metadata
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={"preset": "medium", **options})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_animation(path: Path, frames: Frames, fps: float, metadata: str | None) -> None:
    pictures = [Image.fromarray(picture) for picture in frames]
    ticks = np.arange(len(frames) + 1) / fps
    options: dict[str, Any] = {}
    if path.suffix.lower() == ".gif":
        pictures = [picture.quantize(256, dither=Image.Dither.NONE) for picture in pictures]
        # A gif counts hundredths of a second, and browsers slow down what lasts less than two.
        durations = [max(20, int(step) * 10) for step in np.diff(np.round(ticks * 100))]
        options |= {"format": "GIF", "disposal": 1}
        options |= {} if metadata is None else {"comment": metadata.encode()}
    else:
        durations = [int(step) for step in np.diff(np.round(ticks * 1000))]
        options |= {"format": "WEBP", "lossless": True}
        options |= {} if metadata is None else {"xmp": xmp_packet(metadata)}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **options)


def _write_png(path: Path, frames: Frames, metadata: str | None) -> Path:
    note = PngImagePlugin.PngInfo()
    if metadata is not None:
        note.add_itxt(PNG_KEY, metadata)
    if len(frames) == 1:
        with atomic_path(path) as temporary:
            Image.fromarray(frames[0]).save(temporary, "PNG", pnginfo=note)
        return path
    folder = path.with_suffix("")
    if folder.exists():
        raise MediaError(f"cannot write {folder}: it exists; a sequence of frames makes a new folder")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for index, picture in enumerate(frames):
            Image.fromarray(picture).save(temporary / f"{index:05d}.png", "PNG", pnginfo=note)
    return folder


def _verify(written: Path, path: Path, frames: Frames) -> None:
    """Read a finished file back. Animations merge equal neighbours, so they may hold fewer frames."""
    count, height, width, _ = frames.shape
    limits = Limits(max_pixels=1 << 31, max_frames=1 << 31, max_seconds=float("inf"), max_bytes=1 << 40)
    video = read_video(written, limits=limits)
    found = video.frames.shape
    if written.suffix.lower() == ".mp4":
        right = found[:3] == (count, height + height % 2, width + width % 2)
    else:
        right = found[1:3] == (height, width) and found[0] <= count
    if not right:
        raise MediaError(f"cannot write {path}: reading it back gave {found} instead of {frames.shape}")
