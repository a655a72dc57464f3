"""What LoRA files make of every family: W + strength * alpha / rank * up @ down, whatever the names."""

import math
from pathlib import Path

import pytest
import torch
from lora_files import (
    FAMILIES,
    call,
    factors_for,
    network_of,
    quick_first,
    random_factors,
    write_kohya,
    write_peft,
)
from safetensors.torch import load_file

from ea_dit.lora import attach, merge, read_lora, targets_of, unmerge
from ea_dit.registry import family_of

ALPHA, RANK, STRENGTH = 2.0, 3, 0.7


def released_state(network):
    key_map = family_of(network.config.to_dict()).released_names(network.config)
    return key_map, key_map.export(network.state_dict())


def by_hand(network, deltas):
    """The same network with changes added to its released weights."""
    key_map, state = released_state(network)
    for name, delta in deltas.items():
        weight = state[f"{name}.weight"]
        state[f"{name}.weight"] = weight + delta.reshape(weight.shape)
    made = family_of(network.config.to_dict()).build(network.config).eval()
    made.load_state_dict(key_map.load(state))
    return made


def product(factors):
    return factors["lora_up"].flatten(1) @ factors["lora_down"].flatten(1)


@pytest.mark.parametrize("family", quick_first(FAMILIES))
def test_overlay_and_merging_are_the_formula_for_every_layer(family, tmp_path):
    network = network_of(family)
    targets = targets_of(network.config)
    factors = factors_for(targets, rank=RANK)
    # All that a released file holds a matrix or kernel for, but tables, norms and positions.
    _, state = released_state(network)
    weights = {name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim > 1}
    assert {name for name in weights - set(factors) if "norm" not in name} <= _no_products(network)
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors, alpha=ALPHA))
    expected = by_hand(
        network, {name: STRENGTH * ALPHA / RANK * product(own) for name, own in factors.items()}
    )
    before = call(network)
    overlay = attach(network, file, strength=STRENGTH)
    assert len(overlay.report.matched) == len(factors)
    torch.testing.assert_close(call(network), call(expected), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(call(network), before, atol=1e-2)

    assert merge(network) == len(overlay.adapters)
    merged = {name.replace(".base.", "."): tensor for name, tensor in network.named_parameters()}
    for name, tensor in expected.named_parameters():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(call(network), call(expected), rtol=1e-4, atol=1e-4)
    unmerge(network)
    overlay.remove()
    assert torch.equal(call(network), before)


def _no_products(network):
    """Released matrices that are no layers: tables, positions, embeddings, joined projections."""
    tables = {
        "scale_shift_table",
        "pe",
        "positional_embedding",
        "style_embedder",
        "in_proj_weight",
        "pos_embed",
    }
    tables |= {"query", "text_embedding_padding", "clip_padding", "y_embedding", "freqs"}
    tables |= {"scale_shift_table_temporal"}
    _, state = released_state(network)
    return {
        name.removesuffix(".weight")
        for name in state
        if name.removesuffix(".weight").rsplit(".", 1)[-1] in tables
    }


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr whole"])
@pytest.mark.parametrize("family", ["v2-t2v", "v4-t2v", "v5.1-12b-inp", "open-sora-1.1"])
def test_loha_and_lokr_are_applied(family, kind, tmp_path):
    network = network_of(family)
    factors = factors_for(targets_of(network.config), kind, rank=RANK)
    path = write_kohya(tmp_path / "a.safetensors", factors, alpha=ALPHA, prefix="lycoris_")
    deltas = {name: STRENGTH * _lycoris(own, kind) for name, own in factors.items()}
    expected = by_hand(network, deltas)
    overlay = attach(network, read_lora(path), strength=STRENGTH)
    torch.testing.assert_close(call(network), call(expected), rtol=1e-3, atol=1e-3)
    merge(network)
    torch.testing.assert_close(call(network), call(expected), rtol=1e-4, atol=1e-4)
    assert len(overlay.report.matched) == len(factors)


def _lycoris(own, kind):
    if kind == "loha":
        return ALPHA / RANK * (own["hada_w1_a"] @ own["hada_w1_b"]) * (own["hada_w2_a"] @ own["hada_w2_b"])
    w1 = own["lokr_w1"]
    if kind == "lokr":
        return ALPHA / RANK * torch.kron(w1, own["lokr_w2_a"] @ own["lokr_w2_b"])
    w2 = own["lokr_w2"]
    return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2)


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_core_tensors_of_convolutions(kind, tmp_path):
    """The core stands between the two factors, index by index."""
    network = network_of("v5.1-12b-t2v")
    weight = network.patch_embed.weight
    outputs, inputs, rows, columns = weight.shape
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    if kind == "lora":
        own = {
            "lora_up": draw(outputs, 3, 1, 1),
            "lora_down": draw(2, inputs, 1, 1),
            "lora_mid": draw(3, 2, rows, columns),
        }
        expected = torch.einsum(
            "op,pqhw,qi->oihw", own["lora_up"].flatten(1), own["lora_mid"], own["lora_down"].flatten(1)
        )
    elif kind == "loha":
        own = {f"hada_w{n}_a": draw(2, outputs) for n in "12"} | {
            f"hada_w{n}_b": draw(2, inputs) for n in "12"
        }
        own |= {f"hada_t{n}": draw(2, 2, rows, columns) for n in "12"}
        one, two = (
            torch.einsum("ijhw,io,jk->okhw", own[f"hada_t{n}"], own[f"hada_w{n}_a"], own[f"hada_w{n}_b"])
            for n in "12"
        )
        expected = one * two
    else:
        own = {"lokr_w1": draw(2, 2), "lokr_w2_a": draw(3, outputs // 2), "lokr_w2_b": draw(3, inputs // 2)}
        own |= {"lokr_t2": draw(3, 3, rows, columns)}
        small = torch.einsum("ijhw,io,jk->okhw", own["lokr_t2"], own["lokr_w2_a"], own["lokr_w2_b"])
        expected = torch.kron(own["lokr_w1"][:, :, None, None], small.contiguous())
    file = read_lora(write_kohya(tmp_path / "a.safetensors", {"proj": own}))
    attach(network, file)
    before = weight.detach().clone()
    merge(network)
    torch.testing.assert_close(network.patch_embed.weight - before, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "rslora", "loha", "lokr", "lokr-whole"])
def test_changes_are_those_that_peft_computes(kind):
    folder = Path(__file__).parent / "assets" / "peft"
    expected = load_file(folder / f"{kind}.safetensors")
    network = network_of("v5.1-12b-inp")
    overlay = attach(network, read_lora(folder / kind), dtype=torch.float32)
    assert overlay.adapters.keys() == expected.keys()
    for path, delta in expected.items():
        torch.testing.assert_close(overlay.adapters[path].delta(), delta)
        layer = network.get_submodule(path)
        x = torch.randn(2, layer.base.in_features, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(layer(x) - layer.base(x), x @ delta.T, rtol=1e-4, atol=1e-4)


def test_all_spellings_are_the_same_change(tmp_path):
    network = network_of("v5.1-12b-inp")
    factors = factors_for(targets_of(network.config))
    paths = [
        write_kohya(tmp_path / f"{number}.safetensors", factors, prefix=prefix)
        for number, prefix in enumerate(("lora_unet__", "lora_unet_", "lora_transformer_", "lycoris_"))
    ]
    paths += [
        write_peft(tmp_path / f"{number}.safetensors", factors, prefix=prefix, adapter=adapter)
        for number, (prefix, adapter) in enumerate(
            (
                ("transformer.", ""),
                ("base_model.model.", ""),
                ("base_model.model.", ".default"),
                ("diffusion_model.", ""),
                ("", ""),
            ),
            start=10,
        )
    ]
    diffusers = factors_for(targets_of(network.config), layout="diffusers")
    paths += [
        write_peft(tmp_path / "d.safetensors", diffusers),
        write_kohya(tmp_path / "k.safetensors", diffusers),
    ]
    results = []
    for path in paths:
        overlay = attach(network, read_lora(path))
        assert len(overlay.report.matched) == len(factors)
        results.append(call(network))
        overlay.remove()
    assert all(torch.equal(result, results[0]) for result in results)
    assert diffusers.keys() != factors.keys()


def test_a_change_of_a_joined_projection_reaches_the_right_rows(tmp_path):
    network = network_of("open-sora-1.1")
    block = network.blocks[0]
    width = network.config.hidden_size
    own = random_factors((3 * width, width), rank=2)
    before = {
        role: getattr(block.spatial, role).weight.detach().clone() for role in ("query", "key", "value")
    }
    attach(network, read_lora(write_kohya(tmp_path / "a.safetensors", {"blocks.0.attn.qkv": own})))
    merge(network)
    for number, role in enumerate(before):
        change = getattr(block.spatial, role).weight - before[role]
        rows = slice(number * width, (number + 1) * width)
        torch.testing.assert_close(change, product(own)[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 1.0),
        ({"lora_alpha": 6}, 2.0),
        ({"lora_alpha": 6, "alpha_pattern": {"proj": 1.5}}, 0.5),
        ({"lora_alpha": 6, "alpha_pattern": {"attn1.to_q": 1.5}}, 2.0),
        ({"lora_alpha": 6, "use_rslora": True}, 6 / math.sqrt(3)),
    ],
)
def test_alphas_of_peft_are_read(settings, scale, tmp_path):
    import json

    network = network_of("v5.1-12b-t2v")
    own = random_factors(network.patch_embed.weight.shape, rank=3)
    text = {f"transformer.{key}": value for key, value in settings.items()}
    metadata = {"lora_adapter_metadata": json.dumps(text)} if settings else None
    one = read_lora(write_peft(tmp_path / "a.safetensors", {"proj": own}, metadata=metadata))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_peft(folder / "adapter_model.safetensors", {"proj": own}, prefix="base_model.model.")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    for file in (one, read_lora(folder)):
        assert file.factors(file.header.layers[0]).scale == pytest.approx(scale)
