"""Rows in eight bits at inputs that are no fun: what they stand for, by kernels and by torch."""

from functools import partial

import pytest
import torch
from kernel_cases import need_triton

from ea_kernels import ops, quantised
from ea_kernels.quantised import FORMATS
from ea_kernels.runtime.eight_bits import LARGEST

R = partial(torch.randn, generator=torch.Generator().manual_seed(0))
ROWS = {
    "one row": R(24),
    "one number": R(1),
    "no tokens": R(2, 0, 24),
    "turned": R(24, 5, 2).permute(2, 1, 0),
    "expanded": R(1, 5, 1).expand(3, 5, 24),
    "bfloat16": R(3, 24).bfloat16(),
}
NORMS = {
    "expanded": (R(1, 5, 24).expand(2, 5, 24), R(1, 24), R(1, 1, 24)),
    "one number for all channels": (R(2, 6, 24), R(2, 1), R(2, 3, 1)),
    "turned": (R(24, 5, 2).permute(2, 1, 0), R(24, 2).T, R(2, 24)),
    "no tokens, a modulation for each": (R(2, 0, 24), R(2, 0, 24), R(2, 0, 24)),
    "no samples": (R(0, 5, 24), R(0, 24), R(0, 24)),
    "every other parameter": (R(2, 5, 24), R(2, 24), R(2, 24), R(48)[::2], R(48)[::2]),
    "far from zero": (R(2, 5, 24) + 100, R(2, 24), R(2, 24)),
}


@pytest.fixture(params=["triton", "torch"])
def backend(request):
    if request.param == "triton":
        need_triton("cpu")
    return request.param


def turned(eight):
    """The same numbers, columns first in memory."""
    return eight.view(torch.uint8).T.contiguous().T.view(eight.dtype)


def close(actual, expected):
    """The same rows but for numbers that lie between two of eight bits."""
    (eight, scale), (eight_, scale_) = actual, expected
    assert (eight.dtype, eight.shape, scale.shape) == (eight_.dtype, eight_.shape, scale_.shape)
    torch.testing.assert_close(scale, scale_, rtol=1e-3, atol=0)
    step = LARGEST[eight.dtype] / (127 if eight.dtype == torch.int8 else 14)
    torch.testing.assert_close(eight.float(), eight_.float(), rtol=0, atol=step)
    assert int((eight.float() != eight_.float()).sum()) <= 0.01 * eight.numel()


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_rows(x, dtype, backend):
    close(*(ops.quantise_rows(x, dtype, backend=name) for name in (backend, "reference")))


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("given", NORMS.values(), ids=NORMS)
def test_norms(given, dtype, backend):
    x, scale, shift, *affine = given
    run = partial(ops.modulated_norm_rows, x, (scale, shift), tuple(affine) or (None, None), dtype=dtype)
    close(run(backend=backend), run(backend="reference"))


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_products(dtype, backend):
    (x, xs), (w, ws) = ops.quantise_rows(R(6, 32), dtype), ops.quantise_rows(R(9, 32), dtype)
    cases = {
        "turned": (turned(x), xs, turned(w), ws),
        "every other row": (x[::2], xs[::2], w[1::2], ws[1::2]),
        "one row for all": (x[:1].view(torch.uint8).expand(4, 32).view(dtype), xs[:1].expand(4, 1), w, ws),
        "one axis": (x[0], xs[0], w, ws),
        "no tokens": (x[:0].view(2, 0, 32), xs[:0].view(2, 0, 1), w, ws),
        "no outputs": (x, xs, w[:0], ws[:0]),
        "every other bias": (x, xs, w, ws, R(18)[::2]),
        "float16 bias": (x, xs, w, ws, R(9).half()),
    }
    for name, operands in cases.items():
        out, expected = (ops.scaled_linear(*operands, backend=b) for b in (backend, "reference"))
        torch.testing.assert_close(
            out, expected, rtol=1e-5, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
        )
    for kind in (torch.float16, torch.bfloat16):
        out, expected = (
            ops.scaled_linear(x, xs, w, ws, dtype=kind, backend=b) for b in (backend, "reference")
        )
        torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (1, 24), (5, 60), (24,)], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_pieces_are_rounded_as_the_whole(shape, dtype, kind, monkeypatch):
    x = R(*shape[:-1], 2 * shape[-1]).to(kind)[..., : shape[-1]]
    x[(0,) * x.ndim] = torch.inf  # a row that is not finite, alone
    whole = ops.quantise_rows(x, dtype, backend="torch")
    monkeypatch.setattr(quantised, "_LARGE", 0)
    monkeypatch.setattr(quantised, "_PIECE", 50)  # two rows of 24, none of 60: then one at a time
    pieces = ops.quantise_rows(x, dtype, backend="torch")
    assert torch.equal(pieces[0].view(torch.uint8), whole[0].view(torch.uint8))
    torch.testing.assert_close(pieces[1], whole[1], rtol=0, atol=0, equal_nan=True)
