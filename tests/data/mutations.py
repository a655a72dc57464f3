"""Reads mutated media files in a process of its own and tells what came of it, as JSON.

`python mutations.py KIND COUNT SEED FOLDER`, where KIND is "videos" or "images" and FOLDER is for scratch.
"""

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ea_data.media import (
    MediaError,
    VideoReader,
    probe,
    read_clip,
    read_frames,
    read_image,
    read_mask,
    read_metadata,
    read_video,
    write_video,
)

CODECS = {
    "h264.mp4": ("libx264", {"x264-params": "keyint=5:bframes=2"}),
    "h264.mkv": ("libx264", {"x264-params": "keyint=5:bframes=2:open-gop=1"}),
    "hevc.mov": ("libx265", {"x265-params": "keyint=5:bframes=2:log-level=none"}),
    "vp8.webm": ("libvpx", {"g": "5", "b": "200k"}),
    "vp9.webm": ("libvpx-vp9", {"g": "5", "b": "200k"}),
    "mpeg4.avi": ("mpeg4", {"g": "5", "bf": "1"}),
    "mjpeg.avi": ("mjpeg", {}),
}

_SOON = 1.0


def make_videos(folder: Path) -> Iterator[Path]:
    """A clip of eleven frames in every container and codec."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = np.stack([np.roll(texture, number * 3, axis=1) for number in range(11)])
    for name, (codec, options) in CODECS.items():
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(25), options=options)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for picture in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        yield path
    for name in ("loop.gif", "loop.webp"):
        yield write_video(folder / name, frames, metadata="how it was made")


def make_images(folder: Path) -> Iterator[Path]:
    """Pictures of every format, with palettes, transparency, sixteen bits and EXIF data."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    variants = {
        "rgb.png": picture,
        "palette.png": picture.quantize(16),
        "clear.png": picture.convert("LA"),
        "deep.png": Image.fromarray(np.arange(48 * 72, dtype=np.uint16).reshape(48, 72)),
        "turned.jpg": picture,
        "cmyk.jpg": picture.convert("CMYK"),
        "lossy.webp": picture,
        "one.gif": picture.quantize(16),
        "plain.bmp": picture,
        "plain.avif": picture,
    }
    for name, image in variants.items():
        image.save(folder / name, **({"exif": exif} if name in ("turned.jpg", "lossy.webp") else {}))
        yield folder / name


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One of seven kinds of damage, often near the beginning, where the sizes stand."""
    changed = bytearray(data)
    reach = len(data) if rng.random() < 0.5 else min(len(data), 1500)
    place = int(rng.integers(0, max(1, reach - 8)))
    length = int(rng.integers(1, max(2, len(data) // 4)))
    match int(rng.integers(7)):
        case 0:
            for spot in rng.integers(0, reach, int(rng.integers(1, 30))):
                changed[spot] = int(rng.integers(256))
        case 1:
            changed[place] ^= 1 << int(rng.integers(8))
        case 2:
            del changed[int(rng.integers(1, len(data))) :]
        case 3:
            del changed[place : place + length]
        case 4:
            changed[place:place] = changed[place : place + length]
        case 5:
            changed[place : place + length] = bytes(length)
        case _:
            huge = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF, 0)[int(rng.integers(5))]
            changed[place : place + 4] = huge.to_bytes(4, "big" if rng.random() < 0.5 else "little")
    return bytes(changed)


def every_frame(path: Path) -> None:
    """Iterate."""
    with VideoReader(path, threads=1) as reader:
        for _ in reader:
            pass


VIDEO_READS: tuple[Callable[[Path], object], ...] = (
    probe,
    read_metadata,
    read_video,
    lambda path: read_video(path, fps=7),
    every_frame,
    lambda path: read_clip(path, [9, 0, 4], (32, 32), threads=1),
)
IMAGE_READS: tuple[Callable[[Path], object], ...] = (probe, read_metadata, read_image, read_frames, read_mask)


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # what rusage says on Linux begins with the peak of the process that started this one
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _timed(read: Callable[[Path], object], path: Path) -> tuple[str, float]:
    """What came of it, "read" and "refused" being right, and the processor's seconds."""
    begin = time.process_time()
    try:
        read(path)
        outcome = "read"
    except MediaError as error:
        clear = "\n" not in str(error) and path.name in str(error)
        outcome = "refused" if clear else f"message {str(error)!r}"
    except Exception as error:  # noqa: BLE001  (what is looked for)
        outcome = f"{type(error).__name__}: {error}"
    return outcome, time.process_time() - begin


def main(kind: str, count: int, seed: int, folder: Path) -> dict[str, object]:
    """Read COUNT mutated files in every way that there is."""
    sources = list((make_videos if kind == "videos" else make_images)(folder))
    reads = VIDEO_READS if kind == "videos" else IMAGE_READS
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    unexpected: list[str] = []
    slowest = 0.0
    for number in range(count):
        source = sources[number % len(sources)]
        path = folder / f"mutated{source.suffix}"
        path.write_bytes(mutate(source.read_bytes(), rng))
        for read in reads:
            outcome, seconds = _timed(read, path)
            if seconds > _SOON:  # the first of its size also waits for the machine to give memory
                outcome, seconds = _timed(read, path)
            slowest = max(slowest, seconds)
            if outcome in ("read", "refused"):
                outcomes[outcome] += 1
            else:
                unexpected.append(f"{number} {source.name}: {outcome}")
    peak = _peak_bytes()
    return {"outcomes": outcomes, "unexpected": unexpected, "slowest": slowest, "peak": peak}


if __name__ == "__main__":
    _, kind, count, seed, folder = sys.argv
    print(json.dumps(main(kind, int(count), int(seed), Path(folder))))
