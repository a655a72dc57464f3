"""Overlays: exactly nothing when off, several at once, merged and taken out, in every memory mode."""

import copy

import pytest
import torch
from lora_files import call, factors_for, network_of, random_factors, write_kohya

from ea_dit import load_transformer, save_transformer
from ea_dit.lora import LoraUse, attach, attach_loras, merge, read_lora, targets_of, unmerge
from ea_dit.pipelines.tiny import TINY
from ea_dit.registry import family_of
from ea_kernels.runtime.eight_bits import EightBitLinear
from ea_kernels.runtime.placement import plan
from ea_kernels.runtime.placement_moves import blocks_of

ONE_PER_FAMILY = ("v3-inp", "v4-inp", "v5.1-12b-inp", "open-sora-1.0", "open-sora-1.1")
# Every network once, and every number type once: the other pairs are behind `-m slow`.
QUICK = {(family, torch.float32) for family in ONE_PER_FAMILY}
QUICK |= {("v4-inp", torch.bfloat16), ("v5.1-12b-inp", torch.float16), ("open-sora-1.1", torch.bfloat16)}
PAIRS = [
    pytest.param(
        family, dtype, id=f"{family}-{dtype}", marks=() if (family, dtype) in QUICK else pytest.mark.slow
    )
    for family in ONE_PER_FAMILY
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
]


def files_of(network, folder, kinds=("lora", "loha"), **changes):
    targets = targets_of(network.config)
    return [
        read_lora(
            write_kohya(folder / f"{kind}.safetensors", factors_for(targets, kind), alpha=1.5, **changes)
        )
        for kind in kinds
    ]


@pytest.mark.parametrize(("family", "dtype"), PAIRS)
def test_off_is_the_base_to_the_bit(family, dtype, tmp_path):
    network = network_of(family, dtype=dtype)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modules = [type(module) for module in network.modules()]
    base = call(network)
    one, two = (attach(network, file, strength=0.5) for file in files_of(network, tmp_path))
    both = call(network)
    assert not torch.equal(both, base)
    assert bool(torch.isfinite(both).all())
    two.strength = 0
    first = call(network)
    assert not torch.equal(first, both)
    one.strength = 0.0
    assert torch.equal(call(network), base)
    one.strength, two.strength = 0.5, 1.0
    two.remove()
    assert torch.equal(call(network), first)
    one.remove()
    assert torch.equal(call(network), base)
    assert [type(module) for module in network.modules()] == modules
    after = network.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())


def test_the_order_of_taking_off_does_not_matter(tmp_path):
    network = network_of("v5.1-12b-inp")
    base = call(network)
    one, two = (attach(network, file) for file in files_of(network, tmp_path))
    one.remove()
    alone = call(network)
    two.remove()
    assert torch.equal(call(network), base)
    again = attach(network, files_of(network, tmp_path)[1])
    assert torch.equal(call(network), alone)
    again.remove()


def test_strengths_add_up_and_take_away(tmp_path):
    network = network_of("v5.1-12b-inp", dtype=torch.float64)
    base = call(network)
    file = files_of(network, tmp_path, kinds=("lora",))[0]
    whole = attach(network, file, strength=0.75, dtype=torch.float64)
    expected = call(network)
    whole.remove()
    parts = [attach(network, file, strength=strength, dtype=torch.float64) for strength in (1.0, 0.5, -0.75)]
    torch.testing.assert_close(call(network), expected)
    parts[0].strength = 0.25
    torch.testing.assert_close(call(network), base)
    for part in parts:
        part.remove()


@pytest.mark.parametrize(("family", "dtype"), PAIRS)
def test_merging_leaves_nothing_behind(family, dtype, tmp_path):
    network = network_of(family, dtype=dtype)
    weights = dict(network.named_parameters())
    copies = {name: parameter.detach().clone() for name, parameter in weights.items()}
    base = call(network)
    overlays = [attach(network, file, strength=0.3) for file in files_of(network, tmp_path)]
    over = call(network)
    for _ in range(5):
        assert merge(network) > 0
        into = call(network)
        unmerge(network)
    coarse = {torch.float32: 1e-3, torch.bfloat16: 0.3, torch.float16: 0.05}[dtype]
    error = (into - over).float().square().mean().sqrt() / (over - base).float().square().mean().sqrt()
    assert float(error) < coarse
    for overlay in overlays:
        overlay.remove()
    assert torch.equal(call(network), base)
    after = dict(network.named_parameters())
    assert all(after[name] is parameter for name, parameter in weights.items())
    assert all(torch.equal(after[name], tensor) for name, tensor in copies.items())


def test_merged_weights_are_the_float32_sum_rounded_once(tmp_path):
    network = network_of("v5.1-12b-inp", dtype=torch.bfloat16)
    own = random_factors((32, 32))
    layer = network.get_submodule("blocks.0.attention.video.query")
    before = layer.weight.detach().float()
    path = write_kohya(tmp_path / "a.safetensors", {"transformer_blocks.0.attn1.to_q": own})
    overlay = attach(network, read_lora(path), strength=0.5, dtype=torch.float32)
    merge(network)
    expected = (before + 0.5 * own["lora_up"] @ own["lora_down"]).bfloat16()
    assert torch.equal(network.get_submodule("blocks.0.attention.video.query").weight, expected)
    for wrong in (lambda: merge(network), overlay.remove, lambda: setattr(overlay, "strength", 1.0)):
        with pytest.raises(ValueError, match="merged"):
            wrong()
    with pytest.raises(ValueError, match="unmerge it first"):
        attach(network, read_lora(path))
    unmerge(network)
    unmerge(network)
    overlay.remove()
    overlay.remove()
    assert network.get_submodule("blocks.0.attention.video.query") is layer


