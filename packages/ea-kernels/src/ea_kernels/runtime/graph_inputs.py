"""The inputs of a call as what tells its kind and the tensors that change from call to call."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def layout(tensor: Tensor) -> Hashable:
    """Shape, strides, dtype and device."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def split_inputs(value: Any, tensors: list[Tensor]) -> Hashable:
    """What two calls must agree in to be of one kind: layouts of tensors, types and values of all else.

    Args:
        value: Tensors, numbers, texts, None, and tuples, lists, mappings and dataclasses of these.
        tensors: Its tensors are appended, in order.

    Raises:
        TypeError: If there is anything else in it, whose effect on the call is not known.
    """
    if isinstance(value, Tensor):
        tensors.append(value)
        return layout(value)
    if value is None or isinstance(value, bool | int | float | str):
        return type(value), value
    if type(value) in (tuple, list):
        return type(value), *(split_inputs(entry, tensors) for entry in value)
    if isinstance(value, Mapping):
        return dict, *((key, split_inputs(entry, tensors)) for key, entry in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), *(split_inputs(entry, tensors) for entry in _entries(value).values())
    raise TypeError(f"an input is a {type(value).__name__}, no tensor, number or text")


def join_inputs(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same inputs with other tensors, which come in the order of `split_inputs`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if type(value) in (tuple, list):
        return type(value)(join_inputs(entry, tensors) for entry in value)
    if isinstance(value, Mapping):
        return {key: join_inputs(entry, tensors) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        entries = {name: join_inputs(entry, tensors) for name, entry in _entries(value).items()}
        return replace(value, **entries)
    return value


def _entries(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}
