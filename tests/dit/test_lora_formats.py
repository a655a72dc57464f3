"""Every format in and out: tensors, names and headers come back bit for bit."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from lora_files import call, factors_for, network_of, random_factors, write_kohya, write_peft
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.lora import FORMATS, attach, known, known_targets, lora_file, read_lora, save_lora, targets_of
from ea_dit.lora.names import _PREFIXES, Spelling, parse_name
from ea_dit.pipelines.tiny import TINY

FAMILY = "v5.1-12b-inp"


@pytest.fixture(scope="module")
def network():
    return network_of(FAMILY)


@pytest.fixture(scope="module")
def targets(network):
    return targets_of(network.config)


def content(path):
    with safe_open(path, framework="pt") as file:
        metadata = {key: text for key, text in (file.metadata() or {}).items() if key != "format"}
    return load_file(path), metadata


def assert_same(one, other):
    (tensors, metadata), (others, text) = content(one), content(other)
    assert tensors.keys() ^ others.keys() == set()
    assert metadata == text
    for name, tensor in tensors.items():
        assert (tensor.dtype, tensor.shape) == (others[name].dtype, others[name].shape), name
        assert torch.equal(tensor, others[name]), name


def sources(folder, targets):
    """Files as programs write them, by name."""
    factors = factors_for(targets)
    settings = {"transformer.r": 3, "transformer.lora_alpha": 1.7, "transformer.target_modules": ["to_q"]}
    peft = {"lora_adapter_metadata": json.dumps(settings, indent=1)}
    yield write_kohya(folder / "easyanimate.safetensors", factors, alpha=64.0, metadata={"sshs": "a"})
    half = {"alpha": 0.3, "dtype": torch.bfloat16, "prefix": "lora_unet_"}
    yield write_kohya(folder / "kohya-bf16.safetensors", factors, **half)
    yield write_kohya(folder / "no-alpha.safetensors", factors, dtype=torch.float16)
    yield write_peft(folder / "diffusers.safetensors", factors, metadata=peft)
    yield write_peft(folder / "plain.safetensors", factors, prefix="")
    yield write_peft(folder / "peft.safetensors", factors, prefix="base_model.model.", adapter=".default")
    mixed = load_file(folder / "easyanimate.safetensors")
    alphas = [name for name in mixed if name.endswith(".alpha")]
    del mixed[alphas[0]]
    mixed[alphas[1]] = torch.tensor([5], dtype=torch.int64)
    save_file(mixed, folder / "mixed-alphas.safetensors")
    yield folder / "mixed-alphas.safetensors"
    old = {
        name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): tensor
        for name, tensor in load_file(folder / "diffusers.safetensors").items()
    }
    save_file(old, folder / "old-diffusers.safetensors")
    yield folder / "old-diffusers.safetensors"


def test_every_way_and_back_is_bit_equal_and_the_same_change(tmp_path, network, targets):
    for source in sources(tmp_path, targets):
        file = read_lora(source)
        overlay = attach(network, file, targets=targets)
        expected = call(network)
        overlay.remove()
        for way in itertools.permutations(FORMATS, 2):
            path = source
            for number, name in enumerate((*way, file.header.format)):
                after = tmp_path / f"way-{number}.safetensors"
                save_lora(read_lora(path), after, name, targets=targets)
                made = read_lora(after)
                assert made.header.format == name
                path = after.rename(tmp_path / f"step-{number}.safetensors")
            assert_same(source, path)
        for name in FORMATS:
            path = save_lora(file, tmp_path / f"{name}-out.safetensors", name, targets=targets)
            overlay = attach(network, read_lora(path), targets=targets)
            assert torch.equal(call(network), expected), (source.name, name)
            overlay.remove()


def test_the_same_format_is_a_copy(tmp_path, targets):
    for source in sources(tmp_path, targets):
        file = read_lora(source)
        assert_same(source, save_lora(file, tmp_path / "copy.safetensors", file.header.format))


def test_a_folder_of_peft_has_its_settings(tmp_path, network, targets):
    factors = factors_for(targets)
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors, alpha=1.5))
    folder = save_lora(file, tmp_path / "adapter", "peft", targets=targets)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["peft_type"], settings["r"], settings["lora_alpha"]) == ("LORA", 3, 1.5)
    assert settings["target_modules"] == sorted(factors)
    back = save_lora(read_lora(folder), tmp_path / "back.safetensors", "easyanimate")
    assert_same(file.header.path, back)
    plain = read_lora(write_kohya(tmp_path / "b.safetensors", factors))
    values = json.loads(
        (save_lora(plain, tmp_path / "two", "peft", targets=targets) / "adapter_config.json").read_text()
    )
    assert (values["r"], values["lora_alpha"]) == (3, 3)


def test_names_of_the_other_layout(tmp_path, network, targets):
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors_for(targets), alpha=2.0))
    path = save_lora(file, tmp_path / "d.safetensors", "peft", targets=targets, layout="diffusers")
    names = load_file(path)
    assert "transformer.transformer_blocks.0.attn1.add_q_proj.lora_A.weight" in names
    assert not any("attn2" in name for name in names)
    assert_same(
        tmp_path / "a.safetensors", save_lora(read_lora(path), tmp_path / "b.safetensors", "easyanimate")
    )
    with pytest.raises(ValueError, match=r"has no diffusers name; give its model"):
        save_lora(file, tmp_path / "e.safetensors", "peft", layout="diffusers")


def test_dots_are_not_guessed(tmp_path, targets):
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors_for(targets)))
    with pytest.raises(
        ValueError, match=r"layer 'proj' needs its model|needs its model to tell where dots are"
    ):
        save_lora(file, tmp_path / "b.safetensors", "peft")
    assert not (tmp_path / "b.safetensors").exists()
    # Underscores for underscores need nobody.
    path = save_lora(file, tmp_path / "c.safetensors", "kohya")
    assert all(name.startswith("lora_unet_proj") or "lora_unet__" not in name for name in load_file(path))


def test_peft_files_have_no_loha_and_kohya_files_do(tmp_path, targets):
    file = read_lora(
        write_kohya(tmp_path / "a.safetensors", {"proj": random_factors((32, 33, 2, 2), "loha")})
    )
    with pytest.raises(ValueError, match="is a LoHa, which PEFT's files of LoRAs lack"):
        save_lora(file, tmp_path / "b.safetensors", "peft", targets=targets)
    path = save_lora(file, tmp_path / "c.safetensors", "kohya")
    assert "lora_unet_proj.hada_w1_a" in load_file(path)
    assert_same(
        tmp_path / "a.safetensors", save_lora(read_lora(path), tmp_path / "d.safetensors", "easyanimate")
    )


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr-whole"])
def test_what_only_settings_of_peft_say_is_not_lost(kind, tmp_path):
    source = Path(__file__).parent / "assets" / "peft" / kind
    file = read_lora(source)
    with pytest.raises(ValueError, match=r"which PEFT's files of LoRAs lack"):
        save_lora(file, tmp_path / "a.safetensors", "peft")
    if kind == "lokr-whole":
        with pytest.raises(ValueError, match=r"no factor for two whole matrices, PEFT's settings say one"):
            save_lora(file, tmp_path / "a.safetensors", "kohya")
        return
    made = read_lora(save_lora(file, tmp_path / "a.safetensors", "kohya"))
    for one, other in zip(file.header.layers, made.header.layers, strict=True):
        torch.testing.assert_close(file.factors(one).delta(), made.factors(other).delta())


def test_dotted_names_of_lycoris_come_back(tmp_path):
    own = random_factors((32, 33, 2, 2), "lokr whole")
    tensors = {f"diffusion_model.proj.{name}": tensor for name, tensor in own.items()}
    save_file(tensors | {"diffusion_model.proj.alpha": torch.tensor(2.0)}, tmp_path / "a.safetensors")
    kohya = save_lora(read_lora(tmp_path / "a.safetensors"), tmp_path / "k.safetensors", "kohya")
    assert "lora_unet_proj.lokr_w1" in load_file(kohya)
    assert_same(tmp_path / "a.safetensors", save_lora(read_lora(kohya), tmp_path / "b.safetensors", "peft"))


def test_layers_of_text_encoders_are_written_too(tmp_path, targets):
    own = random_factors((8, 8))
    path = write_kohya(tmp_path / "a.safetensors", {"proj": random_factors((32, 33, 2, 2))})
    te = write_kohya(
        tmp_path / "te.safetensors", {"encoder.block.0.layer.0.SelfAttention.q": own}, prefix="lora_te_"
    )
    save_file(load_file(path) | load_file(te), path)
    file = read_lora(path)
    assert_same(path, save_lora(file, tmp_path / "b.safetensors", "easyanimate"))
    kohya = save_lora(file, tmp_path / "k.safetensors", "kohya")
    assert_same(path, save_lora(read_lora(kohya), tmp_path / "c.safetensors", "easyanimate"))
    with pytest.raises(
        ValueError, match=r"a text encoder's layer 'encoder_block_0.* is not known where it has dots"
    ):
        save_lora(file, tmp_path / "d.safetensors", "peft", targets=targets)
    dotted = write_peft(
        tmp_path / "p.safetensors",
        {"text_encoder.encoder.block.0": own, "transformer.proj": random_factors((8, 8), seed=1)},
        prefix="",
    )
    flat = save_lora(read_lora(dotted), tmp_path / "f.safetensors", "kohya")
    assert "lora_te_encoder_block_0.lora_up.weight" in load_file(flat)
    assert_same(dotted, save_lora(read_lora(flat), tmp_path / "g.safetensors", "peft"))


@pytest.mark.parametrize("name", FORMATS)
def test_files_from_memory(name, tmp_path, targets):
    from ea_dit.lora import Factors

    factors = {
        layer: Factors(kind="lora", tensors=own, alpha=0.5) for layer, own in factors_for(targets).items()
    }
    file = lora_file(factors, name, metadata={"made": "here"})
    path = save_lora(file, tmp_path / "a.safetensors", name)
    read = read_lora(path)
    assert (read.header.format, len(read.header.layers), content(path)[1]["made"]) == (
        name,
        len(factors),
        "here",
    )
    for layer in read.header.layers:
        assert read.factors(layer).scale == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("family", ["v1-t2v", "v3-inp", "v5-7b-t2v", "v5.1-7b-control", "open-sora-1.1"])
def test_the_release_is_told_by_names_alone(family, tmp_path):
    own = targets_of(TINY[family].config)
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors_for(own), alpha=1.0))
    known = known_targets(file.header)
    for layer in file.header.layers:
        assert known.find(layer.name, flat=True).names == own.find(layer.name, flat=True).names
    odd = read_lora(write_kohya(tmp_path / "b.safetensors", {"odd": random_factors((4, 4))}))
    assert known_targets(odd.header) is None


@pytest.mark.slow
def test_every_release_is_known_by_its_names():
    released = [config for presets in (MMDIT, PIXART, STDIT, HUNYUAN3D) for config in presets.values()]
    tried = {names_of(config) for config in known._configs()}
    assert len(tried) < len(released)
    assert {names_of(config) for config in released} <= tried


def names_of(config):
    return frozenset(tuple(target.names.items()) for target in targets_of(config))


@pytest.mark.parametrize("adapter", ["", ".default"])
@pytest.mark.parametrize("style", ["kohya", "peft", "dotted", "linear"])
@pytest.mark.parametrize("prefix", sorted({prefix for prefix, _, _ in _PREFIXES}))
def test_names_are_read_as_they_are_written(prefix, style, adapter):
    spelling = Spelling(prefix=prefix, style=style, adapter=adapter if style == "peft" else "")
    layer = "blocks_0_attn_qkv" if spelling.flat else "blocks.0.attn.qkv"
    for factor in ("lora_up", "lora_down"):
        found = parse_name(spelling.write("blocks.0.attn.qkv", factor))
        assert (found.layer, found.factor, found.spelling) == (layer, factor, spelling)
    for factor in ("alpha", "lora_mid", "hada_w1_a", "hada_t2", "lokr_w1", "lokr_w2_b", "lokr_t2"):
        found = parse_name(spelling.write("blocks.0.attn.qkv", factor))
        assert (found.layer, found.factor, found.spelling.prefix) == (layer, factor, prefix)
    assert parse_name(f"{prefix}blocks.0.attn.qkv.weight") is None
    assert parse_name(f"{prefix}.alpha" if prefix else ".alpha") is None


def test_a_wrong_place_is_refused(tmp_path, targets):
    file = read_lora(write_kohya(tmp_path / "a.safetensors", factors_for(targets)))
    with pytest.raises(ValueError, match=r"b\.bin: must end with \.safetensors"):
        save_lora(file, tmp_path / "b.bin", "kohya")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ValueError, match="full exists already"):
        save_lora(file, tmp_path / "full", "peft", targets=targets)


def test_a_damaged_origin_is_refused(tmp_path):
    whole = {"format": "kohya", "spelling": {"prefix": "lora_unet_", "style": "kohya", "adapter": ""}}
    changes = (
        {"alpha": "save:0"},
        {"alpha": 1},
        {"alpha": {"proj": "float32"}},
        {"names": ["proj"]},
        {"names": {"proj": 1}},
        {"metadata": {"a": {}}},
        {"spelling": {"prefix": "lora_unet_", "style": "no"}},
        {"spelling": {"prefix": "lora_unet_", "style": "kohya", "adapter": 1}},
        {"spelling": {"prefix": ["lora_unet_"], "style": "kohya"}},
        {"more": 1},
    )
    for text in (
        *(json.dumps({**whole, **change}) for change in changes),
        "{",
        "[]",
        "1",
        '{"format": "x"}',
        '{"format": "kohya", "spelling": {"prefix": "?", "style": "peft"}}',
    ):
        path = write_kohya(
            tmp_path / "a.safetensors", {"proj": random_factors((4, 4))}, metadata={"ea_lora_origin": text}
        )
        with pytest.raises(ValueError, match="ea_lora_origin in its header is damaged"):
            save_lora(read_lora(path), tmp_path / "b.safetensors", "kohya")