def test_what_was_kept_follows_the_network(tmp_path):
    network = network_of("v5.1-12b-inp")
    attach(network, files_of(network, tmp_path, kinds=("lora",))[0])
    weight = network.get_submodule("blocks.0.attention.video.query").weight
    kept = weight.detach().clone()
    merge(network)
    network.to(torch.bfloat16)
    unmerge(network)
    after = network.get_submodule("blocks.0.attention.video.query").weight
    assert after is weight
    assert torch.equal(after, kept.bfloat16())
    assert call(network).dtype == torch.bfloat16


def test_adapters_are_not_taken_for_blocks(tmp_path):
    network = network_of("v5.1-12b-inp")
    blocks = blocks_of(network)
    attach(network, files_of(network, tmp_path, kinds=("lora",))[0])
    assert blocks_of(network) == blocks


def test_state_and_files_of_a_covered_model_are_its_own(tmp_path):
    network = network_of("v5.1-12b-inp")
    save_transformer(network, tmp_path / "before")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    attach(network, files_of(network, tmp_path)[0])
    covered = call(network)
    for merged in (False, True):
        if merged:
            merge(network)
        assert network.state_dict().keys() == state.keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
        save_transformer(network, tmp_path / f"covered-{merged}")
        loaded = load_transformer(tmp_path / f"covered-{merged}")
        assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    unmerge(network)
    network.load_state_dict({name: tensor * 2 for name, tensor in state.items()})
    assert torch.equal(
        network.state_dict()["blocks.0.attention.video.query.weight"],
        2 * state["blocks.0.attention.video.query.weight"],
    )
    network.load_state_dict(state)
    assert torch.equal(call(network), covered)
    merge(network)
    network.load_state_dict(state)
    assert torch.equal(call(network), covered)
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict({})
    assert torch.equal(call(copy.deepcopy(network)), covered)


@pytest.mark.parametrize("first", ["lora", "placement"])
def test_over_layers_of_eight_bits(first, tmp_path):
    network = network_of("v5.1-12b-inp")
    file = files_of(network, tmp_path, kinds=("lora",))[0]
    mode = "model_cpu_offload_and_qfloat8"
    plain = network_of("v5.1-12b-inp")
    with plan({"transformer": plain}, mode, "cpu") as bare:
        rounded = call(plain)
        assert bare.mode == mode
        if first == "lora":
            overlay = attach(network, file)
        with plan({"transformer": network}, mode, "cpu") as placement, placement.using("transformer"):
            if first == "placement":
                overlay = attach(network, file)
            layers = [module for module in network.modules() if isinstance(module, EightBitLinear)]
            assert len(layers) == len([m for m in plain.modules() if isinstance(m, EightBitLinear)]) > 0
            over = call(network)
            assert not torch.equal(over, rounded)
            overlay.strength = 0
            assert torch.equal(call(network), rounded)
            with pytest.raises(ValueError, match=r"stored in eight bits, which cannot hold the sum"):
                merge(network)
            overlay.strength = 1
        # Out of eight bits: rounded weights, and the same overlay.
        assert not any(isinstance(module, EightBitLinear) for module in network.modules())
        torch.testing.assert_close(call(network), over, rtol=1e-4, atol=1e-4)
        overlay.remove()
        assert torch.equal(call(network), rounded)


@pytest.mark.parametrize("mode", ["model_cpu_offload", "sequential_cpu_offload", "low_gpu_memory_mode"])
def test_factors_travel_with_their_layers(mode, tmp_path):
    network = network_of("v5.1-12b-inp")
    attach(network, files_of(network, tmp_path, kinds=("lora",))[0])
    attach(network, files_of(network, tmp_path, kinds=("loha",))[0], strength=0.5)
    expected = call(network)
    right = {}
    for tensor in network.parameters():
        right[tensor.data_ptr()] = tensor.detach().clone()
        tensor.data.fill_(torch.nan)  # so that using what is at home shows

    def transfer(tensor, _device):
        return right[tensor.data_ptr()].clone() if tensor.data_ptr() in right else tensor.clone()

    with plan({"transformer": network}, mode, "cpu", transfer=transfer) as placement:
        assert bool(call(network).isnan().any())
        with placement.using("transformer"):
            assert torch.equal(call(network), expected)


def test_several_loras_of_one_call_are_undone_by_their_handles(tmp_path):
    network = network_of("open-sora-1.1")
    base = call(network)
    targets = targets_of(network.config)
    paths = [
        write_kohya(tmp_path / f"{kind}.safetensors", factors_for(targets, kind)) for kind in ("lora", "lokr")
    ]
    overlays = attach_loras(network, [LoraUse(path=path) for path in paths], targets)
    assert not torch.equal(call(network), base)
    for overlay in overlays:
        overlay.remove()
    assert torch.equal(call(network), base)


@pytest.mark.parametrize("family", sorted(TINY))
def test_names_of_targets_are_unique_and_complete(family):
    config = TINY[family].config
    targets = targets_of(config)
    network = family_of(config.to_dict()).build(config)
    layers = [part.layer for target in targets for part in target.parts]
    assert (
        len(layers)
        == len(set(layers))
        == sum(
            type(module).__name__ in ("Linear", "PatchEmbed", "VideoPatchEmbed")
            for module in network.modules()
        )
    )
    for target in targets:
        for name in target.names.values():
            assert targets.find(name, flat=False) is target
            assert targets.find(name.replace(".", "_"), flat=True) is target
        rows = sum(network.get_submodule(part.layer).weight.shape[0] for part in target.parts)
        assert rows == target.shape[0]
    assert targets.find("nothing", flat=False) is None
