"""Rows in eight bits and their products: every backend against the reference, at shapes that are no fun."""

import pytest
import torch
from kernel_cases import DEVICES, TYPES, need_triton, strided

from ea_kernels import ops
from ea_kernels.quantised import FORMATS
from ea_kernels.reference.quantised import LEAST_SCALE
from ea_kernels.runtime.eight_bits import LARGEST

E4M3, INT8 = FORMATS
BACKENDS = ["torch", "triton"]
# The interpreter computes with numpy, which warns of infinities.
with_infinities = pytest.mark.filterwarnings("ignore:(invalid value|overflow):RuntimeWarning")
# One number, one row, odd and prime widths, a whole tile and one more, no rows at all.
ROWS = [(1, 1), (1, 31), (3, 2, 257), (17, 64), (0, 8)]
REAL = [(13568, 3072), (331, 12288)]
PRODUCTS = [(1, 1, 1), (3, 31, 5), (17, 129, 33), (130, 130, 131), (0, 8, 4)]  # rows, inputs, outputs
REAL_PRODUCTS = [(3584, 3072, 3072), (331, 3072, 12288), (5, 12288, 3072)]


def need(backend, device):
    if backend == "triton":
        need_triton(device)
        if device == "cuda" and torch.cuda.get_device_capability() < (8, 9):
            pytest.skip("float8 needs compute capability 8.9")


def same_rows(actual, expected, *, loose=False):
    """The same scales, and the same eight bits but for neighbours where a quotient lies between two.

    Loose: what was rounded to half precision before may be two numbers away, anywhere, more so near zero.
    """
    (eight, scale), (expected8, expected_scale) = actual, expected
    assert (eight.dtype, eight.shape) == (expected8.dtype, expected8.shape)
    torch.testing.assert_close(scale, expected_scale, rtol=2e-2 if loose else 1e-5, atol=0, equal_nan=True)
    finite = expected_scale.isfinite().expand(eight.shape)
    apart = (eight.float() - expected8.float()).abs()[finite]
    step = 1.0 if eight.dtype == INT8 else expected8.float().abs()[finite] / 8 + 2.0**-9
    step = 2 * step + LARGEST[eight.dtype] / 200 if loose else step
    assert bool((apart <= step).all())
    assert loose or int((apart > 0).sum()) <= 0.002 * apart.numel() + 1


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("device", "kind"), TYPES)
def test_rows(device, kind, backend, dtype):
    need(backend, device)
    for shape in [*ROWS, *(REAL if device == "cuda" else ())]:
        x = strided(*shape, dtype=kind, device=device, scale=3.0)
        same_rows(
            ops.quantise_rows(x, dtype, backend=backend), ops.quantise_rows(x, dtype, backend="reference")
        )


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("device", DEVICES)
@with_infinities
def test_hostile_rows(device, backend, dtype):
    need(backend, device)
    x = torch.randn(8, 33, device=device)
    x[0] = 0
    x[1] *= 1e30
    x[2] = 3.4e38
    x[3] *= 1e-30
    x[4] *= 1e-42  # denormal
    x[5, 7] = torch.inf
    x[6, 3] = torch.nan
    x[7, 1:] = 0
    eight, scale = ops.quantise_rows(x, dtype, backend=backend)
    assert scale[:, 0].isnan().tolist() == [False] * 5 + [True, True, False]
    assert torch.equal(eight[0].float(), torch.zeros(33, device=device))
    assert scale[0].item() == pytest.approx(LEAST_SCALE)
    restored = eight[:5].float() * scale[:5]
    assert bool((restored - x[:5]).abs().le(x[:5].abs() / 16 + scale[:5]).all())
    assert eight[7, 0].float().abs().item() == LARGEST[dtype]
    weight8, weight_scale = ops.quantise_rows(torch.randn(5, 33, device=device), dtype, backend=backend)
    out = ops.scaled_linear(eight, scale, weight8, weight_scale, backend=backend)
    assert out.isnan().all(dim=1).tolist() == [False] * 5 + [True, True, False]
    assert out.isnan().any(dim=1).tolist() == [False] * 5 + [True, True, False]


