"""Writing tiny onnx files: the few messages of the format that a test needs, by their field numbers."""

from __future__ import annotations

import numpy as np

_FLOAT = 1
_OPSET = 13


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value(name, shape):
    dims = b"".join(
        _field(1, _field(1, side) if isinstance(side, int) else _field(2, side)) for side in shape
    )
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, dims)))


def _tensor(name, array):
    dims = b"".join(_field(1, side) for side in array.shape)
    return dims + _field(2, _FLOAT) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _node(operation, inputs, output, axes=None):
    node = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(4, operation)
    if axes is not None:
        kept = _field(1, "keepdims") + _field(3, 0) + _field(20, 2)
        along = _field(1, "axes") + b"".join(_field(8, axis) for axis in axes) + _field(20, 7)
        node += _field(5, along) + _field(5, kept)
    return node


def brightest_place(height, width, *, points=133, bins=2, names=("simcc_x", "simcc_y")):
    """A network in the form of DWPose whose points all lie where the picture is brightest."""
    graph, tensors, outputs = b"", b"", b""
    for name, axes, side in zip(names, ((1, 2), (1, 3)), (width, height)):
        spread = np.zeros((side, bins * side))
        spread[np.arange(side), bins * np.arange(side)] = 1
        tensors += _field(5, _tensor(f"{name}_spread", spread))
        tensors += _field(5, _tensor(f"{name}_all", np.zeros((1, points, bins * side))))
        graph += _field(1, _node("ReduceMax", ["input"], f"{name}_most", axes))
        graph += _field(1, _node("MatMul", [f"{name}_most", f"{name}_spread"], f"{name}_one"))
        graph += _field(1, _node("Add", [f"{name}_one", f"{name}_all"], name))
        outputs += _field(12, _value(name, (1, points, bins * side)))
    graph += _field(2, "graph") + tensors + _field(11, _value("input", (1, 3, height, width))) + outputs
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, _OPSET))
