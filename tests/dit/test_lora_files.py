"""LoRA files that are wrong, or that do not fit: one clear line, and nothing happens."""

import random
import re

import pytest
import torch
from lora_files import call, factors_for, network_of, random_factors, write_kohya
from safetensors.torch import load_file, save_file

from ea_dit.lora import (
    LoraUse,
    attach,
    attach_loras,
    check_loras,
    inspect_lora,
    match,
    read_lora,
    read_lora_header,
    targets_of,
)

LAYER = "transformer_blocks.0.attn1.to_q"
STEM = "lora_unet__transformer_blocks_0_attn1_to_q"
UP, DOWN, ALPHA = f"{STEM}.lora_up.weight", f"{STEM}.lora_down.weight", f"{STEM}.alpha"


@pytest.fixture(scope="module")
def network():
    return network_of("v5.1-12b-inp")


@pytest.fixture(scope="module")
def targets(network):
    return targets_of(network.config)


@pytest.fixture
def good(tmp_path):
    """A file of one layer that fits."""
    return write_kohya(tmp_path / "a.safetensors", {LAYER: random_factors((32, 32))}, alpha=1.0)


def changed(path, **changes):
    """The file with tensors by short name replaced, or left out (None)."""
    tensors = load_file(path)
    for name, tensor in changes.items():
        key = {"up": UP, "down": DOWN, "alpha": ALPHA}.get(name, name)
        tensors.pop(key, None)
        if tensor is not None:
            tensors[key] = tensor
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"up": None}, f"layer '{STEM[11:]}': lora_up is missing"),
        ({"down": None}, "lora_down is missing"),
        ({"up": None, "down": None}, "has an alpha and nothing else"),
        ({"up": torch.ones(32, 2)}, "ranks differ: lora_up has 2, lora_down has 3"),
        ({"up": torch.ones(32)}, r"lora_up must have two axes or more and no empty one, has shape \[32\]"),
        ({"up": torch.ones(32, 3, dtype=torch.int8)}, "lora_up.weight' is I8, must be floating-point"),
        ({"up": torch.ones(32, 0)}, "lora_up must have two axes or more and no empty one"),
        ({"alpha": torch.ones(2)}, r"alpha must be one number, has shape \[2\]"),
        ({"alpha": torch.ones(0)}, r"alpha must be one number, has shape \[0\]"),
        ({f"{STEM}.hada_w1_a": torch.ones(2, 2)}, "mixes LoHa and LoRA"),
        ({f"{STEM}.dora_scale": torch.ones(2, 2)}, "dora_scale' belongs to DoRA, which is not supported"),
        ({f"{STEM}.lora_magnitude_vector": torch.ones(2)}, "belongs to DoRA"),
    ],
)
def test_files_whose_factors_do_not_go_together(changes, message, good):
    path = changed(good, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_lora_header(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (4, 2)}, "hada_w2_b is missing"),
        (
            {"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (8, 2), "hada_w2_b": (2, 4)},
            "hada_w1 stands for 4 x 4 numbers, hada_w2 for 8 x 4",
        ),
        (
            {f"hada_w{n}_{s}": (2, 4) for n in "12" for s in "ab"} | {"hada_t1": (2, 2, 2, 2)},
            "hada_t2 is missing",
        ),
        (
            {f"hada_w{n}_{s}": (2, 4) for n in "12" for s in "ab"}
            | {f"hada_t{n}": (2, 3, 2, 2) for n in "12"},
            "ranks differ: hada_t1 has 2 x 3, hada_w1_a and hada_w1_b have 2 and 2",
        ),
        ({"lokr_w1": (2, 2)}, "lokr_w2_a is missing"),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (2, 3), "lokr_w2_b": (2, 2)}, "ranks differ: lokr_w2_a has 3"),
        (
            {"lora_up": (4, 3), "lora_down": (2, 4), "lora_mid": (2, 2, 1, 1)},
            "ranks differ: lora_mid has 2 x 2, lora_up and lora_down have 3 and 2",
        ),
    ],
)
def test_other_kinds_are_checked_as_well(own, message, tmp_path):
    factors = {name: torch.ones(shape) for name, shape in own.items()}
    path = write_kohya(tmp_path / "a.safetensors", {LAYER: factors})
    with pytest.raises(ValueError, match=message):
        read_lora_header(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["up", "down", "alpha"])
def test_numbers_that_are_not_finite(name, number, good):
    tensor = load_file(good)[{"up": UP, "down": DOWN, "alpha": ALPHA}[name]].clone()
    tensor.view(-1)[-1] = number
    with pytest.raises(ValueError, match="has numbers that are not finite"):
        read_lora(changed(good, **{name: tensor}))


