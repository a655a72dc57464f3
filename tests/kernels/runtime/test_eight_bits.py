"""Weights in eight bits: the stated bound, which layers, and the way back."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from ea_kernels.runtime.eight_bits import (
    FLOAT8,
    EightBitLinear,
    from_eight_bits,
    quantise,
    restore,
    to_eight_bits,
)
from ea_kernels.runtime.placement import plan

_spec = importlib.util.spec_from_file_location(
    "placement_fakes", Path(__file__).with_name("placement_fakes.py")
)
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)

MODE = "model_cpu_offload_and_qfloat8"


def _rms(values):
    return values.float().square().mean().sqrt().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [1e-4, 0.02, 1.0, 30.0])
def test_the_error_stays_within_the_stated_bound(spread, dtype):
    rows = torch.logspace(-1, 1, 33)[:, None]  # channels of very different size
    weight = (torch.randn(33, 257) * spread * rows).to(dtype)
    eight, scale = quantise(weight)
    assert (eight.dtype, scale.shape) == (FLOAT8, (33, 1))
    back = restore(eight, scale, dtype)
    assert back.dtype == dtype
    largest = weight.float().abs().amax(dim=1, keepdim=True)
    bound = torch.maximum(weight.float().abs() / 16, largest / 2**17)
    if dtype == torch.float16:
        bound = bound + 2.0**-25  # its own subnormals
    assert bool(((weight.float() - back.float()).abs() <= bound).all())
    assert _rms(weight.float() - back.float()) <= 0.03 * _rms(weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_number_of_float8_is_restored_as_torch_casts_it(dtype):
    codes = torch.arange(256, dtype=torch.uint8)
    numbers = codes[(codes & 0x7F) != 0x7F].view(FLOAT8)  # those are NaN
    weight = numbers.repeat(600, 2)[:, 3:-1]  # more than a piece of rows, rows not next to each other
    scale = 2.0 ** torch.randint(-14, 5, (600, 1))
    expected = (weight.to(torch.float64) * scale).to(dtype)
    assert torch.equal(restore(weight, scale, dtype), expected)
    assert restore(weight[:0], scale[:0], dtype).shape == (0, weight.shape[1])


@pytest.mark.parametrize("power", [-140, -100, 8, 100])
def test_scales_far_from_one_are_taken_as_they_are(power):
    weight = torch.tensor([[448.0, -1.5, 2.0**-9, 0.0]]).to(FLOAT8)
    scale = torch.tensor([[2.0**power]])
    expected = (weight.double() * scale.double()).float()
    assert torch.equal(restore(weight, scale, torch.float32), expected)


def test_scales_are_powers_of_two_and_use_the_range():
    weight = torch.cat(
        (torch.randn(500, 8) * torch.logspace(-30, 30, 500)[:, None], torch.full((1, 8), 448.0))
    )
    eight, scale = quantise(weight)
    mantissa, _ = torch.frexp(scale)
    assert bool((mantissa == 0.5).all())
    largest = eight.float().abs().amax(dim=1)
    assert float(largest.min()) >= 208  # 224 before rounding
    assert float(largest.max()) <= 448


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [1e-4, 0.02, 30.0])
def test_the_error_of_int8_stays_within_its_bound(spread, dtype):
    weight = (torch.randn(33, 257) * spread * torch.logspace(-1, 1, 33)[:, None]).to(dtype)
    eight, scale = quantise(weight, torch.int8)
    assert eight.dtype == torch.int8
    assert int(eight.min()) >= -127
    back = restore(eight, scale, dtype)
    largest = weight.float().abs().amax(dim=1, keepdim=True)
    # The working dtype rounds what is restored; float16 has subnormals.
    bound = largest / 254 * (1 + 2**-20) + largest * torch.finfo(dtype).eps / 2 + 2.0**-25
    assert bool(((weight.float() - back.float()).abs() <= bound).all())


@pytest.mark.parametrize("dtype", [FLOAT8, torch.int8])
def test_rows_of_zeros_stay_zero(dtype):
    eight, scale = quantise(torch.zeros(2, 3), dtype)
    assert torch.equal(restore(eight, scale, torch.float32), torch.zeros(2, 3))


def test_small_weights_fare_better_than_by_a_plain_cast():
    weight = torch.randn(64, 256) * 1e-3
    plain = weight.to(FLOAT8).float()
    scaled = restore(*quantise(weight), torch.float32)
    assert _rms(weight - scaled) < 0.03 * _rms(weight)
    assert _rms(weight - plain) > 10 * _rms(weight - scaled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_in_the_dtype_of_its_input(dtype):
    linear = nn.Linear(96, 40).to(dtype).requires_grad_(False)
    x = torch.randn(3, 96, dtype=dtype)
    expected = linear(x)
    rounded = EightBitLinear(linear)
    output = rounded(x)
    assert output.dtype == dtype
    assert 0 < _rms(output - expected) < 0.04 * _rms(expected)
    assert torch.equal(output, rounded.unwrap()(x))


def test_only_linear_layers_of_blocks_are_rounded():
    with torch.no_grad():
        parts = fakes.components()
    placement = plan(parts, MODE, "cpu")
    rounded = [
        name for name, module in parts["transformer"].named_modules() if isinstance(module, EightBitLinear)
    ]
    assert rounded == [f"blocks.{i}.{layer}" for i in range(3) for layer in ("up", "down")]
    assert not any(isinstance(module, EightBitLinear) for module in parts["text_encoder"].modules())
    dtypes = {name: tensor.dtype for name, tensor in parts["transformer"].named_parameters()}
    assert dtypes["blocks.0.up.weight"] == FLOAT8
    assert {dtype for name, dtype in dtypes.items() if name.removesuffix(".weight") not in rounded} == {
        torch.float32
    }
    placement.close()


def test_bytes_shrink_and_modules_come_back():
    parts = {"transformer": fakes.Network(64, (256, 256)).to(torch.bfloat16)}
    network, x = parts["transformer"], torch.randn(2, 64, dtype=torch.bfloat16)
    before, shapes = fakes.snapshot(parts), {k: v.shape for k, v in network.state_dict().items()}
    exact = network(x)
    size = sum(p.nbytes for p in network.blocks.parameters())
    placement = plan(parts, MODE, "cpu")
    assert sum(p.nbytes for p in network.blocks.parameters()) < 0.52 * size
    with placement.using("transformer"):
        output = network(x)
    placement.close()
    placement.close()
    assert {k: v.shape for k, v in network.state_dict().items()} == shapes
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert [(path, ident, names) for path, ident, _, names, _ in fakes.snapshot(parts)] == [
        (path, ident, names) for path, ident, _, names, _ in before
    ]
    assert torch.equal(network(x), output)
    assert 0 < _rms(output - exact) < 0.05 * _rms(exact)


def test_eight_bits_and_scales_travel():
    with torch.no_grad():
        parts = fakes.components()
        x = torch.randn(2, 16)
        recorder = fakes.Recorder(parts)
        placement = plan(parts, MODE, fakes.DEVICE, transfer=recorder)
        expected = parts["transformer"](x)
        with placement.using("transformer"):
            assert recorder.live == placement.bytes_of("transformer")
            output = parts["transformer"](fakes.away(x))
        assert recorder.live == 0
        assert torch.equal(fakes.at_home(output), expected)


def test_a_layer_in_two_places_stays_one():
    network = nn.Module()
    network.blocks = nn.ModuleList([nn.Module(), nn.Module()])
    shared = nn.Linear(4, 4)
    for block in network.blocks:
        block.a = block.b = shared
    assert to_eight_bits(network) == 1
    assert network.blocks[0].a is network.blocks[1].b
    from_eight_bits(network)
    assert network.blocks[0].b is network.blocks[1].a is shared


def test_what_cannot_be_rounded_is_one_clear_line():
    with torch.no_grad():
        parts = fakes.components()
        parts["transformer"].blocks[1].down.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"^transformer.blocks.1.down: weights must be finite"):
        plan(parts, MODE, "cpu")
    assert not any(isinstance(module, EightBitLinear) for module in parts["transformer"].modules())
    with pytest.raises(ValueError, match=r"^memory model_cpu_offload_and_qfloat8 needs a denoiser"):
        plan({"vae": parts["vae"]}, MODE, "cpu")
