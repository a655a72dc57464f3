"""Edges of single frames: Canny's, soft ones from Scharr's gradient, and scribbles.

None of these has weights, and none looks at other frames or scales by what a frame holds: a pixel's value
follows from its neighbourhood alone, so what does not move does not flicker.

Shapes: frames (H, W, 3) uint8 sRGB; signals (H, W) uint8, white lines on black.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import CannyOptions, ScribbleOptions, SoftEdgeOptions

__all__ = ["canny", "scribble", "soft_edges"]

Pixels = NDArray[np.uint8]


def canny(options: CannyOptions) -> Callable[[Pixels], Pixels]:
    """Thin edges: Canny, "A computational approach to edge detection", 1986, over all three colours.

    Raises:
        ValueError: The lower threshold is above the higher one, or OpenCV is missing.
    """
    _check_thresholds(options.low, options.high)
    cv2 = load("cv2")

    def make(frame: Pixels) -> Pixels:
        return cv2.Canny(_blurred(cv2, frame, options.blur), options.low, options.high)

    return make


def soft_edges(options: SoftEdgeOptions) -> Callable[[Pixels], Pixels]:
    """Edges as bright as the step of grey values across them, from Scharr's gradient of a blurred frame.

    The gradient of a step of height h, blurred by s pixels, is h / (s sqrt(2 pi)) at its place; the strongest
    colour counts. Brightness is 255 (1 - exp(-(h / contrast)^2)): noise stays dark, clear edges are white.

    Raises:
        ValueError: OpenCV is missing.
    """
    cv2 = load("cv2")
    # Differences over two pixels blur too, with a variance of 1/3; 32 is twice the sum of Scharr's weights.
    spread = math.hypot(options.blur, math.sqrt(1 / 3))
    scale = spread * math.sqrt(2 * math.pi) / 32 / options.contrast

    def make(frame: Pixels) -> Pixels:
        # Reflection makes no edge at the border of the frame.
        smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), options.blur)
        across, down = cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
        squared = (np.square(across) + np.square(down)).max(axis=2) * np.float32(scale**2)
        return (255.5 * (1 - np.exp(-squared))).clip(0, 255).astype(np.uint8)

    return make


def scribble(options: ScribbleOptions) -> Callable[[Pixels], Pixels]:
    """Thick strokes along the coarse edges: those of a strongly blurred frame, short ones left out.

    Raises:
        ValueError: The lower threshold is above the higher one, or OpenCV is missing.
    """
    _check_thresholds(options.low, options.high)
    cv2 = load("cv2")
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (options.thickness, options.thickness))

    def make(frame: Pixels) -> Pixels:
        thin = cv2.Canny(_blurred(cv2, frame, options.blur), options.low, options.high, L2gradient=True)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(thin, connectivity=8)
        long_enough = stats[:, cv2.CC_STAT_AREA] >= options.least_length
        long_enough[0] = False  # the background
        return cv2.dilate((long_enough[labels] * 255).astype(np.uint8), brush)

    return make


def _blurred(cv2: Any, frame: Pixels, sigma: float) -> Pixels:
    return cv2.GaussianBlur(frame, (0, 0), sigma) if sigma > 0 else frame


def _check_thresholds(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low is {low:g} and high is {high:g}; allowed: low not above high")