@pytest.mark.parametrize("device", DEVICES)
def test_every_number_of_float8_and_every_tie_rounds_as_torch_rounds_it(device):
    need("triton", device)
    numbers = torch.arange(127, dtype=torch.uint8).view(E4M3).float()  # 0 ... 448
    ties = (numbers[1:] + numbers[:-1]) / 2
    x = torch.cat((numbers, ties, ties * (1 + 2**-20), ties * (1 - 2**-20), torch.tensor([448.0]))).to(device)
    eight, scale = ops.quantise_rows(torch.cat((x, -x)), E4M3, backend="triton")
    assert scale.item() == 1
    assert torch.equal(eight.float(), torch.cat((x, -x)).to(E4M3).float())


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("device", "kind"), TYPES)
def test_products(device, kind, backend, dtype):
    need(backend, device)
    for rows, inputs, outputs in [*PRODUCTS, *(REAL_PRODUCTS if device == "cuda" else ())]:
        x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs) * 0.02
        bias = torch.randn(outputs).to(device, kind)
        operands = (
            *ops.quantise_rows(x.to(device), dtype, backend="reference"),
            *ops.quantise_rows(weight.to(device), dtype, backend="reference"),
        )
        for given in (bias, None):
            out, expected = (
                ops.scaled_linear(*operands, given, dtype=kind, backend=name)
                for name in (backend, "reference")
            )
            assert (out.dtype, out.shape) == (kind, (rows, outputs))
            # Matrix units add products of float8 with about 14 bits, and the library rounds to bfloat16.
            coarse = device == "cuda" and dtype == E4M3
            share = 1e-2 if coarse or kind == torch.bfloat16 else 1e-3 if kind == torch.float16 else 2e-6
            allowed = share * max(1.0, expected.abs().max().item()) if rows else 0
            torch.testing.assert_close(out, expected, rtol=0, atol=allowed)


def test_the_library_is_called_as_it_wants_to_be(monkeypatch):
    """torch._scaled_mm exists on a CPU too, where nothing but this test asks for it."""
    monkeypatch.setattr("ea_kernels.quantised.multiplies_float8", lambda _: True)
    for rows, inputs, outputs in [(1, 5, 3), (17, 129, 33), (32, 64, 48)]:  # padded, and as they are
        x, weight = (ops.quantise_rows(torch.randn(count, inputs)) for count in (rows, outputs))
        bias = torch.randn(outputs)
        out, expected = (
            ops.scaled_linear(*x, *weight, bias, backend=name) for name in ("torch", "reference")
        )
        assert out.shape == expected.shape
        assert ((out - expected).norm() / expected.norm()).item() < 5e-3


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
def test_products_of_stacked_tokens_are_close_to_those_of_what_was_rounded(backend):
    x, weight = torch.randn(2, 3, 256), torch.randn(40, 256)
    for dtype, most in ((E4M3, 0.06), (INT8, 0.02)):
        rows, weights = (ops.quantise_rows(t, dtype) for t in (x, weight))
        out = ops.scaled_linear(*rows, *weights, backend=backend)
        exact = x @ weight.T
        assert out.shape == exact.shape
        assert 0 < ((out - exact).norm() / exact.norm()).item() < most


def test_rounded_numbers_are_multiplied_exactly_where_there_are_no_instructions_for_it(monkeypatch):
    operands = (
        *ops.quantise_rows(torch.randn(4, 1000), INT8),
        *ops.quantise_rows(torch.randn(3, 1000), INT8),
    )
    fast = ops.scaled_linear(*operands, backend="torch")
    monkeypatch.setattr("ea_kernels.quantised.multiplies_int8", lambda _: False)
    torch.testing.assert_close(ops.scaled_linear(*operands, backend="torch"), fast, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("device", "kind"), TYPES)
