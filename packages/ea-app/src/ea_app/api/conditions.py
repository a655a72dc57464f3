"""The inputs of a job as conditions of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ea_app.api.fields import REFERENCES, STRATEGY, keyframe_place, numbered
from ea_app.api.loops import Placed
from ea_dit.pipelines import Camera, ClipImage, Condition, Control, Echo, Frames, Reference, Video


def to_conditions(arrays: Mapping[str, NDArray[Any]], placed: Iterable[Placed] = ()) -> tuple[Condition, ...]:
    """Conditions as the pipeline takes them: channels first, named after their options.

    Args:
        arrays: By name of the input, see `ea_app.api.inputs.Inputs`. References stand in `placed`.
        placed: What a mask strategy puts where.
    """
    own = {name: array for name, array in arrays.items() if numbered(name, REFERENCES) is None}
    # Shared with the job, but for what numpy only repeats: torch wants memory that can be written.
    tensors = {name: torch.from_numpy(np.require(array, requirements="W")) for name, array in own.items()}
    mask = tensors.pop("mask", None)
    given = [_condition(name, tensor.movedim(-1, 0), mask) for name, tensor in tensors.items()]
    return (*given, *map(_placed, placed))


def _placed(placed: Placed) -> Condition:
    if placed.pixels is None:
        return Echo(
            source=placed.source,
            at=placed.at,
            length=placed.length,
            edit_ratio=placed.edit_ratio,
            name=STRATEGY,
        )
    pixels = torch.from_numpy(placed.pixels).movedim(-1, 0)
    return Frames(pixels=pixels, at=placed.at, edit_ratio=placed.edit_ratio, name=STRATEGY)


def _condition(name: str, tensor: Tensor, mask: Tensor | None) -> Condition:
    match name:
        case "image":
            return Frames(pixels=tensor, name=name)
        case "last-image":
            return Frames(pixels=tensor, at=-1, name=name)
        case "clip-image":
            return ClipImage(pixels=tensor, name=name)
        case "video":
            return Video(pixels=tensor, mask=mask, name=name)
        case "control" | "trajectory":
            return Control(pixels=tensor, name=name)
        case "reference":
            return Reference(pixels=tensor, name=name)
        case "camera":
            return Camera(rays=tensor, name=name)
    at = keyframe_place(name)
    assert at is not None, name
    return Frames(pixels=tensor, at=at, name=name)


def input_names(conditions: tuple[Condition, ...]) -> list[str]:
    """What a record calls the inputs of a request."""
    names = list(dict.fromkeys(condition.name for condition in conditions))
    masked = any(isinstance(given, Video) and given.mask is not None for given in conditions)
    return names + ["mask"] * masked
