"""The memory modes: order of moves, peak residency, same outputs, and what happens after errors."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from ea_kernels.runtime.placement import POLICIES, choose_mode, plan, resolve_mode
from ea_kernels.runtime.placement_moves import blocks_of, weight_bytes

# Test folders are no packages, so a neighbour is loaded by its path.
_spec = importlib.util.spec_from_file_location(
    "placement_fakes", Path(__file__).with_name("placement_fakes.py")
)
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)
DEVICE = fakes.DEVICE

OFFLOADING = [mode for mode, policy in POLICIES.items() if not policy.resident]
EXACT = [mode for mode in OFFLOADING if not POLICIES[mode].float8]


@pytest.fixture
def parts():
    with torch.no_grad():
        yield fakes.components()


def _size(module):
    return weight_bytes(module.modules())


def _placed(parts, mode, capacity=None):
    recorder = fakes.Recorder(parts, capacity)
    return plan(parts, mode, DEVICE, transfer=recorder), recorder


def test_a_component_is_on_the_device_while_it_is_used_and_at_no_other_time(parts):
    placement, recorder = _placed(parts, "model_cpu_offload")
    assert recorder.events == []
    with placement.using("text_encoder"):
        assert recorder.live == _size(parts["text_encoder"])
    assert recorder.live == 0
    with placement.using("vae"):
        pass
    with placement.using("transformer"):
        pass
    assert recorder.order(1) == [
        ("in", "text_encoder"), ("out", "text_encoder"), ("in", "vae"), ("out", "vae"),
        ("in", "transformer"), ("out", "transformer"),
    ]  # fmt: skip
    assert recorder.peak == _size(parts["transformer"])
    assert recorder.live == 0


@pytest.mark.parametrize("mode", ["sequential_cpu_offload", "low_gpu_memory_mode"])
def test_blocks_come_one_at_a_time(parts, mode):
    placement, recorder = _placed(parts, mode)
    network = parts["transformer"]
    sizes = [_size(block) for block in network.blocks]
    rest = _size(network) - sum(sizes)
    with placement.using("transformer"):
        assert recorder.live == rest
        network(fakes.away(torch.randn(2, 16)))
        assert recorder.live == rest
    rows = [entry for entry in recorder.order(3) if ".blocks." in entry[1]]
    assert rows == [(kind, f"transformer.blocks.{i}") for i in range(3) for kind in ("in", "out")]
    assert recorder.peak == rest + max(sizes)
    assert recorder.live == 0


def test_a_part_of_a_block_may_be_called_on_its_own(parts):
    placement, recorder = _placed(parts, "sequential_cpu_offload")
    block, x = parts["transformer"].blocks[1], torch.randn(2, 16)
    with placement.using("transformer"):
        rest = recorder.live
        output = block.norm(fakes.away(x))
        assert (recorder.live, recorder.peak) == (rest, rest + _size(block.norm))
    assert torch.equal(block.norm(x), fakes.at_home(output))


@pytest.mark.parametrize("mode", EXACT)
def test_outputs_are_identical(parts, mode):
    x = torch.randn(2, 16)
    expected = parts["transformer"](x)
    placement, _ = _placed(parts, mode)
    with placement.using("transformer"):
        first, second = (parts["transformer"](fakes.away(x)) for _ in range(2))
    assert torch.equal(expected, fakes.at_home(first))
    assert torch.equal(expected, fakes.at_home(second))
    assert torch.equal(expected, parts["transformer"](x))


@pytest.mark.parametrize("mode", EXACT)
def test_modules_are_as_before_outside_of_uses(parts, mode):
    before = fakes.snapshot(parts)
    placement, _ = _placed(parts, mode)
    assert fakes.snapshot(parts) == before
    with placement.using("transformer", "vae"):
        assert fakes.snapshot(parts) != before
    assert fakes.snapshot(parts) == before
    placement.close()
    assert fakes.snapshot(parts) == before


@pytest.mark.parametrize("mode", OFFLOADING)
def test_an_error_in_a_block_leaves_everything_at_home(parts, mode):
    placement, recorder = _placed(parts, mode)
    before = fakes.snapshot(parts)
    parts["transformer"].blocks[1].fails = True
    with pytest.raises(RuntimeError, match="broken block") as caught, placement.using("transformer"):
        parts["transformer"](fakes.away(torch.randn(2, 16)))
    assert fakes.snapshot(parts) == before
    del caught  # its frames hold activations and weights
    assert recorder.live == 0
    parts["transformer"].blocks[1].fails = False
    with placement.using("transformer"):
        parts["transformer"](fakes.away(torch.randn(2, 16)))


@pytest.mark.parametrize(
    ("mode", "share", "advice"),
    [
        ("model_cpu_offload", 0.9, "use model_cpu_offload_and_qfloat8 or sequential_cpu_offload, or a"),
        ("model_cpu_offload_and_qfloat8", 0.9, "use sequential_cpu_offload, or a"),
        ("sequential_cpu_offload", 0.5, "use a smaller size"),
    ],
)
def test_a_full_device_is_one_clear_line(parts, mode, share, advice):
    recorder = fakes.Recorder(parts)
    placement = plan(parts, mode, DEVICE, transfer=recorder)
    recorder.capacity = int(share * placement.bytes_of("transformer"))
    before = fakes.snapshot(parts)
    expected = rf"^memory is too small on meta for transformer \(.* of weights\) with {mode}; {advice}"
    with pytest.raises(ValueError, match=expected) as caught, placement.using("transformer"):
        parts["transformer"](fakes.away(torch.randn(2, 16)))
    assert "\n" not in str(caught.value)
    assert fakes.snapshot(parts) == before


def test_uses_nest(parts):
    placement, recorder = _placed(parts, "model_cpu_offload")
    with placement.using("vae"):
        with placement.using("vae", "text_encoder"):
            assert recorder.live == _size(parts["vae"]) + _size(parts["text_encoder"])
        assert recorder.live == _size(parts["vae"])
    assert recorder.live == 0


def test_forgetting_to_say_what_is_used_is_an_error_of_the_device(parts):
    placement, _ = _placed(parts, "model_cpu_offload")
    with placement.using("vae"), pytest.raises(RuntimeError, match="same device"):
        parts["transformer"](fakes.away(torch.randn(2, 16)))


def test_changes_at_home_count(parts):
    placement, _ = _placed(parts, "sequential_cpu_offload")
    with placement.using("transformer"):
        pass
    network, x = parts["transformer"], torch.randn(2, 16)
    network.blocks[0].up = nn.Linear(16, 16)
    network.scale.mul_(2)
    with placement.using("transformer"):
        output = network(fakes.away(x))
    assert torch.equal(network(x), fakes.at_home(output))


def test_names_are_checked(parts):
    placement, _ = _placed(parts, "model_cpu_offload")
    with pytest.raises(
        ValueError, match=r"component must be one of text_encoder, transformer, vae; got 'dit'"
    ):
        placement.using("dit").__enter__()
    with placement:
        pass
    with pytest.raises(ValueError, match="closed"):
        placement.using("vae").__enter__()


def test_modes_have_their_released_names(parts):
    assert resolve_mode("sequential_cpu_offload") == "sequential_cpu_offload"
    assert POLICIES["low_gpu_memory_mode"] == POLICIES["sequential_cpu_offload"]
    allowed = "auto, model_full_load, model_cpu_offload, model_cpu_offload_and_qfloat8, "
    with pytest.raises(ValueError, match=f"memory must be one of {allowed}.*; got 'none'"):
        plan(parts, "none", "cpu")
    with pytest.raises(ValueError, match="device must be"):
        plan(parts, "auto", "gpu")


@pytest.mark.parametrize("mode", ["auto", "model_full_load", *EXACT])
def test_on_the_cpu_nothing_moves(parts, mode):
    before = fakes.snapshot(parts)
    placement = plan(parts, mode, "cpu")
    with placement.using("transformer", "vae"):
        assert fakes.snapshot(parts) == before
    assert placement.mode == ("model_full_load" if mode == "auto" else mode)
    assert placement.reason == ""


def test_copies_are_on_the_device(parts):
    placement = plan(parts, "sequential_cpu_offload", "meta")
    network = parts["transformer"]
    with placement.using("transformer"):
        assert network.first.weight.is_meta
        assert network.first.weight is network.last.weight
        assert not network.scale.requires_grad
        assert network.blocks[0].up.weight.device.type == "cpu"
        assert network(torch.empty(2, 16, device="meta")).is_meta
    assert network.first.weight is network.last.weight
    assert network.first.weight.device.type == "cpu"


@pytest.mark.parametrize("guard", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_weights_come_whatever_is_recorded(guard):
    parts = fakes.components()
    network, x = parts["transformer"], torch.randn(2, 16)
    placement = plan(parts, "sequential_cpu_offload", "cpu", transfer=lambda tensor, _: tensor.clone())
    with placement.using("transformer"), guard():
        output = network(x)
    assert torch.equal(output, network(x))
    assert network.first.weight.requires_grad
    assert not network.first.weight.is_inference()


def test_networks_on_meta_are_refused(parts):
    with pytest.raises(ValueError, match=r"^vae: weights must be loaded before"):
        plan({"vae": parts["vae"].to("meta")}, "model_cpu_offload", "cpu")


@pytest.mark.parametrize(
    ("gigabytes", "mode"),
    [(80, "model_full_load"), (40, "model_cpu_offload"), (24, "sequential_cpu_offload")],
)
def test_the_automatic_choice_follows_the_free_memory(gigabytes, mode):
    """Parts as large as those of the 12B model of V5.1, on the cards that its users have."""
    with torch.device("meta"):
        parts = {
            name: nn.Linear(1, int(billions * 1e9), bias=False, dtype=torch.bfloat16)
            for name, billions in (("transformer", 12), ("text_encoder", 8.3), ("vae", 0.25))
        }
    choice = choose_mode(parts, torch.device("cuda"), free_bytes=int(gigabytes * 1e9))
    assert choice.mode == mode
    assert "41.1 GB" in choice.reason
    assert f"{gigabytes}.0 GB" in choice.reason


def test_blocks_are_the_elements_of_the_outermost_lists():
    inner = nn.ModuleList([nn.Linear(1, 1)])
    outer = nn.Module()
    outer.inner = inner
    shared = nn.Linear(1, 1)
    network = nn.Sequential(nn.Linear(1, 1), nn.ModuleList([outer, shared, nn.ModuleList([shared])]))
    assert blocks_of(network) == [outer, shared]
    assert blocks_of(nn.Linear(1, 1)) == []


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["model_full_load", *OFFLOADING])
def test_on_a_gpu(mode):
    torch.manual_seed(0)
    network = fakes.Network(256, (256, 1024, 256)).requires_grad_(False)
    x = torch.randn(4, 256, device="cuda")
    placement = plan({"transformer": network}, mode, "cuda")
    before = torch.cuda.memory_allocated()
    with placement.using("transformer"):
        torch.cuda.reset_peak_memory_stats()
        output = network(x)
        peak = torch.cuda.max_memory_allocated() - before
    assert torch.cuda.memory_allocated() - before <= output.nbytes
    placement.close()
    expected = network.cuda()(x)
    torch.testing.assert_close(output, expected)
    if POLICIES[mode].by_block:
        assert peak < 0.9 * _size(network)
