"""A LoRA that learns: it starts as nothing, only it learns, and what it learned goes into files and back."""

import pytest
import torch
from lora_files import FAMILIES, call, network_of, quick_first, write_kohya

from ea_dit.lora import LoraConfig, add_lora, attach, lora_file, read_lora, save_lora, targets_of


def train(network, lora, *, steps=6):
    """Losses of a few steps towards a fixed output; `call` has fixed inputs."""
    torch.manual_seed(0)
    wanted = torch.randn(call(network).shape)
    optimiser = torch.optim.Adam(lora.parameters(), lr=2e-2)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (_with_gradient(network) - wanted).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach().item())
    return losses


def test_dropout_is_that_of_peft(tmp_path):
    """In training (alpha / rank) B A dropout(x), at other times as without."""
    network = network_of("v5.1-12b-inp")
    config = LoraConfig(rank=2, alpha=4.0, dropout=0.25)
    lora = add_lora(network, config, generator=torch.Generator().manual_seed(0))
    adapter = next(iter(lora.adapters.values()))
    torch.nn.init.normal_(adapter.up)
    x = torch.randn(64, adapter.down.shape[1])
    torch.manual_seed(1)
    learned = adapter.train()(x)
    torch.manual_seed(1)
    kept = torch.nn.functional.dropout(x, 0.25, training=True)
    assert 0.2 < float((kept == 0).float().mean()) < 0.3
    torch.testing.assert_close(learned, kept @ adapter.down.T @ adapter.up.T * 2.0)
    torch.testing.assert_close(adapter.eval()(x), x @ adapter.down.T @ adapter.up.T * 2.0)
    with pytest.raises(ValueError, match=r"^dropout must be from 0 to below 1, got 1.0$"):
        LoraConfig(dropout=1.0)


def _with_gradient(network):
    return call.__wrapped__(network)


@pytest.mark.parametrize("family", quick_first(FAMILIES))
def test_every_family_learns_and_nothing_else_changes(family, tmp_path):
    network = network_of(family)
    before = call(network)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    config = LoraConfig(rank=2, alpha=4.0, targets=("blocks.*", "head.*"))
    lora = add_lora(network, config, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(call(network), before)
    learning = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    assert learning == {id(parameter) for parameter in lora.parameters()}
    losses = train(network, lora)
    assert losses[-1] < losses[0] * 0.99
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())

    learned = call(network)
    assert not torch.equal(learned, before)
    kept = {name: tensor.clone() for name, tensor in lora.state_dict().items()}
    for name in ("easyanimate", "kohya", "peft"):
        other = network_of(family)
        path = save_lora(lora_file(lora.factors(), name), tmp_path / f"{name}.safetensors", name)
        overlay = attach(other, read_lora(path))
        assert set(overlay.adapters) == set(lora.adapters)
        torch.testing.assert_close(call(other), learned, rtol=1e-4, atol=1e-4)
    lora.remove()
    assert torch.equal(call(network), before)
    again = add_lora(network, config)
    again.load_state_dict(kept)
    assert torch.equal(call(network), learned)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in again.state_dict().items())


