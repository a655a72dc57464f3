"""How much faster than a loop over pixels are the masks of training?

The loop looks at every pixel of a frame and sets those inside in all frames. Gate: both give the same masks.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

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
    calls: dict[str, tuple[Callable[[], Mask], Callable[[], Mask]]] = {
        "ellipse": (
            lambda: ellipse_mask(size, centre=centre, half_axes=(down, across)),
            lambda: _by_pixels(size, centre, (down, across)),
        ),
        "disc": (
            lambda: disc_mask(size, centre=centre, radius=down),
            lambda: _by_pixels(size, centre, (down, down)),
        ),
    }
    figures: dict[str, float] = {}
    details: dict[str, dict[str, float]] = {}
    for name, (ours, loop) in calls.items():
        if not np.array_equal(ours(), loop()):
            raise GateError(f"the {name} differs from that of the loop")
        fast = [_seconds(ours) for _ in range(arguments.repeats)]
        slow = [_seconds(loop) for _ in range(max(arguments.repeats // 10, 1))]
        figures[f"{name}_times"] = statistics.median(slow) / statistics.median(fast)
        details[f"{name}_milliseconds"] = spread([1000 * seconds for seconds in fast])
        details[f"{name}_loop_milliseconds"] = spread([1000 * seconds for seconds in slow])
    for kind in MASK_KINDS:
        rng = np.random.default_rng(0)
        figures[f"{kind}_milliseconds"] = 1000 * statistics.median(
            _seconds(lambda kind=kind, rng=rng: draw_mask(kind, rng, *size)) for _ in range(arguments.repeats)
        )
    settings = {"frames": size[0], "height": size[1], "width": size[2], "repeats": arguments.repeats}
    return Report(figures=figures, gate={"same_masks": 1.0}, settings=settings, details=details)


def _by_pixels(size: Size, centre: tuple[int, int], half_axes: tuple[int, int]) -> Mask:
    _, height, width = size
    mask = np.zeros(size, dtype=bool)
    for row in range(height):
        for column in range(width):
            far = ((row - centre[0]) / half_axes[0]) ** 2 + ((column - centre[1]) / half_axes[1]) ** 2
            if far < 1 - 1e-12:
                mask[:, row, column] = True
    return mask


def _seconds(call: Callable[[], Mask]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
