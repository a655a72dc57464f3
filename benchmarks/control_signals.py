"""How many frames a second does one core turn into each kind of control signal?

Frames of a filmed clip, scaled and cropped to a square. The networks with a fixed layout are measured with
random weights of the released shapes, since their time does not depend on the numbers; those of transformers
and onnxruntime are not measured. Seconds are of the processor, so that other work does not count. Gate: a
frame alone gives the same signal as in its clip.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from ea_data.control.kinds import KINDS
from ea_data.control.makers import ControlMaker, open_maker
from ea_data.control.networks import hed, lineart_anime, mlsd
from ea_data.media import Limits, VideoReader
from report import GateError, Report, spread

CLIP = Path(__file__).parents[1] / "tests/data/assets/three_scenes_416x240_16fps.mp4"
PLAIN = ("canny", "softedge_scharr", "scribble", "lineart_xdog", "lines_lsd")
NETWORKS: dict[str, Callable[[], Any]] = {
    "hed": hed.table,
    "mlsd": mlsd.table,
    "lineart_anime": lineart_anime.table,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--video", type=Path, default=CLIP, help="clip [default: one of the tests]")
    parser.add_argument("--side", type=int, default=512, help="pixels of a frame [default: 512]")
    parser.add_argument("--frames", type=int, default=48, help="for kinds without weights [default: 48]")
    parser.add_argument("--network-frames", type=int, default=3, help="for networks [default: 3]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    frames = _frames(arguments.video, arguments.frames, arguments.side)
    makers = {kind: open_maker(kind) for kind in PLAIN}
    gate = _check(makers, frames[:4])
    seconds = {kind: _seconds(maker, frames) for kind, maker in makers.items()}
    with tempfile.TemporaryDirectory() as folder:
        for kind, table in NETWORKS.items():
            path = _random_weights(Path(folder, f"{kind}.safetensors"), table())
            options: Any = KINDS[kind].options
            maker = open_maker(kind, options(weights=str(path)))
            seconds[kind] = _seconds(maker, frames[: arguments.network_frames])
    figures = {f"{kind}_fps": 1 / statistics.median(values) for kind, values in seconds.items()}
    settings = {
        "video": arguments.video.name,
        "side": arguments.side,
        "frames": arguments.frames,
        "network_frames": arguments.network_frames,
        "seconds": "of processor time of one thread for a frame, without reading it",
        "networks": "random weights of the released shapes",
        "opencv": cv2.__version__,
    }
    details = {f"{kind}_seconds": spread(values) for kind, values in seconds.items()}
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def _frames(path: Path, count: int, side: int) -> list[np.ndarray]:
    with VideoReader(path, limits=Limits(max_frames=count)) as reader:
        return list(reader.read(np.arange(count) % len(reader), size=(side, side)))


def _seconds(maker: ControlMaker, frames: list[np.ndarray]) -> list[float]:
    """Processor time of each frame; the first one comes once more before, unmeasured."""
    found: list[float] = []
    signals = maker([frames[0], *frames])
    next(signals)
    for _ in frames:
        start = time.process_time()
        next(signals)
        found.append(time.process_time() - start)
    return found


def _random_weights(path: Path, table: dict[str, tuple[int, ...]]) -> Path:
    """Weights under which nothing fades or explodes."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, shape in table.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            values = 1 + values.abs()
        elif len(shape) > 1:
            values *= (2 / np.prod(shape[1:])) ** 0.5
        state[name] = values
    save_file(state, path)
    return path


def _check(makers: dict[str, ControlMaker], frames: list[np.ndarray]) -> dict[str, float]:
    for kind, maker in makers.items():
        together = list(maker(frames))
        alone = [next(maker([frame])) for frame in reversed(frames)][::-1]
        if not all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True)):
            raise GateError(f"{kind} gives other signals for single frames")
        if not any(signal.any() for signal in together):
            raise GateError(f"{kind} gives black frames")
    return {"same_alone": 1.0}
