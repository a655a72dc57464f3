"""The line-art network of ControlNet for drawn pictures: a U-Net of eight steps down and up.

Architecture: the U-Net generator of Isola et al., "Image-to-image translation with conditional adversarial
networks", 2017, with instance normalisation; names and sizes of the tensors are those of the released
netG.pth.

Tensors: x (1, C, H, W).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import AnimeLineArtOptions
from ea_data.control.networks.pixels import fitted, resized, to_tensor
from ea_data.control.networks.source import Notify
from ea_data.control.networks.states import Table, load_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RELEASED", "draw_lines", "lineart_anime", "table"]

Pixels = NDArray[np.uint8]

RELEASED: Final = "netG.pth"
_WIDTHS: Final = (64, 128, 256, 512, 512, 512, 512, 512)
_INNERMOST: Final = len(_WIDTHS) - 1
_MULTIPLE: Final = 256


def table() -> Table:
    """Shapes of the weights by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for level, width in enumerate(_WIDTHS):
        down, up = _names(level)
        above = _WIDTHS[level - 1] if level else 3
        returned = above if level else 1
        shapes[f"{down}.weight"], shapes[f"{down}.bias"] = (width, above, 4, 4), (width,)
        # What comes back from below is joined with what went down.
        joined = width if level == _INNERMOST else 2 * width
        shapes[f"{up}.weight"], shapes[f"{up}.bias"] = (joined, returned, 4, 4), (returned,)
    return shapes


def draw_lines(state: Mapping[str, "Tensor"], x: "Tensor") -> "Tensor":
    """Dark lines on white.

    Args:
        state: Weights as in `table`.
        x: (1, 3, H, W) RGB, -1..1; both sides multiples of 256.

    Returns:
        (1, 1, H, W), -1..1.
    """
    functional = load("torch.nn.functional")
    kept = []
    for level in range(len(_WIDTHS)):
        down, _ = _names(level)
        x = functional.leaky_relu(x, 0.2) if level else x
        x = functional.conv2d(x, state[f"{down}.weight"], state[f"{down}.bias"], stride=2, padding=1)
        if 0 < level < _INNERMOST:
            x = functional.instance_norm(x)
        kept.append(x)
    x = kept.pop()
    for level in reversed(range(len(_WIDTHS))):
        _, up = _names(level)
        x = functional.conv_transpose2d(
            x.relu(), state[f"{up}.weight"], state[f"{up}.bias"], stride=2, padding=1
        )
        if level:
            x = load("torch").cat((kept.pop(), functional.instance_norm(x)), dim=1)
    return x.tanh()


def lineart_anime(options: AnimeLineArtOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """Lines as an illustrator would draw them, white on black.

    Raises:
        ValueError: See `load_state`.
    """
    torch = load("torch")
    load("cv2")
    state = load_state(options, table(), RELEASED, notify)

    @torch.inference_mode()
    def make(frame: Pixels) -> Pixels:
        height, width = frame.shape[:2]
        shown = fitted(frame, options.resolution, _MULTIPLE)
        drawn = draw_lines(state, to_tensor(shown, options.device) / 127.5 - 1)[0, 0].cpu().numpy()
        return (127.5 * (1 - resized(drawn, height, width).clip(-1, 1)) + 0.5).astype(np.uint8)

    return lambda: make


def _names(level: int) -> tuple[str, str]:
    """Names of the layers that lead down to a level and up from it."""
    if level == 0:
        return "model.model.0", "model.model.3"
    inside = "model.model.1.model" + ".3.model" * (level - 1)
    return f"{inside}.1", f"{inside}.3" if level == _INNERMOST else f"{inside}.5"
