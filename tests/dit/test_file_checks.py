"""Model directories that are wrong: one line before any weight is read; `read_outline` knows most of it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ea_dit.diffusion import DdpmSchedule, FlowMatching
from ea_dit.pipelines import components, load_components, read_outline
from ea_dit.pipelines.tiny import TINY
from ea_dit.text.pretrained import check_pretrained

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(directory, tmp_path):
    """A directory that a test may spoil."""

    def get(family):
        return Path(shutil.copytree(directory(family), tmp_path / "model"))

    return get


@pytest.fixture
def refused(monkeypatch):
    """The one line of `load_components`, which must not have begun to load anything."""

    def loads(*_, **__):
        raise AssertionError("weights are read")

    for name in ("load_vae", "load_clip_image", "load_transformer", "load_text_encoder"):
        monkeypatch.setattr(components, name, loads)

    def get(folder, **options):
        with pytest.raises(ValueError, match=r".") as caught:
            load_components(folder, dtype="float32", device="cpu", **options)
        line = str(caught.value)
        assert "\n" not in line
        return line

    return get


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(folder, change):
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    change(state)
    save_file(state, file, metadata={"format": "pt"})


def swap(folder, one, other):
    shutil.move(folder / one, folder / "kept")
    shutil.move(folder / other, folder / one)
    shutil.move(folder / "kept", folder / other)


def take(folder, directory, family, part):
    shutil.rmtree(folder / part)
    shutil.copytree(directory(family) / part, folder / part)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-10])


def pickle(file):
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()


# What, with the parts of other directories at hand, makes of a directory what is then refused how.
SPOILT = {
    "no text encoder": (
        "v5-12b-inp",
        lambda folder, directory: shutil.rmtree(folder / "text_encoder"),
        r"is no model directory: text_encoder/config\.json is missing",
    ),
    "no tokenizer": (
        "v5-12b-inp",
        lambda folder, directory: shutil.rmtree(folder / "tokenizer"),
        r"the tokenizer of the text encoder is missing: .*/tokenizer$",
    ),
    "no second tokenizer": (
        "v5-12b-inp",
        lambda folder, directory: shutil.rmtree(folder / "tokenizer_2"),
        r"the tokenizer of the text encoder is missing: .*/tokenizer_2$",
    ),
    "no tokenizer of one": (
        "v5.1-7b-t2v",
        lambda folder, directory: shutil.rmtree(folder / "tokenizer"),
        r"model: the tokenizer of text_encoder is missing: tokenizer/$",
    ),
    "empty tokenizer": (
        "v5.1-7b-t2v",
        lambda folder, directory: (folder / "tokenizer" / "tokenizer.json").unlink(),
        r"tokenizer: no tokenizer here: tokenizer\.json, spiece\.model or a vocabulary .* is missing$",
    ),
    "corrupt tokenizer": (
        "v5.1-7b-t2v",
        lambda folder, directory: (folder / "tokenizer" / "tokenizer.json").write_text('{"a": [1, 2'),
        r"tokenizer/tokenizer\.json: not valid JSON",
    ),
    "list as tokenizer": (
        "v5.1-7b-t2v",
        lambda folder, directory: (folder / "tokenizer" / "tokenizer.json").write_text("[1, 2]"),
        r"tokenizer/tokenizer\.json: must hold a JSON object, got list",
    ),
    "tokenizer without vocabulary": (
        "v5.1-7b-t2v",
        lambda folder, directory: (folder / "tokenizer" / "tokenizer.json").write_text('{"model": 3}'),
        r"tokenizer/tokenizer\.json: model must be a JSON object",
    ),
    "Open-Sora's tokenizer": (
        "open-sora-1.1",
        lambda folder, directory: (folder / "t5-v1_1-xxl" / "tokenizer.json").unlink(),
        r"t5-v1_1-xxl: no tokenizer here: tokenizer\.json, spiece\.model or a vocabulary",
    ),
    "swapped encoders": (
        "v5-12b-inp",
        lambda folder, directory: swap(folder, "text_encoder", "text_encoder_2"),
        r"text_encoder/config\.json: model_type must be bert for this transformer, got 'mt5'",
    ),
    "BERT for V5.1": (
        "v5.1-7b-t2v",
        lambda folder, directory: take(folder, directory, "v5-7b-inp", "text_encoder"),
        r"model_type must be qwen2_vl \(or _class_name ByteTextEncoder\) for this transformer, got 'bert'",
    ),
    "unknown encoder": (
        "v3-inp",
        lambda folder, directory: edit(folder / "text_encoder" / "config.json", model_type="gpt2"),
        r"model_type must be t5 or mt5 \(or _class_name ByteTextEncoder\) .*, got 'gpt2'",
    ),
    "another image encoder": (
        "v3-inp",
        lambda folder, directory: edit(folder / "image_encoder" / "config.json", model_type="bert"),
        r"image_encoder/config\.json: model_type must be clip or clip_vision_model, got 'bert'",
    ),
    "another width of images": (
        "v3-inp",
        lambda folder, directory: edit(folder / "image_encoder" / "config.json", projection_dim=20),
        r"image_encoder/config\.json: projection_dim must be 12 for this transformer, got 20",
    ),
    "wrong preprocessing": (
        "v4-inp",
        lambda folder, directory: edit(folder / "image_encoder" / "preprocessor_config.json", size="x"),
        r"image_encoder/preprocessor_config\.json: ",
    ),
    "V3 with V5's autoencoder": (
        "v3-inp",
        lambda folder, directory: take(folder, directory, "v5-7b-inp", "vae"),
        r"vae/config\.json: latent channels of the transformer must be .*, got 4 and 16",
    ),
    "V5.1 with V3's autoencoder": (
        "v5.1-7b-t2v",
        lambda folder, directory: take(folder, directory, "v3-inp", "vae"),
        r"vae/config\.json: latent channels of the transformer must be .*, got 16 and 4",
    ),
    "scaling factor": (
        "v5.1-7b-t2v",
        lambda folder, directory: edit(folder / "vae" / "config.json", scaling_factor=0),
        r"vae/config\.json: scaling_factor must be above 0, got 0",
    ),
    "V5.1 with V3's process": (
        "v5.1-7b-t2v",
        lambda folder, directory: take(folder, directory, "v3-inp", "scheduler"),
        r"scheduler_config\.json: the scheduler must be FlowMatching for this .*, got DdpmSchedule",
    ),
    "V3 with V5.1's process": (
        "v3-inp",
        lambda folder, directory: take(folder, directory, "v5.1-7b-t2v", "scheduler"),
        r"scheduler_config\.json: the scheduler must be DdpmSchedule for this .*, got FlowMatching",
    ),
    "text as shift": (
        "v5.1-7b-t2v",
        lambda folder, directory: edit(folder / "scheduler" / "scheduler_config.json", shift="x"),
        r"scheduler_config\.json: shift must be a finite number, got 'x'",
    ),
    "truncated encoder": (
        "v5-7b-inp",
        lambda folder, directory: truncate(folder / "text_encoder" / "model.safetensors"),
        r"text_encoder/model\.safetensors: is cut off: it has \d+ bytes, its header promises \d+",
    ),
    "truncated second encoder": (
        "v5-7b-inp",
        lambda folder, directory: truncate(folder / "text_encoder_2" / "model.safetensors"),
        r"text_encoder_2/model\.safetensors: is cut off",
    ),
    "truncated image encoder": (
        "v3-inp",
        lambda folder, directory: truncate(folder / "image_encoder" / "model.safetensors"),
        r"image_encoder/model\.safetensors: is cut off",
    ),
    "truncated motion modules": (
        "v1-t2v",
        lambda folder, directory: truncate(next((folder / "motion_module").iterdir())),
        r"easyanimate_v1_mm\.safetensors: not a readable safetensors file",
    ),
    "truncated transformer": (
        "v5.1-7b-t2v",
        lambda folder, directory: truncate(folder / "transformer" / WEIGHTS),
        r"diffusion_pytorch_model\.safetensors: is cut off",
    ),
    "shards that are missing": (
        "v5.1-7b-t2v",
        lambda folder, directory: (folder / "text_encoder" / "model.safetensors").rename(
            folder / "text_encoder" / "model.safetensors.index.json"
        ),
        r"model\.safetensors\.index\.json: not valid JSON",
    ),
    "pickled encoder": (
        "v5.1-7b-t2v",
        lambda folder, directory: pickle(folder / "text_encoder" / "model.safetensors"),
        r"text_encoder/pytorch_model\.bin: is a pickle, and pickles can run code; allow_pickle",
    ),
    "a billion layers": (
        "v5.1-7b-t2v",
        lambda folder, directory: edit(folder / "transformer" / "config.json", num_layers=10**9),
        r"transformer/config\.json: num_layers must be at most 1000, got 1000000000",
    ),
    "kind of a value": (
        "v1-image",
        lambda folder, directory: edit(folder / "transformer" / "config.json", num_layers=[1]),
        r"transformer/config\.json: num_layers must be a whole number of at least 1, got \[1\]",
    ),
    "Open-Sora without T5": (
        "open-sora-1.0",
        lambda folder, directory: shutil.rmtree(folder / "t5-v1_1-xxl"),
        r"no T5 encoder \(config\.json with model_type t5\) was found in any folder",
    ),
    "Open-Sora without autoencoder": (
        "open-sora-1.1",
        lambda folder, directory: shutil.rmtree(folder / "sd-vae-ft-ema"),
        r"no autoencoder \(config\.json with down_block_types\) was found in any folder",
    ),
    "Open-Sora without checkpoint": (
        "open-sora-1.1",
        lambda folder, directory: shutil.rmtree(folder / "OpenSora-STDiT-v2-stage3"),
        r"no transformer \(weights with .*, or a folder with its config\.json\) was found in any folder",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_small_files_and_headers_tell(name, copy, directory, refused):
    family, spoil, message = SPOILT[name]
    folder = copy(family)
    spoil(folder, directory)
    with pytest.raises(ValueError, match=message) as caught:
        read_outline(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert refused(folder) == str(caught.value)


def first(state, ending="weight"):
    return next(name for name in sorted(state) if name.endswith(ending) and state[name].ndim == 2)


def drop(state):
    state.pop(first(state))


def cut(state):
    state[first(state)] = state[first(state)][:-1].contiguous()


DEEPER = {
    "missing tensor": ("v5.1-7b-t2v", "text_encoder", drop, r"text_encoder: missing tensor '[\w.]+weight'$"),
    "misshapen tensor": (
        "v5.1-7b-t2v",
        "text_encoder",
        cut,
        r"text_encoder: tensor '[\w.]+weight' has shape \[\d+, \d+\], expected \[\d+, \d+\]$",
    ),
    "misshapen in T5": (
        "v3-inp",
        "text_encoder",
        cut,
        r"text_encoder: tensor '[\w.]+weight' has shape \[\d+, \d+\], expected \[\d+, \d+\]$",
    ),
    "tensor too many": (
        "v3-inp",
        "text_encoder",
        lambda state: state.update(more=torch.ones(2)),
        r"text_encoder: unexpected tensor 'more'$",
    ),
    "image encoder": ("v3-inp", "image_encoder", drop, r"image_encoder: missing tensor '[\w.]+weight'$"),
    "autoencoder": ("v5.1-7b-t2v", "vae", lambda state: state.update(a=torch.ones(2)), "vae: unexpected"),
    "transformer": ("v5.1-7b-t2v", "transformer", cut, r"transformer: tensor '[\w.]+' has shape"),
}


@pytest.mark.parametrize("name", DEEPER)
def test_names_and_shapes_of_tensors_tell(name, copy, refused):
    family, part, change, message = DEEPER[name]
    folder = copy(family)
    edit_weights(folder / part, change)
    read_outline(folder)
    assert re.search(message, refused(folder))


def test_what_an_encoder_was_trained_with_is_left_out(copy):
    folder = copy("v5-7b-inp")
    edit_weights(folder / "text_encoder_2", lambda state: state.update({"lm_head.weight": torch.ones(2)}))
    edit_weights(
        folder / "text_encoder_2", lambda state: state.update({"decoder.block.0.weight": torch.ones(2)})
    )
    assert "pooler.dense.weight" in load_file(folder / "text_encoder" / "model.safetensors")
    load_components(folder, dtype="float32", device="cpu")


def test_the_names_and_models_that_encoders_were_released_with(copy):
    """The whole models, and the names of versions before those of today."""
    folder = copy("v5-7b-inp") / "text_encoder"
    transformers.BertForPreTraining(transformers.BertConfig.from_pretrained(folder)).save_pretrained(folder)
    edit_weights(folder, lambda state: state.update({"bert.embeddings.position_ids": torch.zeros(1, 80)}))
    assert "cls.predictions.bias" in load_file(folder / "model.safetensors")
    check_pretrained("bert", folder)
    shutil.rmtree(folder.parent)
    folder = copy("v3-inp") / "text_encoder"
    transformers.T5ForConditionalGeneration(transformers.T5Config.from_pretrained(folder)).save_pretrained(
        folder
    )
    assert any(name.startswith("decoder.") for name in load_file(folder / "model.safetensors"))
    check_pretrained("t5", folder)
    shutil.rmtree(folder.parent)
    folder = copy("v5.1-7b-t2v") / "text_encoder"
    edit_weights(folder, with_names_of_the_release)
    assert "visual.patch_embed.proj.weight" in load_file(folder / "model.safetensors")
    check_pretrained("qwen2_vl", folder)
    drop_last = "model.norm.weight"
    edit_weights(folder, lambda state: state.pop(drop_last))
    with pytest.raises(
        ValueError, match=r"text_encoder: missing tensor 'model\.language_model\.norm\.weight'"
    ):
        check_pretrained("qwen2_vl", folder)


def with_names_of_the_release(state):
    for name in list(state):
        old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        state[old] = state.pop(name)


@pytest.mark.parametrize("depth", [10**9, "x", 0])
def test_a_depth_that_no_encoder_has(copy, refused, depth):
    folder = copy("v3-inp")
    edit(folder / "text_encoder" / "config.json", num_layers=depth)
    line = refused(folder)
    assert re.search(
        r"text_encoder/config\.json: num_layers must be a whole number from 1 to 1000, got", line
    )


def test_values_that_transformers_refuses(copy, refused):
    folder = copy("v3-inp")
    for changes, message in (
        ({"feed_forward_proj": "a-b-c"}, "`feed_forward_proj`: a-b-c is not a valid activation function"),
        ({"feed_forward_proj": "gated-gelu", "d_ff": "x"}, "Validation error for field 'd_ff': TypeError"),
        ({"d_ff": 10**17, "d_kv": 10**17}, ""),
    ):
        edit(folder / "text_encoder" / "config.json", **changes)
        line = refused(folder)
        assert line.startswith(f"{folder / 'text_encoder'}: ")
        assert message in line


def test_tokenizers_of_other_encoders(copy, refused, directory):
    folder = copy("v5-12b-inp")
    swap(folder, "tokenizer", "tokenizer_2")
    read_outline(folder)
    assert re.search(r"tokenizer_2: the tokenizer has 81 tokens, but its .* knows only 42", refused(folder))
    swap(folder, "tokenizer", "tokenizer_2")
    broken = folder / "tokenizer_2" / "tokenizer.json"
    broken.write_text(json.dumps(json.loads(broken.read_text()) | {"model": {"type": "Other"}}))
    assert re.search("tokenizer_2: cannot be read as a tokenizer: ", refused(folder))


def test_personalised_weights_of_another_model(copy, refused, directory, tmp_path):
    folder = copy("v5.1-7b-t2v")
    other = directory("v5-7b-inp") / "transformer" / WEIGHTS
    assert re.match(f"{other}: (tensor|unexpected|missing)", refused(folder, transformer_weights=other))
    cut_off = tmp_path / "mine.safetensors"
    shutil.copy(other, cut_off)
    truncate(cut_off)
    for read in (read_outline, load_components):
        with pytest.raises(ValueError, match=r"mine\.safetensors: is cut off"):
            read(folder, transformer_weights=cut_off)
    with pytest.raises(ValueError, match=r"none\.safetensors: no such file"):
        read_outline(folder, transformer_weights=tmp_path / "none.safetensors")


def test_with_personalised_weights_the_models_own_are_not_needed(copy, tmp_path):
    folder = copy("v5.1-7b-t2v")
    mine = (folder / "transformer" / WEIGHTS).rename(tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match="transformer: no weights"):
        read_outline(folder)
    read_outline(folder, weights=False)
    read_outline(folder, transformer_weights=mine)
    assert load_components(folder, dtype="float32", device="cpu", transformer_weights=mine).traits.moves


@pytest.mark.parametrize("family", TINY)
def test_what_is_whole_passes(directory, family):
    outline = read_outline(directory(family))
    scheduler = isinstance(outline.process, FlowMatching | DdpmSchedule)
    assert scheduler == (not family.startswith("open-sora"))
