"""Scorers with networks, on tiny random ones."""

import json

import numpy as np
import pytest
import torch
from curation_corpus import FPS, pan
from safetensors.torch import save_file

from ea_data.curation.embedding import Embedder
from ea_data.curation.registry import open_stage
from ea_data.curation.similarity import adjacent_similarity
from ea_data.curation.stage import Item
from ea_data.curation.stages.aesthetics import head_table
from ea_data.media import write_video

transformers = pytest.importorskip("transformers")

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["<pad>", "<unk>", "a", "boat", "cat", "sails", "."]


def _save(folder, model, size=32):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    processor = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}
    processor["size"] = {"height": size, "width": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    _save_tokenizer(folder)
    return str(folder)


def _save_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    vision, text = (
        {**TOWER, "image_size": 32, "patch_size": 8},
        {**TOWER, "vocab_size": 7, "max_position_embeddings": 8},
    )
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 6}
    made = {
        "clip": transformers.CLIPModel(
            transformers.CLIPConfig(vision_config=vision, text_config={**text, **ends}, projection_dim=12)
        ),
        "siglip": transformers.SiglipModel(
            transformers.SiglipConfig(
                vision_config=vision, text_config={**text, **ends, "projection_size": 16}
            )
        ),
        "dinov2": transformers.Dinov2Model(transformers.Dinov2Config(**TOWER, image_size=32, patch_size=8)),
    }
    return {name: _save(tmp_path_factory.mktemp(name), model) for name, model in made.items()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return [write_video(folder / f"{n}.mp4", pan(n, 17, height=64, width=64), fps=FPS) for n in range(3)]


def head_file(folder, family, width):
    torch.manual_seed(1)
    state = {name: torch.randn(shape) * 0.1 for name, shape in head_table(family, width).items()}
    save_file(state, folder / f"{family}.safetensors")
    return str(folder / f"{family}.safetensors"), state


@pytest.mark.parametrize(("family", "width"), [("clip", 12), ("siglip", 16)])
def test_aesthetics(networks, clips, tmp_path, family, width):
    head, state = head_file(tmp_path, family, width)
    stage = open_stage(
        "aesthetics", {"family": family, "weights": networks[family], "head": head, "frames": 2}
    )
    stage.open()
    items = [Item(path=path, kind="video") for path in clips]
    together = stage.measure_all(items)
    alone = [stage.measure(item) for item in items]
    assert [a["aesthetic_score"] for a in together] == pytest.approx(
        [a["aesthetic_score"] for a in alone], abs=1e-4
    )
    assert len({a["aesthetic_score"] for a in alone}) == 3
    frames = np.stack([pan(0, 17, height=64, width=64)[n] for n in (0, 8)])
    vectors = torch.from_numpy(
        Embedder(family, networks[family], device="cpu", offline=True).pictures(list(frames))
    )
    values = torch.nn.functional.normalize(vectors, dim=-1)
    prefix = "layers" if family == "clip" else "scoring_head"
    for place in (0, 2, 4, 6, 7):
        values = values @ state[f"{prefix}.{place}.weight"].T + state[f"{prefix}.{place}.bias"]
    assert alone[0]["aesthetic_score"] == pytest.approx(
        float(values.mean()), abs=0.02
    )  # the clip was encoded
    assert stage.verdict({"aesthetic_score": 3.9}) == "aesthetic score 3.9 is below 4"
    assert stage.verdict({"aesthetic_score": 4.0}) == ""


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_match(networks, clips, family):
    stage = open_stage("match", {"family": family, "weights": networks[family], "least": 0.0})
    stage.open()
    scores = [
        stage.measure(Item(path=clips[0], kind="video", columns={"caption": text}))["match_score"]
        for text in ("a boat sails .", "a cat .", "boat " * 40)
    ]
    assert len(set(scores)) == 3
    assert all(-1 <= score <= 1 for score in scores)


@pytest.mark.parametrize("method", ["clip", "dinov2"])
def test_consistency(networks, clips, method):
    options = {"method": method, "weights": networks[method], "frames": "stride", "stride": 1.0}
    stage = open_stage("consistency", options)
    stage.open()
    found = stage.measure(Item(path=clips[0], kind="video"))["consistency"]
    frames = list(pan(0, 17, height=64, width=64)[[0, 8, 16]])
    vectors = Embedder(method, networks[method], device="cpu", offline=True).pictures(frames)
    assert found == pytest.approx(min(adjacent_similarity(vectors)), abs=0.02)


def test_weights_and_head_are_part_of_the_key(networks, tmp_path):
    head, state = head_file(tmp_path, "clip", 12)
    options = {"family": "clip", "weights": networks["clip"], "head": head}
    before = open_stage("aesthetics", options).fingerprint()
    assert (
        open_stage("aesthetics", {**options, "device": "cuda", "least": 5, "batch": 1}).fingerprint()
        == before
    )
    state["layers.0.bias"] += 1
    save_file(state, head)
    assert open_stage("aesthetics", options).fingerprint() != before


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("aesthetics", {"weights": "nowhere"}, "allowed: a file or directory that exists"),
        ("aesthetics", {"family": "dinov2"}, "is not one of 'siglip', 'clip'"),
        ("match", {"weights": "DINO"}, "of the type dinov2; allowed: clip"),
        ("match", {"weights": "CLIP", "device": "abacus"}, "device is 'abacus'"),
        ("consistency", {"method": "clip"}, "weights is ''"),
        ("consistency", {"weights": "CLIP"}, "allowed: none with colours"),
    ],
)
def test_wrong_networks(networks, stage, options, message):
    places = {"DINO": networks["dinov2"], "CLIP": networks["clip"]}
    options = {key: places.get(value, value) for key, value in options.items()}
    with pytest.raises(ValueError, match=message):
        open_stage(stage, {"offline": True, **options} if stage != "consistency" else options).open()
