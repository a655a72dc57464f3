"""Activations that are rounded once for all layers that read them: the bits that each would have made."""

import pytest
import torch
from kernel_cases import need_triton, strided
from torch import nn

from ea_kernels import ops, quantised, rounding
from ea_kernels.linear import choose_linear
from ea_kernels.rounding import (
    EightBitRows,
    gated_residual_norm_for,
    modulated_norm_for,
    rounded_for,
    shared_rounding,
)
from ea_kernels.runtime.eight_bits import RESTORED, EightBitLinear

CPU = torch.device("cpu")
WIDTH = 24


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    monkeypatch.delenv("EA_KERNELS", raising=False)
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    monkeypatch.setattr("ea_kernels.linear.multiplies_float8", lambda _: True)


def layers(name, count=3):
    arithmetic = choose_linear(CPU, name).arithmetic
    return [EightBitLinear(nn.Linear(WIDTH, 5), arithmetic).requires_grad_(False) for _ in range(count)]


def norm_inputs(dtype=torch.float32, batch=2, tokens=6, groups=()):
    x, update = (strided(batch, tokens, WIDTH, dtype=dtype, device="cpu") for _ in range(2))
    gate, scale, shift = (torch.randn(batch, *groups, WIDTH).to(dtype) for _ in range(3))
    return x, update, gate, (scale, shift), tuple(torch.randn(WIDTH).to(dtype) for _ in range(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["int8", "float8"])
def test_readers_get_what_each_would_have_made_itself(name, dtype):
    readers = layers(name)
    for shape in [(1, WIDTH), (2, 7, WIDTH), (0, WIDTH)]:
        x = strided(*shape, dtype=dtype, device="cpu")
        rows = rounded_for(readers, x)
        assert isinstance(rows, EightBitRows)
        assert rows.shape == x.shape
        for reader in readers:
            assert reader(rows).dtype == dtype
            assert torch.equal(reader(rows), reader(x))
        assert rounded_for(readers, rows) is rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("groups", [(), (3,), (6,)], ids=str)
def test_norms_for_readers_are_the_same_bits_as_norms_that_they_round(dtype, groups):
    readers = layers("int8", 1)
    x, update, gate, modulation, affine = norm_inputs(dtype, groups=groups)
    for given in (affine, (None, None)):
        plain = ops.modulated_layer_norm(x, *modulation, *given, eps=1e-6)
        rows = modulated_norm_for(readers, x, modulation, given, eps=1e-6)
        assert torch.equal(readers[0](rows), readers[0](plain))
        expected, plain = ops.gated_residual_norm(x, gate, update, modulation, given, eps=1e-6)
        after, rows = gated_residual_norm_for(readers, (x, gate, update), modulation, given, eps=1e-6)
        assert torch.equal(after, expected)
        assert torch.equal(readers[0](rows), readers[0](plain))


@pytest.mark.parametrize(
    "readers",
    [
        list,
        lambda: [nn.Linear(WIDTH, 5)],
        lambda: [*layers("int8"), nn.Linear(WIDTH, 5)],
        lambda: [*layers("int8"), *layers("float8")],
        lambda: layers("restored"),
        lambda: [*layers("restored"), *layers("int8")],
        lambda: [*layers("int8"), nn.Sequential(*layers("int8", 1))],  # of what is wrapped nothing is known
    ],
    ids=["none", "plain", "plain too", "two formats", "restored", "restored too", "wrapped"],
)
def test_readers_that_do_not_round_alike_get_plain_activations(readers):
    readers = readers()
    assert shared_rounding(readers) is None
    x, update, gate, modulation, affine = norm_inputs()
    assert rounded_for(readers, x) is x
    assert torch.equal(
        modulated_norm_for(readers, x, modulation, affine), ops.modulated_layer_norm(x, *modulation, *affine)
    )
    expected = ops.gated_residual_norm(x, gate, update, modulation, affine)
    for out, same in zip(
        gated_residual_norm_for(readers, (x, gate, update), modulation, affine), expected, strict=True
    ):
        assert torch.equal(out, same)


def test_kernels_do_norm_modulation_and_rounding_in_one_pass(monkeypatch):
    need_triton("cpu")
    passes = []
    whole = rounding.modulated_norm_rows

    def counted(*args, **options):
        passes.append(quantised.resolve_backend(options["backend"], args[0], "modulated_norm_rows"))
        return whole(*args, **options)

    monkeypatch.setattr(rounding, "modulated_norm_rows", counted)
    x, update, gate, modulation, affine = norm_inputs()
    for name, environment, expected in (
        ("int8-triton", "", "triton"),
        ("int8", "triton", "triton"),  # the library multiplies what a kernel has rounded
        ("int8", "", "torch"),
    ):
        monkeypatch.setenv("EA_KERNELS", environment)
        readers = layers(name, 1)
        after, rows = gated_residual_norm_for(readers, (x, gate, update), modulation, affine)
        assert passes.pop() == expected
        exact, normed = ops.gated_residual_norm(x, gate, update, modulation, affine, backend="reference")
        torch.testing.assert_close(after, exact)
        restored = rows.eight.float() * rows.scale
        assert bool(((restored - normed).abs() <= 0.51 * rows.scale + 1e-5).all())


@pytest.mark.parametrize("which", range(5))
def test_what_is_rounded_for_readers_has_no_gradient_and_says_so(which):
    readers = layers("int8")
    x, _, _, (scale, shift), (weight, bias) = norm_inputs()
    given = [t.clone().requires_grad_(i == which) for i, t in enumerate((x, scale, shift, weight, bias))]
    with pytest.raises(ValueError, match=r"^EA_LINEAR: products in eight bits have no gradient"):
        modulated_norm_for(readers, given[0], tuple(given[1:3]), tuple(given[3:]))
    with pytest.raises(ValueError, match=r"^EA_LINEAR: products in eight bits have no gradient"):
        rounded_for(readers, given[which])
    with torch.no_grad():
        assert isinstance(
            modulated_norm_for(readers, given[0], tuple(given[1:3]), tuple(given[3:])), EightBitRows
        )


def test_layers_refuse_rows_that_they_cannot_read():
    x = torch.randn(2, WIDTH)
    rows = rounded_for(layers("float8"), x)
    with pytest.raises(TypeError, match="takes plain activations, got rounded ones"):
        EightBitLinear(nn.Linear(WIDTH, 5), RESTORED)(rows)
    with pytest.raises(ValueError, match=r"one number type, got torch\.float8_e4m3fn and torch\.int8"):
        layers("int8", 1)[0](rows)
    with pytest.raises(ValueError, match="of x8, got"):
        EightBitLinear(nn.Linear(7, 5), choose_linear(CPU, "float8").arithmetic)(rows)


def test_a_row_that_is_not_finite_spoils_itself_only():
    x = torch.randn(3, WIDTH)
    x[1, 4] = torch.inf
    (reader,) = layers("int8", 1)
    assert reader(rounded_for([reader], x)).isnan().any(dim=1).tolist() == [False, True, False]
