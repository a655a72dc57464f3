"""Depth as a control signal: near is white, far is black.

Models: Yang et al., "Depth Anything" and "Depth Anything V2", 2024, as transformers has them. Relative ones
tell the inverse of a distance, up to a scale and an offset; metric ones tell metres, which are inverted
here.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import DepthOptions
from ea_data.control.networks.pixels import fitted, resized
from ea_data.control.networks.pretrained import load_pretrained, placed
from ea_data.control.networks.source import Notify

__all__ = ["NearnessScale", "depth"]

Pixels = NDArray[np.uint8]

_MULTIPLE: Final = 14
_NEAREST_METRES: Final = 1e-3


class NearnessScale:
    """Turns inverse distances into grey values; the range that they are spread over follows the frames."""

    def __init__(self, smoothing: float) -> None:
        self._smoothing = smoothing
        self._range: tuple[float, float] | None = None

    def __call__(self, near_HW: NDArray[np.float32]) -> Pixels:
        """Grey values of the next frame; black everywhere where all is equally far."""
        low, high = float(near_HW.min()), float(near_HW.max())
        if self._range is not None:
            kept = self._smoothing
            low = kept * self._range[0] + (1 - kept) * low
            high = kept * self._range[1] + (1 - kept) * high
        self._range = low, high
        if not high > low:
            return np.zeros(near_HW.shape, np.uint8)
        return (((near_HW - low) / (high - low)).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def depth(options: DepthOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """How near things are.

    Raises:
        ValueError: See `load_pretrained`; no such device.
    """
    torch = load("torch")
    load("cv2")
    model, processor = load_pretrained(
        "weights",
        options.weights,
        ("depth_anything",),
        "AutoModelForDepthEstimation",
        offline=options.offline,
        notify=notify,
    )
    model = placed(model, options.device)
    metric = model.config.depth_estimation_type == "metric"

    @torch.inference_mode()
    def nearness(frame: Pixels) -> NDArray[np.float32]:
        shown = fitted(frame, options.resolution, _MULTIPLE)
        pixels = processor(images=shown, do_resize=False, return_tensors="pt")["pixel_values"]
        found = model(pixel_values=pixels.to(model.device)).predicted_depth[0].cpu().numpy()
        if metric:
            found = 1 / np.maximum(found, _NEAREST_METRES)
        return resized(found, *frame.shape[:2])

    def start() -> Callable[[Pixels], Pixels]:
        scale = NearnessScale(options.smoothing)
        return lambda frame: scale(nearness(frame))

    return start
