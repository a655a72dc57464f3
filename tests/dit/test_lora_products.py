"""LoHa and LoKr that learn: they start as nothing, and what they learned goes into files and back."""

import pytest
import torch
from lora_files import FAMILIES, call, network_of, quick_first

from ea_dit.lora import LoraConfig, add_lora, attach, lora_file, merge, read_lora, save_lora, targets_of
from ea_dit.lora.products import split_size, start_product

KINDS = {
    "loha": {"kind": "loha"},
    "lokr": {"kind": "lokr", "rank": 1},
    "lokr of whole parts": {"kind": "lokr", "rank": 64, "factor": 4},
}


def train(network, lora, *, steps=6):
    torch.manual_seed(0)
    wanted = torch.randn(call(network).shape)
    optimiser = torch.optim.Adam(lora.parameters(), lr=2e-2)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (call.__wrapped__(network) - wanted).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach().item())
    return losses


_PAIRS = [
    *((family, ("loha", "lokr")[number % 2]) for number, family in enumerate(FAMILIES)),
    *(("open-sora-1.1", kind) for kind in KINDS),
]


@pytest.mark.parametrize(("family", "kind"), quick_first((), *sorted(set(_PAIRS))))
def test_every_family_learns_and_files_say_the_same(family, kind, tmp_path):
    network = network_of(family)
    before = call(network)
    config = LoraConfig(**{"rank": 2, "alpha": 4.0, "targets": ("*",), **KINDS[kind]})
    lora = add_lora(network, config, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(call(network), before)
    learning = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in lora.parameters()}
    losses = train(network, lora)
    assert losses[-1] < losses[0] * 0.99
    learned = call(network)
    for name in ("easyanimate", "kohya"):
        path = save_lora(lora_file(lora.factors(), name), tmp_path / f"{name}.safetensors", name)
        other = network_of(family)
        overlay = attach(other, read_lora(path))
        assert set(overlay.adapters) == set(lora.adapters)
        torch.testing.assert_close(call(other), learned, rtol=1e-4, atol=1e-4)
    merge(network)
    torch.testing.assert_close(call(network), learned, rtol=1e-4, atol=1e-4)
    assert not any(parameter.grad_fn for parameter in network.parameters())


def test_checkpoints_hold_shared_factors_once():
    network = network_of("open-sora-1.1")
    config = LoraConfig(kind="loha", rank=2, alpha=2.0, targets=("*.attn.qkv",))
    lora = add_lora(network, config, generator=torch.Generator().manual_seed(0))
    train(network, lora, steps=2)
    kept, learned = {n: t.clone() for n, t in lora.state_dict().items()}, call(network)
    released = [target.name for target in targets_of(network.config) if target.name.endswith(".attn.qkv")]
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    assert kept.keys() == {f"{layer}.{name}" for layer in released for name in names}
    assert len(lora.adapters) == 3 * len(released)
    lora.remove()
    again = add_lora(network, config)
    again.load_state_dict(kept)
    assert torch.equal(call(network), learned)


def test_sizes_of_a_kronecker_product():
    assert split_size(48, 0) == (6, 8)
    assert split_size(48, 4) == (4, 12)
    assert split_size(7, 0) == (1, 7)
    small = start_product("lokr", (64, 96, 2, 2), rank=2, factor=8, generator=None)
    assert {name: tuple(tensor.shape) for name, tensor in small.items()} == {
        "lokr_w1": (8, 8),
        "lokr_w2_a": (8, 2),
        "lokr_w2_b": (2, 48),
    }
    whole = start_product("lokr", (64, 96, 2, 2), rank=16, factor=8, generator=None)
    assert tuple(whole["lokr_w2"].shape) == (8, 12, 2, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "dora"}, "kind must be one of lora, loha, lokr, got 'dora'"),
        ({"kind": "lokr", "factor": -1}, "factor must be at least 0, got -1"),
    ],
)
def test_configs_that_are_none(values, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**values)
