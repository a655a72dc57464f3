"""Networks whose layers multiply in eight bits: what several read is rounded once, to the same bits."""

import pytest
import torch
from lora_files import call, factors_for, network_of, write_kohya

from ea_dit.lora import attach, read_lora, targets_of
from ea_kernels import rounding
from ea_kernels.linear import choose_linear
from ea_kernels.runtime.eight_bits import to_eight_bits
from ea_kernels.triton_ops.availability import why_not

ONE_PER_BLOCK = ("v3-inp", "v4-inp", "v5.1-12b-inp", "v5.1-7b-control", "open-sora-1.0", "open-sora-1.1")


@pytest.fixture
def roundings(monkeypatch):
    """Shapes of what was rounded."""
    found = []

    def counting(name, of):
        whole = getattr(rounding, name)

        def counted(x, *args, **options):
            found.append(tuple(x.shape))
            return whole(x, *args, **options)

        monkeypatch.setattr(of, name, counted)

    counting("quantise_rows", rounding)
    counting("modulated_norm_rows", rounding)
    return found


def eight_bit_network(name, way="int8", dtype=torch.float32):
    network = network_of(name, dtype=dtype)
    assert to_eight_bits(network, choose_linear(torch.device("cpu"), way).arithmetic) > 0
    return network


def every_layer_rounds(network, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rounding, "shared_rounding", lambda _: None)
        return call(network)


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch):
    monkeypatch.delenv("EA_KERNELS", raising=False)
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    monkeypatch.setattr("ea_kernels.linear.multiplies_float8", lambda _: True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ONE_PER_BLOCK)
def test_rounding_once_gives_the_bits_of_rounding_in_every_layer(family, dtype, monkeypatch, roundings):
    network = eight_bit_network(family, dtype=dtype)
    expected = every_layer_rounds(network, monkeypatch)
    before = len(roundings)
    roundings.clear()
    out = call(network)
    assert bool(torch.isfinite(out).all())
    assert torch.equal(out, expected)
    assert 0 < len(roundings) < before


def test_a_block_of_the_mmdit_rounds_every_stream_once_per_read(roundings):
    network = eight_bit_network("v5.1-12b-inp")
    roundings.clear()
    call(network)
    blocks = len(network.blocks)
    modulations = 2 * blocks
    # Of video and text: what q, k and v read, attention's result, what the MLP reads, and what is inside of
    # it. The last block norms the text for its keys and values, and does not update it.
    assert len(roundings) == modulations + 8 * blocks - 3


def test_kernels_that_round_with_the_norm_change_little(monkeypatch):
    if (reason := why_not(torch.device("cpu"))) is not None:
        pytest.skip(reason)
    network = eight_bit_network("v5.1-7b-control", "int8-triton")
    expected = every_layer_rounds(network, monkeypatch)
    difference = (call(network) - expected).norm() / expected.norm()
    assert float(difference) < 0.02  # a number between two neighbours may become the other one


def test_adapted_layers_see_plain_activations(tmp_path, monkeypatch):
    network = eight_bit_network("v5.1-12b-inp")
    factors = factors_for(targets_of(network.config), "lora")
    values = {name: value for name, value in factors.items() if "to_v" in name}
    assert values
    overlay = attach(network, read_lora(write_kohya(tmp_path / "a.safetensors", values)))
    base = every_layer_rounds(network, monkeypatch)
    assert torch.equal(call(network), base)
    overlay.strength = 0
    assert not torch.equal(call(network), base)
