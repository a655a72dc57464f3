"""How much faster than a loop over pixels are the masks of training?

The loop looks at every pixel of a frame and sets those inside in all frames: of a torch tensor, as released
training has it, and for comparison of a numpy array, which is faster. Gate: all give the same masks.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from ea_data.masks import MASK_KINDS, disc_mask, draw_mask, ellipse_mask
from ea_data.masks.shapes import Mask
from report import GateError, Report, spread

Size = tuple[int, int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--frames", type=int, default=49, help="[default: 49]")
    parser.add_argument("--side", type=int, default=512, help="pixels [default: 512]")
    parser.add_argument(
        "--repeats", type=int, default=50, help="of ours; a tenth as many of the loop [default: 50]"
    )


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    size = (arguments.frames, arguments.side, arguments.side)
    centre = (arguments.side // 2, arguments.side // 3)
    down, across = arguments.side // 5, arguments.side // 6
    figures: dict[str, float] = {}
    details: dict[str, dict[str, float]] = {}
    for name, half_axes in (("ellipse", (down, across)), ("disc", (down, down))):
        calls: dict[str, Callable[[], Mask]] = {
            "": partial(_ours, name, size, centre, half_axes),
            "_torch_loop": partial(_by_pixels, torch.zeros(size, dtype=torch.bool), centre, half_axes),
            "_numpy_loop": partial(_by_pixels, np.zeros(size, dtype=bool), centre, half_axes),
        }
        if not all(np.array_equal(call(), calls[""]()) for call in calls.values()):
            raise GateError(f"the {name} differs from that of the loop")
        for label, call in calls.items():
            repeats = max(arguments.repeats // 10, 1) if label else arguments.repeats
            details[f"{name}{label}_milliseconds"] = spread([1000 * _seconds(call) for _ in range(repeats)])
        ours, torch_loop, numpy_loop = (details[f"{name}{label}_milliseconds"]["median"] for label in calls)
        figures[f"{name}_times"] = torch_loop / ours
        figures[f"{name}_times_numpy"] = numpy_loop / ours
    for kind in MASK_KINDS:
        rng = np.random.default_rng(0)
        figures[f"{kind}_milliseconds"] = 1000 * statistics.median(
            _seconds(lambda kind=kind, rng=rng: draw_mask(kind, rng, *size)) for _ in range(arguments.repeats)
        )
    settings = {"frames": size[0], "height": size[1], "width": size[2], "repeats": arguments.repeats}
    return Report(figures=figures, gate={"same_masks": 1.0}, settings=settings, details=details)


def _ours(name: str, size: Size, centre: tuple[int, int], half_axes: tuple[int, int]) -> Mask:
    if name == "disc":
        return disc_mask(size, centre=centre, radius=half_axes[0])
    return ellipse_mask(size, centre=centre, half_axes=half_axes)


def _by_pixels(mask: Any, centre: tuple[int, int], half_axes: tuple[int, int]) -> Mask:
    _, height, width = mask.shape
    for row in range(height):
        for column in range(width):
            far = ((row - centre[0]) / half_axes[0]) ** 2 + ((column - centre[1]) / half_axes[1]) ** 2
            if far < 1 - 1e-12:
                mask[:, row, column] = True
    return np.asarray(mask)


def _seconds(call: Callable[[], Mask]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
