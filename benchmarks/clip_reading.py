"""How fast are training clips decoded, scaled and cropped, beside merely decoding the same frames?

The video is drawn: a textured scene that moves under grain, 1280x720 H.264 with B-frames. Every reader opens
the file anew for each clip. All take turns in one run, so that other work on the machine slows all alike.
Gate: random clips hold the pixels of the same frames decoded in order.
"""

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from ea_data.media import Limits, VideoReader, open_writer, read_clip, read_video
from quiet import load
from report import GateError, Report, spread

HEIGHT, WIDTH, RATE = 720, 1280, 25
LIMITS = Limits(max_frames=10_000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--frames", type=int, default=49, help="of a clip [default: 49]")
    parser.add_argument("--side", type=int, default=512, help="pixels of a clip [default: 512]")
    parser.add_argument("--length", type=int, default=150, help="frames of the video [default: 150]")
    parser.add_argument("--repeats", type=int, default=12, help="clips per reader [default: 12]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    with tempfile.TemporaryDirectory() as folder:
        path = _draw(Path(folder, "clip.mp4"), arguments.length)
        gate = _check(path)
        starts = np.random.default_rng(0).integers(0, arguments.length - arguments.frames, arguments.repeats)
        readers = _readers(path, arguments.frames, arguments.side)
        seconds, processor = _take_turns(readers, [int(start) for start in starts])
        size = path.stat().st_size
    figures = {
        "share_of_raw": _share(seconds, "pyav_raw", "read_clip_one_thread"),
        "share_of_raw_threaded": _share(seconds, "pyav_raw_threaded", "read_clip"),
        "processor_share_of_raw": _share(processor, "pyav_raw", "read_clip_one_thread"),
    }
    for name, values in seconds.items():
        figures[f"{name}_fps"] = arguments.frames / statistics.median(values)
    details: dict[str, Any] = {f"{name}_seconds": spread(values) for name, values in seconds.items()}
    details |= {f"{name}_processor_seconds": spread(values) for name, values in processor.items()}
    settings = {
        "frames": arguments.frames,
        "side": arguments.side,
        "video": f"{WIDTH}x{HEIGHT} H.264, {arguments.length} frames, {size} bytes",
        "repeats": arguments.repeats,
        "pyav_raw": "av.open, seek, decode up to the last frame; PyAV's default, one thread for this video",
        "pyav_raw_threaded": "the same with threads that decode frames side by side, as read_clip has them",
        "share_of_raw": "read_clip with threads=1, which fits frames in one more, to pyav_raw, clip by clip",
        "processor_share_of_raw": "the same in seconds of the processor over all threads",
        "share_of_raw_threaded": "read_clip to pyav_raw_threaded, clip by clip",
        "absent": [name for name in ("cv2", "torchcodec.decoders") if _load(name) is None],
        "versions": {name: getattr(_load(name), "__version__", None) for name in ("av", "cv2", "torchcodec")},
        **before,
    }
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def _draw(path: Path, length: int) -> Path:
    """A texture with detail at all scales, as photographs have, moving under grain."""
    rng = np.random.default_rng(0)
    tall, wide = HEIGHT + 200, WIDTH + 400
    scene = np.full((tall, wide, 3), 128, np.float32)
    for cell in (8, 32, 128, 512):
        small = rng.normal(0, 12 + cell / 16, (tall // cell + 2, wide // cell + 2, 3)) + 128
        picture = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
        scene += np.asarray(picture.resize((wide, tall), Image.Resampling.BICUBIC), np.float32) - 128
    grain = rng.normal(0, 3, (4, HEIGHT, WIDTH, 1)).astype(np.float32)
    with open_writer(path, fps=RATE, crf=20) as writer:
        for number in range(length):
            top, left = round(100 + 90 * np.cos(number / 40)), round(200 + 190 * np.sin(number / 50))
            frame = scene[top : top + HEIGHT, left : left + WIDTH] + np.roll(
                grain[number % 4], number * 37, 1
            )
            writer.add(np.clip(frame, 0, 255).astype(np.uint8))
    return path


def _check(path: Path) -> dict[str, float]:
    whole = read_video(path, limits=LIMITS).frames[:70]
    numbers = [65, 3, 40, 12, 13, 50]
    with VideoReader(path, limits=LIMITS) as reader:
        same = all(np.array_equal(reader[number], whole[number]) for number in numbers)
    if not same:
        raise GateError("a frame that was sought differs from the one decoded in order")
    return {"same_pixels": 1.0}


def _readers(path: Path, frames: int, side: int) -> dict[str, Callable[[int], Any]]:
    """What reads the clip that begins with a frame, by name."""
    readers: dict[str, Callable[[int], Any]] = {
        "pyav_raw": lambda start: _raw(path, start, frames),
        "read_clip_one_thread": lambda start: read_clip(
            path, range(start, start + frames), (side, side), threads=1
        ),
        "pyav_raw_threaded": lambda start: _raw(path, start, frames, threaded=True),
        "read_clip": lambda start: read_clip(path, range(start, start + frames), (side, side)),
    }
    if (cv2 := _load("cv2")) is not None:
        readers["opencv"] = lambda start: _opencv(cv2, path, start, frames, side)
    if (decoders := _load("torchcodec.decoders")) is not None:
        readers["torchcodec"] = lambda start: _torchcodec(decoders, path, start, frames, side)
    return readers


def _take_turns(
    readers: dict[str, Callable[[int], Any]], starts: list[int]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds, and seconds of the processor over all threads, of every reader for the same clips."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    processor: dict[str, list[float]] = {name: [] for name in readers}
    for read in readers.values():
        read(starts[0])
    for start in starts:
        for name, read in readers.items():
            begin, used = time.perf_counter(), time.process_time()
            read(start)
            processor[name].append(time.process_time() - used)
            seconds[name].append(time.perf_counter() - begin)
    return seconds, processor


def _share(times: dict[str, list[float]], raw: str, ours: str) -> float:
    """Median over clips of the speed of one reader in terms of another that read the clip just before."""
    return statistics.median(first / second for first, second in zip(times[raw], times[ours], strict=True))


def _raw(path: Path, start: int, frames: int, *, threaded: bool = False) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if threaded:
            stream.thread_type = "AUTO"
        assert stream.time_base is not None
        first = round(start / RATE / stream.time_base)
        container.seek(first, stream=stream)
        count = 0
        for frame in container.decode(stream):
            count += frame.pts is not None and frame.pts >= first
            if count == frames:
                return


def _opencv(cv2: Any, path: Path, start: int, frames: int, side: int) -> np.ndarray:
    clip = np.empty((frames, side, side, 3), np.uint8)
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, start)
    edge = (WIDTH - HEIGHT) // 2
    for place in clip:
        found, frame = capture.read()
        assert found
        part = frame[:, edge : edge + HEIGHT]
        scaled = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
        cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB, dst=place)
    capture.release()
    return clip


def _torchcodec(decoders: Any, path: Path, start: int, frames: int, side: int) -> Any:
    import torch

    clip = decoders.VideoDecoder(str(path), num_ffmpeg_threads=0).get_frames_in_range(start, start + frames)
    edge = (WIDTH - HEIGHT) // 2
    part = clip.data[..., edge : edge + HEIGHT]
    return torch.nn.functional.interpolate(part, (side, side), mode="bilinear", antialias=True)


def _load(name: str) -> Any:
    """A library, None where it is not installed or lacks what it needs."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return None