def test_files_that_are_none(tmp_path, good, malicious):
    cases = {}
    whole = good.read_bytes()
    for name, data in {"cut": whole[:-10], "header": whole[:20], "empty": b"", "text": b"text" * 100}.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        cases[f"{name}.safetensors"] = "cut off|not a safetensors|not a readable"
    save_file({"transformer_blocks.0.attn1.to_q.weight": torch.ones(2, 2)}, tmp_path / "whole.safetensors")
    cases["whole.safetensors"] = r"is no LoRA: none of its 1 tensors .*--transformer-weights"
    cases["none.safetensors"] = "no such file or directory"
    torch.save({"a": malicious(tmp_path / "ran")}, tmp_path / "a.ckpt")
    cases["a.ckpt"] = "is a pickle, and pickles can run code; allow_pickle"
    (tmp_path / "empty").mkdir()
    cases["empty"] = "no weights; expected"
    for name, message in cases.items():
        with pytest.raises(ValueError, match=message):
            read_lora(tmp_path / name)
    with pytest.raises(ValueError, match="it names code to be run"):
        read_lora(tmp_path / "a.ckpt", allow_pickle=True)
    assert not (tmp_path / "ran").exists()


def test_damaged_bytes_are_a_line_or_nothing(good, tmp_path):
    whole = good.read_bytes()
    generator = random.Random(0)
    refused = []
    for number in range(300):
        data = bytearray(whole)
        for _ in range(1 + number % 3):
            data[generator.randrange(len(data) if number % 2 else 400)] = generator.randrange(256)
        path = tmp_path / "b.safetensors"
        path.write_bytes(data[: generator.randrange(len(data))] if number % 5 == 0 else data)
        try:
            read_lora(path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(line.startswith(str(path)) and "\n" not in line for line in refused)


def test_pickles_of_plain_tensors_are_read_when_allowed(tmp_path, good, targets, network):
    torch.save(load_file(good), tmp_path / "a.pt")
    overlay = attach(network, read_lora(tmp_path / "a.pt", allow_pickle=True), targets=targets)
    one = call(network)
    overlay.remove()
    overlay = attach(network, read_lora(good), targets=targets)
    assert torch.equal(call(network), one)
    overlay.remove()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "lora_adapter_metadata in its header is not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"transformer.use_dora": true}', "its settings have use_dora, which is not supported"),
        ('{"lora_alpha": "x"}', "lora_alpha of its settings must be a finite number, got 'x'"),
        ('{"lora_alpha": NaN}', "must be a finite number"),
        ('{"lora_alpha": 1, "alpha_pattern": [1]}', "alpha_pattern of its settings must be an object"),
        ('{"lora_alpha": 1, "alpha_pattern": {"a": "b"}}', "must be a finite number, got 'b'"),
    ],
)
def test_settings_that_are_wrong(settings, message, tmp_path):
    own = random_factors((4, 4))
    tensors = {"proj.lora_A.weight": own["lora_down"], "proj.lora_B.weight": own["lora_up"]}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": settings})
    with pytest.raises(ValueError, match=message):
        read_lora_header(tmp_path / "a.safetensors")


def spoiled(path, factors, *, unmatched=0, misshapen=0, text=0, foreign=0):
    """A file with some layers that do not fit."""
    named = dict(factors)
    for number in range(misshapen):
        named[f"transformer_blocks.1.attn1.to_{'qkv'[number]}"] = random_factors((32, 16))
    for number in range(unmatched):
        named[f"transformer_blocks.{90 + number}.attn1.to_q"] = random_factors((32, 32))
    write_kohya(path, named)
    tensors = load_file(path)
    for number in range(text):
        for factor in ("up", "down"):
            tensors[f"lora_te_encoder_{number}.lora_{factor}.weight"] = torch.ones(1, 1)
    tensors |= {f"strange_{number}": torch.ones(1) for number in range(foreign)}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"unmatched": 2}, "this model has no layer 'transformer_blocks_90_attn1_to_q' and 1 more (1 of 3"),
        ({"foreign": 1}, "this model has no layer 'strange_0' (1 of 2 layers matched, 1 unmatched)"),
        (
            {"misshapen": 3, "unmatched": 1},
            "layer 'transformer_blocks_1_attn1_to_k' changes 32 x 16 weights, the model's has 32 x 32 and 2 "
            "more (1 of 5 layers matched, 1 unmatched, 3 misshapen)",
        ),
        (
            {"text": 2},
            "layer 'lora_te_encoder_0' and 1 more are of a text encoder, which is not changed here "
            "(1 of 3 layers matched, 2 of a text encoder)",
        ),
    ],
)
def test_what_is_left_over_is_refused_unless_told(faults, message, tmp_path, targets, network):
    path = spoiled(tmp_path / "a.safetensors", {LAYER: random_factors((32, 32))}, **faults)
    file, before = read_lora(path), call(network)
    with pytest.raises(ValueError, match=re.escape(message)):
        attach(network, file, targets=targets)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_loras([LoraUse(path=path)], targets)
    assert torch.equal(call(network), before)
    (report,) = check_loras([LoraUse(path=path, strict=False)], targets)
    assert (len(report.matched), report.left_over) == (1, sum(faults.values()))
    overlay = attach(network, file, targets=targets, strict=False)
    assert list(overlay.adapters) == ["blocks.0.attention.video.query"]
    assert not torch.equal(call(network), before)
    overlay.remove()


