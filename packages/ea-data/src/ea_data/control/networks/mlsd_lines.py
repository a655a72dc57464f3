"""Lines from the maps of M-LSD, and the signal that is drawn of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import MlsdOptions
from ea_data.control.networks.mlsd import RELEASED, line_map, table
from ea_data.control.networks.pixels import fitted, to_tensor
from ea_data.control.networks.source import Notify
from ea_data.control.networks.states import load_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["decode_lines", "mlsd"]

Pixels = NDArray[np.uint8]

_MOST_LINES: Final = 200
_MULTIPLE: Final = 64
_FAR: Final = 1 << 14  # OpenCV draws with 16 bits


def decode_lines(found: "Tensor", score: float, least_length: float) -> NDArray[np.float32]:
    """Read lines off a map: middles that are the largest in 3x3, the best 200 of them.

    Args:
        found: Result of `line_map`, (1, 9, H, W).
        score: Least probability of a middle.
        least_length: Shortest line in pixels of the map.

    Returns:
        (N, 4) x and y of both ends, in pixels of the map.
    """
    torch, functional = load("torch"), load("torch.nn.functional")
    heat = found[:, 0].sigmoid()
    heat = heat * (functional.max_pool2d(heat, 3, stride=1, padding=1) == heat)
    scores, places = heat.flatten().topk(min(_MOST_LINES, heat.numel()))
    rows, columns = places // heat.shape[2], places % heat.shape[2]
    offsets = found[0, 1:5, rows, columns].T
    length = (offsets[:, :2] - offsets[:, 2:]).norm(dim=1)
    middle = torch.stack((columns, rows, columns, rows), dim=1)
    lines = (middle + offsets)[(scores > score) & (length > least_length)]
    return lines.cpu().numpy().astype(np.float32)


def mlsd(options: MlsdOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """Straight lines, one pixel wide, white on black.

    Raises:
        ValueError: See `load_state`.
    """
    cv2, torch = load("cv2"), load("torch")
    state = load_state(options, table(), RELEASED, notify)

    @torch.inference_mode()
    def make(frame: Pixels) -> Pixels:
        height, width = frame.shape[:2]
        shown = to_tensor(fitted(frame, options.resolution, _MULTIPLE), options.device)
        x = torch.cat((shown, torch.ones_like(shown[:, :1])), dim=1) / 127.5 - 1
        lines = decode_lines(line_map(state, x), options.score, options.least_length)
        scale = (
            np.array([width / shown.shape[3], height / shown.shape[2]] * 2) * 2
        )  # the map has half the size
        drawn = np.zeros((height, width), np.uint8)
        for x0, y0, x1, y1 in (lines * scale).clip(-_FAR, _FAR).astype(int).tolist():
            cv2.line(drawn, (x0, y0), (x1, y1), 255, 1)
        return drawn

    return lambda: make
