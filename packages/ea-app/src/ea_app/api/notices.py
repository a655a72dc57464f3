"""What the user should know about a job before it runs: options that do less than they seem to."""

from collections.abc import Mapping
from typing import Any

from ea_app.model_info import ModelInfo

# Every released autoencoder makes latents of 8 x 8 pixels. Most models refuse sizes not made of those,
# and the one that takes any size makes the whole ones.
_LATENT_SIDE = 8

_SLOWEST, _FASTEST = 1, 120
_SAME_RATE = 1e-3


def written_rate(fps: float) -> tuple[int, tuple[str, ...]]:
    """The rate of the file that is written, and a line where it is not the one of what was given.

    Args:
        fps: Of the video that decides; any number above 0.
    """
    rate = min(_FASTEST, max(_SLOWEST, round(fps)))
    if abs(rate - fps) < _SAME_RATE:
        return rate, ()
    rule = f"whole numbers from {_SLOWEST} to {_FASTEST} are"
    return rate, (f"fps: {fps:.6g} of the video is written as {rate}; {rule}",)


def option_notices(values: Mapping[str, Any], info: ModelInfo) -> tuple[str, ...]:
    """Lines about options, each beginning with the option.

    Args:
        values: Result of `ea_app.options.complete`.
        info: Of the model.
    """
    notices = []
    width, height = values["size"]
    made = tuple(side // _LATENT_SIDE * _LATENT_SIDE for side in (width, height))
    if info.size_multiple == 1 and made != (width, height):
        notices.append(
            f"size: {made[0]}x{made[1]} is written; the model is told {width}x{height}, and makes whole "
            f"multiples of {_LATENT_SIDE}"
        )
    if values["negative"] and values["guidance"] <= 1:
        notices.append(
            f"negative: changes nothing with --guidance {values['guidance']:g}; it needs more than 1"
        )
    return tuple(notices)