def test_nothing_that_fits_is_always_refused(tmp_path, targets):
    path = spoiled(tmp_path / "a.safetensors", {}, unmatched=2, text=1)
    for strict in (True, False):
        with pytest.raises(
            ValueError, match=r"fits no layer of this model: 0 of 3 layers matched.*blocks_90"
        ):
            check_loras([LoraUse(path=path, strict=strict)], targets)
    path = spoiled(tmp_path / "b.safetensors", {}, misshapen=1)
    with pytest.raises(ValueError, match=r"fits no layer .*changes 32 x 16 weights"):
        check_loras([LoraUse(path=path, strict=False)], targets)


def test_a_lora_of_another_family_fits_nothing(tmp_path, targets):
    other = targets_of(network_of("open-sora-1.1").config)
    path = write_kohya(tmp_path / "a.safetensors", factors_for(other))
    with pytest.raises(ValueError, match="fits no layer of this model"):
        check_loras([LoraUse(path=path)], targets)


def test_the_same_layer_twice(tmp_path, targets):
    own = random_factors((32, 32))
    path = write_kohya(tmp_path / "a.safetensors", {LAYER: own})
    tensors = load_file(path)
    tensors |= {name.replace("unet__", "unet_"): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path)
    with pytest.raises(
        ValueError, match=r"layers .* and .* are the same \(transformer_blocks.0.attn1.to_q\)"
    ):
        match(read_lora_header(path), targets)
    tensors = load_file(write_kohya(path, {LAYER: own}))
    tensors[f"{STEM}.lora_A.weight"] = own["lora_down"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match="are the same factor"):
        read_lora_header(path)


def test_parts_of_joined_layers_by_our_names(tmp_path):
    network = network_of("open-sora-1.1")
    joined = targets_of(network.config)
    width = network.config.hidden_size
    query, whole = random_factors((width, width)), random_factors((3 * width, width))
    path = write_kohya(tmp_path / "a.safetensors", {"blocks.0.spatial.query": query})
    overlay = attach(network, read_lora(path), targets=joined)
    assert list(overlay.adapters) == ["blocks.0.spatial.query"]
    write_kohya(path, {"blocks.0.spatial.query": query, "blocks.0.attn.qkv": whole})
    with pytest.raises(ValueError, match=r"layers 'blocks_0_\w+' and 'blocks_0_\w+' are the same"):
        check_loras([LoraUse(path=path)], joined)


def test_kernels_of_another_shape(tmp_path, targets):
    own = random_factors((32, 33, 2, 2))
    turned = {**own, "lora_down": own["lora_down"].reshape(3, 33, 4, 1)}
    path = write_kohya(tmp_path / "a.safetensors", {"proj": turned})
    with pytest.raises(ValueError, match=r"is a convolution of \[33, 4, 1\], the model's of \[33, 2, 2\]"):
        check_loras([LoraUse(path=path)], targets)
    # A product over flattened kernels is the same thing, and so is a 1 x 1 convolution over a linear layer.
    flat = {"lora_up": own["lora_up"].flatten(1), "lora_down": own["lora_down"].flatten(1)}
    linear = random_factors((32, 32))
    linear = {name: tensor[..., None, None] for name, tensor in linear.items()}
    path = write_kohya(tmp_path / "b.safetensors", {"proj": flat, LAYER: linear})
    assert check_loras([LoraUse(path=path)], targets)[0].left_over == 0


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 101, -100.5, "1"])
def test_strengths_that_are_none(strength, good, network, targets):
    with pytest.raises(ValueError, match="strength must be a number from -100 to 100"):
        attach(network, read_lora(good), strength=strength, targets=targets)
    with pytest.raises(ValueError, match=r"a\.safetensors: strength must be"):
        LoraUse(path=good, strength=strength)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_factors_of_any_floating_type(dtype, tmp_path, network, targets):
    own = random_factors((32, 32))
    file = read_lora(write_kohya(tmp_path / "a.safetensors", {LAYER: own}, alpha=1.5, dtype=dtype))
    overlay = attach(network, file, targets=targets)
    (adapter,) = overlay.adapters.values()
    expected = 0.5 * own["lora_up"].to(dtype).float() @ own["lora_down"].to(dtype).float()
    torch.testing.assert_close(adapter.delta(), expected)
    assert inspect_lora(file).norm == pytest.approx(float(expected.norm()), rel=1e-5)
    overlay.remove()


def test_several_files_add_up(tmp_path, network, targets):
    paths = [
        write_kohya(tmp_path / f"{number}.safetensors", {LAYER: random_factors((32, 32), seed=number)})
        for number in range(2)
    ]
    uses = [LoraUse(path=path, strength=strength) for path, strength in zip(paths, (0.5, -2.0), strict=True)]
    overlays = attach_loras(network, uses, targets)
    layer = network.get_submodule("blocks.0.attention.video.query")
    expected = sum(
        use.strength * own["lora_up"] @ own["lora_down"]
        for use, own in ((use, random_factors((32, 32), seed=number)) for number, use in enumerate(uses))
    )
    torch.testing.assert_close(layer.change(torch.device("cpu")), expected)
    for overlay in overlays:
        overlay.remove()
