"""Attention and frames at inputs that are no fun: every output and gradient, by kernels and by torch."""

from functools import partial

import pytest
import torch
from kernel_cases import compare, need_triton, strided

from ea_kernels import ops

R = partial(torch.randn, generator=torch.Generator().manual_seed(0))
QUERIES, KEYS = (2, 5, 2, 16), (2, 19, 2, 16)
"""More keys than a tile of the interpreter, which has 16, and three left over."""
HIDDEN = torch.rand(2, 1, 1, 19, generator=torch.Generator().manual_seed(0)) > 0.4
HIDDEN[1] = False  # of the second sample everything is padding


@pytest.fixture(params=["triton", "torch"])
def backend(request):
    if request.param == "triton":
        need_triton("cpu")
    return request.param


def expanded(q, k, v, *, backend):
    return ops.attention(q, k.expand(KEYS), v.expand(KEYS), backend=backend)


def masked(mask):
    return partial(ops.attention, mask=mask)


def qkv(width=16, dtype=torch.float32, queries=5, keys=19):
    return tuple(R(1, count, 1, width).to(dtype) for count in (queries, keys, keys))


CASES = {
    **{f"width {width}": (ops.attention, qkv(width)) for width in (64, 72, 80, 88, 96, 112, 128)},
    "float16, width 72": (ops.attention, qkv(72, torch.float16)),
    "bfloat16, width 88": (ops.attention, qkv(88, torch.bfloat16)),
    "everything is padding": (masked(HIDDEN), (R(QUERIES), R(KEYS), R(KEYS))),
    "everything is padding in all samples": (masked(torch.zeros(19, dtype=torch.bool)), qkv()),
    "a strided mask": (
        masked((R(19, 2) > 0).T[:, None, None]),
        (R(QUERIES), R(KEYS), R(KEYS)),
    ),
    "one entry of a mask for all keys": (
        masked(torch.tensor([True, False]).view(2, 1, 1, 1)),
        (R(QUERIES), R(KEYS), R(KEYS)),
    ),
    "expanded keys": (expanded, (R(QUERIES), R(1, 19, 1, 16), R(1, 19, 2, 16))),
    "heads before tokens": (
        ops.attention,
        (
            R(2, 2, 5, 16).transpose(1, 2),
            R(2, 16, 2, 19).permute(0, 3, 2, 1),
            R(2, 2, 19, 16).transpose(1, 2),
        ),
    ),
    "no queries": (ops.attention, qkv(queries=0)),
    "no keys": (ops.attention, qkv(keys=0)),
    "no samples": (ops.attention, (R(0, 5, 2, 16), R(0, 19, 2, 16), R(0, 19, 2, 16))),
    "no heads": (ops.attention, (R(2, 5, 0, 16), R(2, 19, 0, 16), R(2, 19, 0, 16))),
    "scores of hundreds": (ops.attention, tuple(x * s for x, s in zip(qkv(), (20, 20, 1), strict=True))),
    "tiny numbers": (ops.attention, tuple(x * 1e-20 for x in qkv())),
    "a negative scale": (partial(ops.attention, scale=-0.7), qkv()),
    "a scale of zero": (partial(ops.attention, scale=0.0), qkv()),
}


@pytest.mark.parametrize(("function", "inputs"), CASES.values(), ids=CASES)
def test_attention(function, inputs, backend):
    compare(function, inputs, backend=backend)


@pytest.mark.parametrize("window", [(0, 0), (1, 0), (0, 3), (2, 2)])
def test_windows_smaller_than_a_tile(window, backend):
    inputs = [strided(1, 35, 1, 24, dtype=torch.float32, device="cpu") for _ in range(3)]
    compare(partial(ops.window_attention, window=window), inputs, backend=backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_packed_sequences_of_which_most_are_empty(dtype, backend):
    lengths = {"query_lengths": [0, 1, 0, 17], "key_lengths": [0, 1, 3, 18]}
    inputs = [strided(1, count, 2, 72, dtype=dtype, device="cpu") for count in (18, 22, 22)]
    compare(partial(ops.packed_attention, **lengths), inputs, backend=backend)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]], ids=str)
def test_no_tokens_at_all(lengths, backend):
    x = R(1, 0, 2, 16)
    out = ops.packed_attention(x, x, x, query_lengths=lengths, key_lengths=lengths, backend=backend)
    assert out.shape == x.shape
    assert ops.window_attention(x, x, x, window=(1, 1), backend=backend).shape == x.shape


@pytest.mark.parametrize("past", [0, 2])
@pytest.mark.parametrize("frames", [0, 1])
@pytest.mark.parametrize("samples", [0, 1])
def test_frames_that_are_not_there(samples, frames, past, backend):
    inputs = R(samples, 2, past, 3, 3), R(samples, 2, frames, 3, 3)
    for keep in (0, past + frames):
        compare(partial(ops.join_frames, keep=keep), inputs, backend=backend)


def test_frames_whose_axes_lie_in_any_order(backend):
    inputs = R(1, 2, 2, 5, 3).transpose(3, 4), R(2, 2, 1, 3, 5)[:1].flip(3)
    compare(partial(ops.join_frames, keep=2), inputs, backend=backend)
