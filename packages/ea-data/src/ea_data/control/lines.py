"""Lines of single frames: line art by differences of Gaussians, and straight segments.

Neither has weights, and neither looks at other frames or scales by what a frame holds.

Shapes: frames (H, W, 3) uint8 sRGB; signals (H, W) uint8, white lines on black.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import LineArtOptions, LinesOptions

__all__ = ["line_art", "segments"]

Pixels = NDArray[np.uint8]

_LEAST_SIDE: Final = 16
"""Smaller frames are padded for the segment detector, which refuses some of them."""
_SUBPIXEL_BITS: Final = 4


def line_art(options: LineArtOptions) -> Callable[[Pixels], Pixels]:
    """Ink lines on the dark side of edges: the soft threshold of XDoG on a difference of Gaussians.

    Winnemöller, Kyprianidis and Olsen, "XDoG: an extended difference-of-Gaussians compendium", 2012, on
    the difference alone: without the tone of the picture, which would fill dark areas. The colour with the
    largest difference counts, so that colours of one brightness have a line between them.

    Raises:
        ValueError: OpenCV is missing.
    """
    cv2 = load("cv2")

    def make(frame: Pixels) -> Pixels:
        colours = frame.astype(np.float32)
        wide = cv2.GaussianBlur(colours, (0, 0), options.sigma * options.ratio)
        darker = (wide - cv2.GaussianBlur(colours, (0, 0), options.sigma)).max(axis=2)
        ink = np.tanh(np.maximum(darker - options.threshold, 0) * np.float32(1 / options.softness))
        return (255 * ink + 0.5).astype(np.uint8)

    return make


def segments(options: LinesOptions) -> Callable[[Pixels], Pixels]:
    """Straight segments: Grompone von Gioi et al., "LSD: a line segment detector", 2012, as OpenCV has it.

    Raises:
        ValueError: OpenCV is missing.
    """
    cv2 = load("cv2")
    detector = cv2.createLineSegmentDetector()

    def make(frame: Pixels) -> Pixels:
        height, width = frame.shape[:2]
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        missing = max(0, _LEAST_SIDE - height), max(0, _LEAST_SIDE - width)
        if any(missing):
            grey = cv2.copyMakeBorder(grey, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        found = detector.detect(grey)[0]
        drawn = np.zeros((height, width), np.uint8)
        if found is None:
            return drawn
        ends = found.reshape(-1, 4)
        length = np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1])
        ends = np.round(ends[length >= options.least_length] * (1 << _SUBPIXEL_BITS)).astype(int)
        for x0, y0, x1, y1 in ends.tolist():
            cv2.line(drawn, (x0, y0), (x1, y1), 255, options.thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        return drawn

    return make
