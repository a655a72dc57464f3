"""How much faster are convolutions that do with half the products, and how exact are they?

torch's direct convolution and `ea_kernels.ops.conv3d` of the same clip in turns. Gate: against float64 the
error is at most twice that of the direct convolution, for noise and for frames that resemble each other.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_kernels import ops
from quiet import load
from report import GateError, Report, spread

CASES = {
    # channels, frames of the result, side
    "64x256": (64, 4, 256),
    "128x64": (128, 4, 64),
    "256x64": (256, 4, 64),
    "256x64_2_frames": (256, 2, 64),
}
AROUND = (0, 1, 1)
MOST_ERROR = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--turns", type=int, default=8, help="[default: 8]")
    parser.add_argument("--threads", type=int, default=1, help="of torch [default: 1]")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="[default: all]")


@torch.no_grad()
def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    torch.set_num_threads(arguments.threads)
    gate = {**_errors("noise", likeness=0.0), **_errors("alike", likeness=0.995)}
    figures: dict[str, float] = {}
    details: dict[str, dict[str, float]] = {}
    for name in arguments.cases:
        channels, frames, side = CASES[name]
        x, weight = _clip(channels, frames, side), _weight(channels)
        found: dict[str, list[float]] = {"direct": [], "shared": []}
        for turn in range(arguments.turns + 1):
            for way, convolve in (("direct", _direct), ("shared", _shared)):
                seconds = _processor_seconds(lambda call=convolve, x=x, w=weight: call(x, w))
                if turn:  # the first one warms up
                    found[way].append(seconds)
        for way, seconds in found.items():
            details[f"{name}_{way}_seconds"] = spread(seconds)
            figures[f"{name}_{way}_seconds"] = details[f"{name}_{way}_seconds"]["median"]
        figures[f"{name}_times"] = figures[f"{name}_direct_seconds"] / figures[f"{name}_shared_seconds"]
    settings = {"turns": arguments.turns, "threads": arguments.threads, "time": "of the processor"}
    return Report(figures=figures, gate=gate, settings=settings, details={**details, **before})


def _errors(name: str, *, likeness: float) -> dict[str, float]:
    """Root mean square errors against float64."""
    channels, frames, side = 128, 4, 32
    x, weight = _clip(channels, frames, side, likeness=likeness), _weight(channels)
    truth = F.conv3d(x.double(), weight.double(), padding=AROUND)
    direct, shared = (float((call(x, weight) - truth).square().mean().sqrt()) for call in (_direct, _shared))
    if shared > MOST_ERROR * direct:
        raise GateError(f"{name}: off by {shared:.2g}, a direct convolution by {direct:.2g}")
    return {f"{name}_direct_error": direct, f"{name}_shared_error": shared}


def _clip(channels: int, frames: int, side: int, *, likeness: float = 0.0) -> Tensor:
    """A clip and two frames before it, channels last; `likeness` is how two frames correlate."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(1, channels, frames + 2, side, side, generator=generator)
    common = torch.randn(1, channels, 1, side, side, generator=generator)
    mixed = likeness**0.5 * common + (1 - likeness) ** 0.5 * own
    return F.silu(mixed).contiguous(memory_format=torch.channels_last_3d)


def _weight(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(channels, channels, 3, 3, 3, generator=generator) / (27 * channels) ** 0.5


def _direct(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv3d(x, weight, padding=AROUND)


def _shared(x: Tensor, weight: Tensor) -> Tensor:
    return ops.conv3d(x, weight, padding=AROUND)


def _processor_seconds(call: Callable[[], Tensor]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