def test_recomputed_blocks_give_the_same_gradients():
    network = network_of("v5.1-12b-inp")
    lora = add_lora(network, LoraConfig(rank=2, alpha=4.0), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for parameter in lora.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    config = network.config
    given = (
        torch.randn(1, config.in_channels, 2, 4, 4, generator=generator),
        torch.tensor([500.0]),
        torch.randn(1, 5, config.text_embed_dim, generator=generator),
    )
    gradients = []
    for recompute in (False, True):
        for parameter in lora.parameters():
            parameter.grad = None
        network(*given, recompute=recompute).square().mean().backward()
        gradients.append([parameter.grad for parameter in lora.parameters()])
    # The last block leaves the text as it is, so a few of its layers are not used.
    assert sum(one is not None and bool(one.any()) for one in gradients[0]) > 0.8 * len(gradients[0])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


def test_released_files_come_back_with_the_same_tensors(tmp_path):
    network = network_of("v5.1-12b-inp")
    lora = add_lora(network, LoraConfig(rank=2, alpha=1.0, targets=("*attn1.to_q", "proj")))
    assert set(lora.adapters) == {
        "patch_embed",
        "blocks.0.attention.video.query",
        "blocks.1.attention.video.query",
    }
    train(network, lora, steps=2)
    path = save_lora(lora_file(lora.factors()), tmp_path / "a.safetensors", "easyanimate")
    file = read_lora(path)
    shapes = {layer.name: layer.shapes["lora_down"] for layer in file.header.layers}
    assert shapes["proj"] == (2, 33, 2, 2)
    for layer in file.header.layers:
        target = targets_of(network.config).find(layer.name, flat=True)
        adapter = lora.adapters[target.parts[0].layer]
        factors = file.factors(layer)
        assert (factors.alpha, factors.rank) == (1.0, 2)
        assert torch.equal(factors.tensors["lora_up"].flatten(1), adapter.up.detach())
        assert torch.equal(factors.tensors["lora_down"].flatten(1), adapter.down.detach())


def test_layers_are_chosen_by_our_names_or_released_ones():
    network = network_of("open-sora-1.1")

    def chosen(**config):
        lora = add_lora(network, LoraConfig(rank=1, alpha=1.0, **config))
        found = set(lora.adapters)
        lora.remove()
        return found

    parts = {f"blocks.{i}.spatial.{role}" for i in range(2) for role in ("query", "key", "value")}
    assert chosen(targets=("*.attn.qkv",)) == parts
    # What is one layer in files is learned as a whole.
    assert chosen(targets=("blocks.*.spatial.query",)) == parts
    assert not any("cross" in path for path in chosen(skip=("*cross*",)))
    with pytest.raises(ValueError, match=r"^targets: no layer fits nothing\.\*, neither$"):
        add_lora(network, LoraConfig(targets=("nothing.*", "neither")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"alpha": 0.0}, "alpha must be a finite number above 0"),
        ({"alpha": float("nan")}, "alpha must be a finite number above 0"),
    ],
)
def test_configs_that_are_none(values, message):
    with pytest.raises(ValueError, match=message):
        LoraConfig(**values)


def test_states_that_do_not_fit():
    network = network_of("v5.1-12b-inp")
    lora = add_lora(network, LoraConfig(rank=2, alpha=1.0, targets=("proj",)))
    state = lora.state_dict()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    for change, message in (
        ({"patch_embed.lora_up": None}, "missing tensor 'patch_embed.lora_up'"),
        ({"more": torch.ones(1)}, "unexpected tensor 'more'"),
        ({"patch_embed.lora_up": torch.ones(3, 2)}, r"has shape \[3, 2\], expected \[32, 2\]"),
    ):
        given = {name: tensor for name, tensor in {**kept, **change}.items() if tensor is not None}
        with pytest.raises(ValueError, match=message):
            lora.load_state_dict(given)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in lora.state_dict().items())
    with pytest.raises(ValueError, match="patch_embed has a LoRA over it already"):
        add_lora(network, LoraConfig(targets=("proj",)))


def test_learning_over_half_precision_and_a_given_file(tmp_path):
    network = network_of("v5.1-12b-inp", dtype=torch.bfloat16)
    from lora_files import factors_for

    file = write_kohya(tmp_path / "a.safetensors", factors_for(targets_of(network.config)), alpha=0.5)
    attach(network, read_lora(file))
    with pytest.raises(ValueError, match="has a LoRA over it already"):
        add_lora(network, LoraConfig(rank=2, alpha=2.0))
    network = network_of("v5.1-12b-inp", dtype=torch.bfloat16)
    lora = add_lora(network, LoraConfig(rank=2, alpha=4.0, targets=("blocks.*", "head.*")))
    assert {parameter.dtype for parameter in lora.parameters()} == {torch.float32}
    losses = train(network, lora)
    assert losses[-1] < losses[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert call(network).dtype == torch.bfloat16
