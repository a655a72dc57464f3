"""T5, and BERT with mT5, from tiny random directories in the released layout."""

import json
import logging
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

from tiny_encoders import FLOAT32, write_bert, write_t5  # noqa: E402

from ea_dit.text.bert_t5 import load_bert_t5  # noqa: E402
from ea_dit.text.t5 import LENGTHS, load_t5  # noqa: E402


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("t5")
    write_t5(root)
    return root


@pytest.fixture(scope="module")
def pair_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    write_bert(root)
    write_t5(root, suffix="_2", kind="mt5")
    return root


def t5(folder, **options):
    return load_t5(folder / "text_encoder", folder / "tokenizer", **FLOAT32, **options)


def test_t5_reads_releases_lengths_with_the_mask(t5_folder):
    assert LENGTHS["easyanimate-v1"] == LENGTHS["open-sora-1.0"] == 120
    assert LENGTHS["open-sora-1.1"] == 200
    states = t5(t5_folder).encode(["red fox", ""])
    assert states.states_BLE.shape == (2, 120, 16)
    # Words, then the end mark.
    assert states.mask_BL.sum(dim=1).tolist() == [3, 1]
    assert states.second is None


def test_t5_gives_last_hidden_states_of_a_masked_run(t5_folder):
    encoder = t5(t5_folder, max_length=10)
    states = encoder.encode(["red fox runs"])
    tokens = encoder.tokenizer(["red fox runs"], return_tensors="pt")
    with torch.no_grad():
        alone = encoder.model(**tokens).last_hidden_state
    count = alone.shape[1]
    assert states.mask_BL[0].tolist() == [True] * count + [False] * (10 - count)
    torch.testing.assert_close(states.states_BLE[:, :count], alone, atol=1e-5, rtol=1e-5)


def test_without_the_mask_padding_takes_part(t5_folder):
    masked = t5(t5_folder, max_length=10).encode(["red"])
    open_ = t5(t5_folder, max_length=10, use_mask=False).encode(["red"])
    assert torch.equal(masked.mask_BL, open_.mask_BL)
    assert not torch.allclose(masked.states_BLE[:, 0], open_.states_BLE[:, 0], atol=1e-4)


def test_a_long_prompt_is_cut_before_its_end_mark_and_reported(t5_folder, caplog):
    encoder = t5(t5_folder, max_length=6)
    with caplog.at_level(logging.WARNING):
        states = encoder.encode(["red fox runs left red fox runs left", "red"])
    assert "prompt cut from 9 to 6 tokens" in caplog.text
    assert caplog.text.count("prompt cut") == 1
    same_cut = encoder.encode(["red fox runs left red"])
    assert torch.equal(states.states_BLE[:1], same_cut.states_BLE)


def test_texts_are_cleaned_first(t5_folder):
    cleaned = t5(t5_folder, max_length=8, clean=str.lower).encode(["RED Fox"])
    plain = t5(t5_folder, max_length=8).encode(["red fox"])
    assert torch.equal(cleaned.states_BLE, plain.states_BLE)
    with pytest.raises(ValueError, match="at least one text"):
        t5(t5_folder).encode([])


def test_pair_gives_both_states_at_their_lengths(pair_folder):
    states = load_bert_t5(pair_folder, **FLOAT32, use_mask=True).encode(["red fox", "", "left"])
    assert states.states_BLE.shape == (3, 77, 8)
    assert states.mask_BL.sum(dim=1).tolist() == [4, 2, 3]
    assert states.second is not None
    assert states.second.states_BLE.shape == (3, 256, 16)
    assert states.second.mask_BL.sum(dim=1).tolist() == [3, 1, 2]
    short = load_bert_t5(pair_folder, **FLOAT32, use_mask=True, lengths=(7, 9)).encode(["red"])
    assert (short.states_BLE.shape[1], short.second.states_BLE.shape[1]) == (7, 9)


@pytest.mark.parametrize("use_mask", [True, False])
def test_pair_reads_last_hidden_states_under_both_mask_rules(pair_folder, use_mask):
    encoder = load_bert_t5(pair_folder, **FLOAT32, use_mask=use_mask, lengths=(7, 9))
    states = encoder.encode(["red fox"])
    for part, found in ((encoder.bert, states), (encoder.t5, states.second)):
        tokens = part.tokenizer(
            "red fox", padding="max_length", max_length=part.max_length, return_tensors="pt"
        )
        mask = tokens["attention_mask"] if use_mask else None
        with torch.no_grad():
            expected = part.model(input_ids=tokens["input_ids"], attention_mask=mask).last_hidden_state
        torch.testing.assert_close(found.states_BLE, expected, atol=1e-6, rtol=1e-5)


def test_a_bert_without_pooler_is_as_good(pair_folder, tmp_path):
    shutil.copytree(pair_folder, tmp_path / "copy")
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(tmp_path / "copy" / part)
    write_bert(tmp_path / "copy", pooler=False)
    states = load_bert_t5(tmp_path / "copy", **FLOAT32, use_mask=True).encode(["red"])
    assert states.states_BLE.shape == (1, 77, 8)


def test_what_is_missing_is_named(t5_folder, pair_folder, tmp_path):
    with pytest.raises(ValueError, match=r"two text encoders, text_encoder_2/config.json is missing"):
        load_bert_t5(t5_folder, **FLOAT32, use_mask=True)
    with pytest.raises(ValueError, match="model_type must be t5 or mt5, got 'bert'"):
        load_t5(pair_folder / "text_encoder", t5_folder / "tokenizer", **FLOAT32)
    with pytest.raises(ValueError, match="the tokenizer of the text encoder is missing"):
        load_t5(t5_folder / "text_encoder", tmp_path / "none", **FLOAT32)
    shutil.copytree(t5_folder / "text_encoder", tmp_path / "deeper")
    config = tmp_path / "deeper" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 3}))
    with pytest.raises(ValueError, match=r"deeper: missing tensor 'encoder.block.2.*more"):
        load_t5(tmp_path / "deeper", t5_folder / "tokenizer", **FLOAT32)
    (tmp_path / "deeper" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="deeper: "):
        load_t5(tmp_path / "deeper", t5_folder / "tokenizer", **FLOAT32)


def test_loading_is_strict_by_itself(t5_folder, tmp_path):
    """Also where nobody asked for a check before."""
    folder = tmp_path / "text_encoder"

    def refused(change):
        shutil.copytree(t5_folder / "text_encoder", folder, dirs_exist_ok=True)
        file = folder / "model.safetensors"
        state = load_file(file)
        change(state)
        save_file(state, file, metadata={"format": "pt"})
        with pytest.raises(ValueError, match="text_encoder: ") as caught:
            load_t5(folder, t5_folder / "tokenizer", **FLOAT32)
        return str(caught.value).removeprefix(f"{folder}: ")

    name = "encoder.block.0.layer.1.DenseReluDense.wo.weight"
    assert refused(lambda state: state.update(more=torch.ones(1))) == "unexpected tensor 'more'"
    assert refused(lambda state: state.pop(name)) == f"missing tensor {name!r}"
    cut = refused(lambda state: state.update({name: state[name][:-1].contiguous()}))
    assert cut == f"tensor {name!r} has shape [15, 24], expected [16, 24]"
    shutil.copytree(t5_folder / "text_encoder", folder, dirs_exist_ok=True)
    os.truncate(folder / "model.safetensors", 5000)
    with pytest.raises(ValueError, match=r"model\.safetensors: is cut off"):
        load_t5(folder, t5_folder / "tokenizer", **FLOAT32)
