"""Tiny random encoders with their tokenizers, in the layouts of the releases.

Tokenizers read letters, so any text is encoded and texts differ.
"""

import json
import string
from pathlib import Path
from typing import Any

STATES_WIDTH = 16
"""Width of the states of every text encoder, and of CLIP's patches."""
POOLED_WIDTH = 12
"""Width of CLIP's pooled embedding."""

_LETTERS = string.ascii_lowercase + string.digits + ".,"
_LAYERS = 2
_HEADS = 2
_INNER = 24


def write_t5(folder: Path, tokenizer_folder: Path, *, multilingual: bool = False) -> None:
    """Writes T5, or mT5, and a tokenizer that ends every text with a mark."""
    import transformers  # noqa: PLC0415  (seconds to import)
    from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415

    special = ["<pad>", "</s>", "<unk>"]
    pieces = [(piece, 0.0) for piece in special] + [(letter, -2.0) for letter in ("\u2581", *_LETTERS)]
    core = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    core.add_special_tokens(special)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tokenizer_folder)
    sizes: dict[str, Any] = {
        "vocab_size": len(pieces),
        "d_model": STATES_WIDTH,
        "d_kv": 8,
        "d_ff": _INNER,
        "num_layers": _LAYERS,
        "num_heads": _HEADS,
        "feed_forward_proj": "gated-gelu",
    }
    if multilingual:
        model = transformers.MT5EncoderModel(transformers.MT5Config(**sizes))
    else:
        model = transformers.T5EncoderModel(transformers.T5Config(**sizes))
    model.save_pretrained(folder)


def write_bert(folder: Path, tokenizer_folder: Path) -> None:
    """Writes BERT with its vocabulary file."""
    import transformers  # noqa: PLC0415

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    tokenizer_folder.mkdir(parents=True, exist_ok=True)
    (tokenizer_folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 77, "do_lower_case": True}
    (tokenizer_folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=STATES_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_INNER,
        max_position_embeddings=80,
    )
    transformers.BertModel(config).save_pretrained(folder)


def write_qwen2_vl(folder: Path, tokenizer_folder: Path) -> None:
    """Writes Qwen2-VL and a tokenizer of bytes with the marks of its chat template."""
    import transformers  # noqa: PLC0415
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*special, *letters])}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left"
    ).save_pretrained(tokenizer_folder)
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": STATES_WIDTH,
            "intermediate_size": _INNER,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": _HEADS,
            "num_key_value_heads": 1,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        },
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": STATES_WIDTH, "num_heads": 2},
    )
    transformers.Qwen2VLForConditionalGeneration(config).save_pretrained(folder)


def write_clip(folder: Path) -> None:
    """Writes CLIP's vision tower for pictures of 8 x 8 pixels, 16 patches."""
    import transformers  # noqa: PLC0415

    config = transformers.CLIPVisionConfig(
        hidden_size=STATES_WIDTH,
        intermediate_size=_INNER,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        image_size=8,
        patch_size=2,
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    settings = {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