def test_norm_modulation_and_rounding_in_one(device, kind, backend, dtype):
    need(backend, device)
    real = [(2, 1536, 3072)] if device == "cuda" else []
    for shape in [(1, 1, 3), (2, 6, 31), (1, 3, 257), (2, 0, 8), *real]:
        x = strided(*shape, dtype=kind, device=device)
        affine = tuple(torch.randn(shape[-1]).to(device, kind) for _ in range(2))
        for groups in ((), (1,), (3,)) if shape[1] % 3 == 0 else ((),):
            modulation = tuple(
                strided(shape[0], *groups, shape[-1], dtype=kind, device=device) for _ in range(2)
            )
            for given in (affine, (None, None)):
                actual, expected = (
                    ops.modulated_norm_rows(x, modulation, given, dtype=dtype, backend=name)
                    for name in (backend, "reference")
                )
                same_rows(actual, expected, loose=backend == "torch" and kind != torch.float32)


@pytest.mark.parametrize("backend", [*BACKENDS, "reference"])
@pytest.mark.parametrize("device", DEVICES)
@with_infinities
def test_hostile_tokens(device, backend):
    need(backend, device)
    x = torch.randn(1, 5, 33, device=device)
    x[0, 0] = 0
    x[0, 1] = 7
    x[0, 2] *= 1e15
    x[0, 3, 4] = torch.inf
    x[0, 4, 4] = torch.nan
    shift = torch.linspace(-1, 1, 33, device=device).unsqueeze(0)
    eight, scale = ops.modulated_norm_rows(x, (torch.zeros_like(shift), shift), backend=backend)
    assert scale[0, :, 0].isnan().tolist() == [False, False, False, True, True]
    for token in (0, 1):  # nothing but the shift is left of a constant row
        torch.testing.assert_close(eight[0, token].float() * scale[0, token], shift[0], rtol=0.07, atol=1e-2)


def test_modulations_with_different_groups():
    need_triton("cpu")
    x, modulation = torch.randn(2, 6, 24), (torch.randn(2, 3, 24), torch.randn(2, 24))
    for given in (modulation, modulation[::-1]):
        rows = [ops.modulated_norm_rows(x, given, backend=name) for name in ("triton", "reference")]
        same_rows(*rows)


def test_one_modulation_for_a_whole_batch():
    need_triton("cpu")
    x = torch.randn(3, 4, 24)
    modulation = (torch.randn(1, 24), torch.randn(1, 24))
    actual, expected = (
        ops.modulated_norm_rows(x, modulation, backend=name) for name in ("triton", "reference")
    )
    same_rows(actual, expected)


def test_what_does_not_fit_is_one_clear_line():
    x8, scale = ops.quantise_rows(torch.randn(2, 4))
    weight8, weight_scale = ops.quantise_rows(torch.randn(3, 4))
    with pytest.raises(ValueError, match=r"^dtype must be torch\.float8_e4m3fn or torch\.int8, got "):
        ops.quantise_rows(torch.randn(2, 4), torch.uint8)
    with pytest.raises(
        ValueError, match=r"must have one number type, got torch\.float8_e4m3fn and torch\.int8"
    ):
        ops.scaled_linear(x8, scale, weight8.view(torch.int8), weight_scale)
    with pytest.raises(ValueError, match=r"^weight8_OI must be \(O, I\) with I = 4 of x8, got \(3, 3\)"):
        ops.scaled_linear(x8, scale, weight8[:, :3], weight_scale)
    with pytest.raises(ValueError, match=r"^x_scale must be float32 \(2, 1\), got torch.float32 \(2,\)"):
        ops.scaled_linear(x8, scale[:, 0], weight8, weight_scale)
    with pytest.raises(ValueError, match=r"^weight_scale_O1 must be float32 \(3, 1\), got torch.float64"):
        ops.scaled_linear(x8, scale, weight8, weight_scale.double())
    with pytest.raises(ValueError, match=r"^a modulation of tokens \(1, 2, 4\) must be"):
        ops.modulated_norm_rows(torch.randn(1, 2, 4), (torch.randn(1, 3, 4), torch.randn(1, 4)))
