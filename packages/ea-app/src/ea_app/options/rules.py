"""Values against one model, and values against each other."""

from collections.abc import Iterable, Mapping
from typing import Any

from ea_app.options.errors import InputError
from ea_app.options.option import KEYFRAME, Limits
from ea_app.options.values import check_text

_NEEDS = (
    ("references", "mask_strategy"),
    ("enhance_prompt", "enhance_model"),
    ("teacache_start", "teacache"),
    ("teacache_curve", "teacache"),
    ("enhance_model", "enhance_prompt"),
    ("control_from", "control"),
    ("control_options", "control_from"),
)
_GUIDES = ("control", "camera", "trajectory")
_PICTURES = ("image", "last_image", KEYFRAME)


def complete(values: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Fill in what was not given and check everything against one model.

    Args:
        values: Result of `parse`.
        limits: Of the model.

    Returns:
        All options by key. Where a video or control was given without `frames` or `fps`, these stay out: the
        file decides. So does `strength` when it was not given.

    Raises:
        InputError: A value that the model does not allow, or values that do not go together.
    """
    filled: dict[str, Any] = {"prompt": "", "negative": ""}
    filled |= {"size": (limits.width, limits.height), "steps": limits.steps, "guidance": limits.guidance}
    if not {"video", "control"} & set(values):
        filled |= {"frames": limits.frames, "fps": limits.fps}
    filled |= values
    if "timesteps" in values:
        filled["steps"] = len(values["timesteps"])
    for name in ("prompt", "negative"):
        _check_length(name, check_text(name, filled[name]), limits)
    _check_size(filled["size"], limits)
    _check_window(filled, limits)
    _check_combination(values)
    return filled


def _check_window(values: dict[str, Any], limits: Limits) -> None:
    """What a model makes at once is limited; more is made in windows, except by a model of pictures."""
    frames, most = values.get("frames", 1), limits.max_frames
    if values.get("loops", 1) > 1:
        _check_loops(values, limits)
        return
    if values.get("window", 1) > most:
        raise InputError("window", f"must be from 2 to {most} for this model, got {values['window']}")
    if frames > most and most == 1:
        raise InputError("frames", f"must be 1: this model makes pictures, got {frames}")
    if frames > most:
        values.setdefault("window", most)
    for name in ("overlap", "join"):
        if name in values and "window" not in values:
            raise InputError(name, "needs --window")
    if values.get("overlap", 0) >= values.get("window", 1 << 30):
        raise InputError(
            "overlap", f"must be below the {values['window']} frames of a window, got {values['overlap']}"
        )


def _check_loops(values: Mapping[str, Any], limits: Limits) -> None:
    """Every loop makes a clip of so many frames as a model makes at once."""
    for name in ("window", "video", "control", "camera", "trajectory"):
        if name in values:
            raise InputError("loops", f"cannot be combined with --{name}")
    if not 2 <= values["frames"] <= limits.max_frames:
        raise InputError(
            "frames", f"must be from 2 to {limits.max_frames} for a loop, got {values['frames']}"
        )


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    step, low, high = limits.side_multiple, limits.min_side, limits.max_side
    if not any(side % step or not low <= side <= high for side in size):
        return
    rule = "whole numbers" if step == 1 else f"multiples of {step}"
    nearest = dict.fromkeys(_written(_nearest(side, limits)[end] for side in size) for end in (0, 1))
    raise InputError(
        "size",
        f"width and height must be {rule} from {low} to {high} for this model, got {_written(size)}; "
        f"nearest: {' or '.join(nearest)}",
    )


def _nearest(side: int, limits: Limits) -> tuple[int, int]:
    """The allowed sides below and above."""
    step = limits.side_multiple
    lowest, highest = -(-limits.min_side // step) * step, limits.max_side // step * step
    below, above = side // step * step, -(-side // step) * step
    return min(max(below, lowest), highest), min(max(above, lowest), highest)


def _written(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))


def _check_length(field: str, text: str, limits: Limits) -> None:
    size, most = len(text.encode("utf-8")), limits.max_prompt_bytes
    if most is not None and size > most:
        raise InputError(field, f"is too long: {size} bytes of UTF-8, this model reads at most {most}")


def _check_needs(values: Mapping[str, Any]) -> None:
    """What is of no use without another option."""
    pairs = [*_NEEDS, *([] if "loops" in values else [("mask_strategy", "references")])]
    for one, other in pairs:
        if one in values and other not in values:
            raise InputError(one.replace("_", "-"), f"needs --{other.replace('_', '-')}")


def _check_combination(values: Mapping[str, Any]) -> None:
    _check_needs(values)
    if {"steps", "timesteps"} <= set(values):
        raise InputError("timesteps", "cannot be combined with --steps; each of them is a step")
    pictures = [key.replace("_", "-") for key in _PICTURES if key in values]
    for name, more in (("control", ()), ("reference", ()), ("camera", _GUIDES), ("trajectory", _GUIDES)):
        others = pictures + [key for key in ("video", *more) if key in values and key != name]
        if name in values and others:
            raise InputError(name, f"cannot be combined with --{others[0]}")
    if "video" in values:
        if pictures:
            raise InputError(pictures[0], "cannot be combined with --video; keep frames with --mask instead")
        if values.get("strength") == 1 and "mask" not in values:
            raise InputError(
                "strength", "must be below 1 for --video without --mask; 1 would ignore the video"
            )
        return
    for name in ("mask", "strength"):
        if name in values:
            raise InputError(name, "needs --video")
    count = len([name for name in pictures if name != KEYFRAME]) + len(values.get(KEYFRAME, ()))
    if pictures and values.get("frames", count + 1) <= count:
        given = " and ".join(f"--{name}" for name in pictures)
        raise InputError("frames", f"must be at least {count + 1} with {given}, got {values['frames']}")
