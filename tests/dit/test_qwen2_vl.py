"""The Qwen2-VL encoder on a tiny random model with a tokenizer made here."""

import logging

import pytest
import torch

from ea_dit.text.qwen2_vl import Qwen2VLTextEncoder, load_qwen2_vl

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["system", "You", "are", "a", "helpful", "assistant", ".", "user", "red", "circle", "moves", "left"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[UNK]"]
LENGTH = 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("qwen")
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.add_special_tokens(SPECIAL)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", unk_token="[UNK]", padding_side="left"
    )
    tokenizer.save_pretrained(root / "tokenizer")
    torch.manual_seed(0)
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        },
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
    )
    model = transformers.Qwen2VLForConditionalGeneration(config)
    model.save_pretrained(root / "text_encoder")
    return root


@pytest.fixture(scope="module")
def encoder(folders):
    loaded = load_qwen2_vl(
        folders / "text_encoder", folders / "tokenizer", dtype=torch.float32, device=torch.device("cpu")
    )
    return Qwen2VLTextEncoder(loaded.model, loaded.tokenizer, max_length=LENGTH)


def test_states_are_the_input_of_the_last_layer(encoder):
    seen = []
    layers = encoder.model.language_model.layers
    handle = layers[-1].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    states = encoder.encode(["red circle moves left"])
    handle.remove()
    assert states.states_BLE.shape == (1, LENGTH, 32)
    assert torch.equal(states.states_BLE, seen[0])


def test_padding_is_on_the_right_and_does_not_depend_on_the_batch(encoder):
    alone = encoder.encode(["red circle"])
    both = encoder.encode(["", "red circle"])
    count = int(alone.mask_BL.sum())
    assert alone.mask_BL[0].tolist() == [True] * count + [False] * (LENGTH - count)
    assert torch.equal(both.mask_BL[1], alone.mask_BL[0])
    torch.testing.assert_close(both.states_BLE[1, :count], alone.states_BLE[0, :count], atol=1e-5, rtol=1e-5)


def test_template_has_a_user_turn_and_the_generation_prompt(encoder):
    text = encoder.render("red circle")
    assert text.endswith("<|im_start|>user\nred circle<|im_end|>\n<|im_start|>assistant\n")
    assert text.startswith("<|im_start|>system\n")


def test_the_tokenizers_own_template_wins(encoder):
    class WithTemplate:
        chat_template = "{{ messages }}"

        def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
            assert add_generation_prompt
            assert not tokenize
            return messages[0]["role"] + ":" + messages[0]["content"][0]["text"]

    assert Qwen2VLTextEncoder(encoder.model, WithTemplate()).render("left") == "user:left"


def test_a_prompt_that_is_too_long_is_cut_and_reported(encoder, caplog):
    with caplog.at_level(logging.WARNING):
        states = encoder.encode(["red " * 50])
    assert bool(states.mask_BL.all())
    assert "prompt cut from" in caplog.text


def test_missing_files_are_named(folders, tmp_path):
    options = {"dtype": torch.float32, "device": torch.device("cpu")}
    with pytest.raises(ValueError, match="tokenizer of the text encoder is missing"):
        load_qwen2_vl(folders / "text_encoder", tmp_path / "none", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty"):
        load_qwen2_vl(tmp_path / "empty", folders / "tokenizer", **options)
