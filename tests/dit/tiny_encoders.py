"""Directories of tiny random encoders with tokenizers made here, in the layout of the releases."""

import json

import torch
import transformers

WORDS = ["red", "fox", "runs", "left"]
FLOAT32 = {"dtype": torch.float32, "device": torch.device("cpu")}


def write_sentencepiece(directory, *, max_length=120):
    """A T5 tokenizer as releases have it: a SentencePiece model without `tokenizer.json`."""
    from sentencepiece import sentencepiece_model_pb2 as schema

    model = schema.ModelProto()
    control, unknown, normal = 3, 2, 1
    letters = sorted(set("".join(WORDS)))
    pieces = [("<pad>", control), ("</s>", control), ("<unk>", unknown), ("\u2581", normal)]
    pieces += [("\u2581" + word, normal) for word in WORDS] + [(letter, normal) for letter in letters]
    for number, (piece, kind) in enumerate(pieces):
        model.pieces.add(piece=piece, score=-float(number) if kind == normal else 0.0, type=kind)
    model.trainer_spec.model_type = 1
    model.trainer_spec.pad_id, model.trainer_spec.eos_id, model.trainer_spec.unk_id = 0, 1, 2
    model.trainer_spec.bos_id = -1
    model.normalizer_spec.name = "identity"
    directory.mkdir(parents=True)
    (directory / "spiece.model").write_bytes(model.SerializeToString())
    config = {
        "tokenizer_class": "T5Tokenizer",
        "model_max_length": max_length,
        "extra_ids": 0,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return len(pieces)


def write_t5(root, *, suffix="", kind="t5", width=16):
    """`text_encoder` and `tokenizer`, with a suffix such as "_2"."""
    vocabulary = write_sentencepiece(root / f"tokenizer{suffix}")
    torch.manual_seed(0)
    config_class = {"t5": transformers.T5Config, "mt5": transformers.MT5Config}[kind]
    model_class = {"t5": transformers.T5EncoderModel, "mt5": transformers.MT5EncoderModel}[kind]
    config = config_class(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    model_class(config).save_pretrained(root / f"text_encoder{suffix}")


def write_bert(root, *, pooler=True):
    """The bilingual BERT of V4 and V5: a vocabulary file and a model with a pooler."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    folder = root / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=80,
    )
    transformers.BertModel(config, add_pooling_layer=pooler).save_pretrained(root / "text_encoder")


def write_clip(folder):
    """The image encoder of V3 and V4 for 8x8 pictures."""
    torch.manual_seed(2)
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        projection_dim=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=2,
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    settings = {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
