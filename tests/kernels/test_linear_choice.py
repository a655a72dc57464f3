"""What layers with eight bits compute with: by name, by EA_LINEAR, never unasked."""

import pytest
import torch
from kernel_cases import need_triton
from torch import nn

from ea_kernels.linear import NAMES, choose_arithmetic, choose_linear, describe_linear
from ea_kernels.runtime.eight_bits import EightBitLinear
from ea_kernels.runtime.placement import plan

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch):
    monkeypatch.delenv("EA_LINEAR", raising=False)


def _error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


def test_weights_are_restored_unless_something_else_is_asked_for(monkeypatch):
    assert choose_linear(CPU).name == choose_linear(CUDA).name == "restored"
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    monkeypatch.setattr("ea_kernels.linear.multiplies_float8", lambda _: True)
    assert choose_linear(CUDA).name == "restored"
    monkeypatch.setenv("EA_LINEAR", "float8")
    assert (choose_linear(CUDA).name, choose_linear(CUDA).reason) == ("float8", "asked for by EA_LINEAR")
    assert choose_linear(CUDA, "int8").reason == "asked for by name"


def test_what_cannot_be_is_an_error_that_says_why(monkeypatch):
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: False)
    with pytest.raises(ValueError, match=r"^linear 'int8' is not available: it needs a GPU .* CPU with VNNI"):
        choose_linear(CPU, "int8")
    monkeypatch.setenv("EA_LINEAR", "float8")
    with pytest.raises(ValueError, match=r"^EA_LINEAR: linear 'float8' is not available: .* 8.9 or newer"):
        choose_arithmetic(CPU)
    monkeypatch.setenv("EA_LINEAR", "four")
    with pytest.raises(ValueError, match=r"^EA_LINEAR: linear 'four' is not available; choose one of: auto"):
        choose_arithmetic(CPU)


@pytest.mark.parametrize("name", NAMES[1:])
def test_each_way_is_close_to_the_layer_it_stands_for(name):
    if name.endswith("triton"):
        need_triton("cpu")
    try:
        arithmetic = choose_linear(CPU, name).arithmetic
    except ValueError as reason:
        pytest.skip(str(reason))
    linear = nn.Linear(96, 40).requires_grad_(False)
    x = torch.randn(2, 3, 96)
    expected = linear(x)
    layer = EightBitLinear(linear, arithmetic)
    out = layer(x)
    assert (out.dtype, layer.weight.dtype) == (torch.float32, arithmetic.dtype)
    most = 0.01 if arithmetic.dtype == torch.int8 else 0.05
    assert 0 < _error(out, expected) < most
    assert _error(layer.unwrap()(x), expected) < most


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_each_way_on_a_gpu(name, kind):
    try:
        arithmetic = choose_linear(CUDA, name).arithmetic
    except ValueError as reason:
        pytest.skip(str(reason))
    linear = nn.Linear(3072, 12288).to(CUDA, kind).requires_grad_(False)
    for rows in (1, 17, 3584):  # one row, a few, and a real number of tokens
        x = torch.randn(1, rows, 3072, device=CUDA, dtype=kind)
        expected = linear(x).float()
        layer = EightBitLinear(linear, arithmetic)
        assert 0 < _error(layer(x).float(), expected) < (0.02 if arithmetic.dtype == torch.int8 else 0.06)
        layer.unwrap()


def test_products_in_eight_bits_have_no_gradient_and_say_so(monkeypatch):
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    layer = EightBitLinear(nn.Linear(16, 16), choose_linear(CPU, "int8").arithmetic)
    with pytest.raises(ValueError, match=r"^EA_LINEAR: products in eight bits have no gradient"):
        layer(torch.randn(2, 16, requires_grad=True))
    assert layer(torch.randn(2, 16)).shape == (2, 16)


def test_a_memory_mode_takes_what_was_chosen(monkeypatch):
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    monkeypatch.setenv("EA_LINEAR", "int8")
    network = nn.Module()
    network.blocks = nn.ModuleList([nn.Linear(8, 8)])
    mode = "model_cpu_offload_and_qfloat8"
    with plan({"transformer": network}, mode, "cpu", arithmetic=choose_arithmetic):
        assert network.blocks[0].weight.dtype == torch.int8
    assert network.blocks[0].weight.dtype == torch.float32
    monkeypatch.setenv("EA_LINEAR", "float8")
    with pytest.raises(ValueError, match="EA_LINEAR: linear 'float8'"):
        plan({"transformer": network}, mode, "cpu", arithmetic=choose_arithmetic)
    plan({"transformer": network}, "model_cpu_offload", "cpu", arithmetic=choose_arithmetic).close()


def test_the_choice_is_told(monkeypatch):
    chosen, others = describe_linear(CPU)
    assert chosen.name == "restored"
    assert set(others) == set(NAMES) - {"auto", "restored"}
    assert "8.9 or newer" in others["float8"]
    monkeypatch.setenv("EA_LINEAR", "float8")
    with pytest.raises(ValueError, match="EA_LINEAR"):
        describe_linear(CPU)
