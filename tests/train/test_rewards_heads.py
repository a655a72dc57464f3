"""Reward heads of the hub with tiny random networks: what they compute, and what they refuse."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ea_train.rewards.base import RewardConfig
from ea_train.rewards.build import HEADS, load_reward, load_rewards
from ea_train.rewards.clip import load_pair
from ea_train.rewards.locate import function_of, located
from ea_train.rewards.pictures import CLIP_MEAN, CLIP_STD, Look

WIDTH, SIDE = 8, 8
FRAMES = torch.rand(2, 3, 3, 12, 16, generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "a red boat on a lake"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _write_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    core = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    return len(words)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP model with its tokenizer."""
    import transformers

    folder = tmp_path_factory.mktemp("clip")
    words = _write_tokenizer(folder)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": words,
            "max_position_embeddings": 24,
            "eos_token_id": words - 1,
            "projection_dim": WIDTH,
        },
        vision_config={**sizes, "image_size": SIDE, "patch_size": 4, "projection_dim": WIDTH},
        projection_dim=WIDTH,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(1)
    config = transformers.SiglipVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=4,
    )
    transformers.SiglipVisionModel(config).save_pretrained(folder)
    return folder


def _head(path, width=WIDTH, name="layers"):
    torch.manual_seed(2)
    sizes = ((width, 6), (6, 4), (4, 1))
    tensors = {}
    for number, (into, out_of) in zip((0, 2, 4), sizes, strict=True):
        tensors[f"{name}.{number}.weight"] = torch.randn(out_of, into)
        tensors[f"{name}.{number}.bias"] = torch.randn(out_of)
    save_file(tensors, path)
    return path


def _open_clip(folder, file):
    """The model of a folder in the layout of open_clip."""
    state = load_file(folder / "model.safetensors")
    made = {"logit_scale": state.pop("logit_scale")}
    for ours, theirs in (("vision_model", "visual."), ("text_model", "")):
        for layer in range(2):
            before = f"{ours}.encoder.layers.{layer}"
            after = f"{theirs}transformer.resblocks.{layer}"
            for kind in ("weight", "bias"):
                parts = [state.pop(f"{before}.self_attn.{one}_proj.{kind}") for one in "qkv"]
                made[f"{after}.attn.in_proj_{kind}"] = torch.cat(parts)
                made[f"{after}.attn.out_proj.{kind}"] = state.pop(f"{before}.self_attn.out_proj.{kind}")
                made[f"{after}.ln_1.{kind}"] = state.pop(f"{before}.layer_norm1.{kind}")
                made[f"{after}.ln_2.{kind}"] = state.pop(f"{before}.layer_norm2.{kind}")
                made[f"{after}.mlp.c_fc.{kind}"] = state.pop(f"{before}.mlp.fc1.{kind}")
                made[f"{after}.mlp.c_proj.{kind}"] = state.pop(f"{before}.mlp.fc2.{kind}")
    for kind in ("weight", "bias"):
        made[f"visual.ln_pre.{kind}"] = state.pop(f"vision_model.pre_layrnorm.{kind}")
        made[f"visual.ln_post.{kind}"] = state.pop(f"vision_model.post_layernorm.{kind}")
        made[f"ln_final.{kind}"] = state.pop(f"text_model.final_layer_norm.{kind}")
    made["visual.class_embedding"] = state.pop("vision_model.embeddings.class_embedding")
    made["visual.positional_embedding"] = state.pop("vision_model.embeddings.position_embedding.weight")
    made["visual.conv1.weight"] = state.pop("vision_model.embeddings.patch_embedding.weight")
    made["visual.proj"] = state.pop("visual_projection.weight").T
    made["token_embedding.weight"] = state.pop("text_model.embeddings.token_embedding.weight")
    made["positional_embedding"] = state.pop("text_model.embeddings.position_embedding.weight")
    made["text_projection"] = state.pop("text_projection.weight").T
    assert not state
    save_file({name: value.contiguous() for name, value in made.items()}, file)
    return file


def _mps(folder, file):
    torch.manual_seed(3)
    state = {f"model.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    heads, head, inner = 2, 4, 16
    for layer in range(2):
        first, second = (f"cross_model.layers.{layer}.{half}.fn" for half in (0, 1))
        shapes = {
            f"{first}.to_q.weight": (heads * head, WIDTH),
            f"{first}.to_kv.weight": (2 * head, WIDTH),
            f"{first}.to_out.weight": (WIDTH, heads * head),
            f"{first}.ff.0.weight": (2 * inner, WIDTH),
            f"{first}.ff.2.weight": (WIDTH, inner),
            f"{second}.fused_attn_ff_proj.weight": (heads * head + 2 * head + 2 * inner, WIDTH),
            f"{second}.attn_out.weight": (WIDTH, heads * head),
            f"{second}.ff_out.1.weight": (WIDTH, inner),
        }
        state |= {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
        for half in (first, second):
            state[f"{half}.norm.weight"] = torch.rand(WIDTH) + 0.5
            state[f"{half}.norm.bias"] = torch.zeros(WIDTH)
        state[f"{second}.rotary_emb.inv_freq"] = torch.rand(head // 2)
    save_file(state, file)
    return file


def _config(name, clip, siglip, folder):
    encoder = siglip if name == "aesthetic-v2.5" else clip
    head = {
        "aesthetic-v2": lambda: _head(folder / "a.safetensors"),
        "aesthetic-v2.5": lambda: _head(folder / "b.safetensors", name="scoring_head"),
        "hps-v2": lambda: _open_clip(clip, folder / "h.safetensors"),
        "hps-v2.1": lambda: _open_clip(clip, folder / "h.safetensors"),
        "mps": lambda: _mps(clip, folder / "m.safetensors"),
        "pickscore": lambda: "",
    }[name]()
    return RewardConfig(name=name, encoder=str(encoder), head=str(head))


@pytest.mark.parametrize("name", HEADS)
def test_every_head_judges_frames_with_a_gradient(name, clip, siglip, tmp_path):
    reward = load_reward(_config(name, clip, siglip, tmp_path))
    frames = FRAMES.clone().requires_grad_()
    scores = reward(frames, PROMPTS)
    assert scores.shape == (2,)
    scores.sum().backward()
    assert frames.grad is not None
    assert bool((frames.grad.abs().amax(dim=(1, 3, 4)) > 0).all())
    # A video's score is the mean of its frames', whatever else is in the batch.
    alone = torch.stack([reward(FRAMES[1:, :, t : t + 1], PROMPTS[1:]) for t in range(3)]).mean()
    assert torch.allclose(scores[1].detach(), alone.detach(), atol=1e-5)


def _pictures():
    x = FRAMES.transpose(1, 2).flatten(0, 1)
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bicubic", antialias=True)
    return (x - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


def _towers(clip):
    import transformers

    model = transformers.CLIPModel.from_pretrained(clip).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    tokens = tokenizer(PROMPTS, max_length=24, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        found = model(input_ids=tokens.input_ids, pixel_values=_pictures())
    return found.image_embeds, found.text_embeds


def test_scores_are_cosines_of_the_towers(clip, siglip, tmp_path):
    pictures, texts = _towers(clip)
    expected = (pictures * texts.repeat_interleave(3, dim=0)).sum(-1).view(2, 3).mean(1)
    found = load_reward(_config("hps-v2.1", clip, siglip, tmp_path))(FRAMES, PROMPTS)
    assert torch.allclose(found, expected, atol=1e-5)
    # PickScore cuts the middle out before.
    square = FRAMES[..., 2:14]
    pick = load_reward(_config("pickscore", clip, siglip, tmp_path))
    assert torch.allclose(pick(FRAMES, PROMPTS), pick(square, PROMPTS), atol=1e-6)


def test_the_aesthetic_head_is_linear_over_states_of_length_one(clip, siglip, tmp_path):
    pictures, _ = _towers(clip)
    x = pictures
    for number in (0, 2, 4):
        tensors = load_file(_head(tmp_path / "a.safetensors"))
        x = x @ tensors[f"layers.{number}.weight"].T + tensors[f"layers.{number}.bias"]
    found = load_reward(_config("aesthetic-v2", clip, siglip, tmp_path))(FRAMES, PROMPTS)
    assert torch.allclose(found, x.view(2, 3).mean(1), atol=1e-4)


def test_mps_reads_pictures_through_words(clip, siglip, tmp_path):
    reward = load_reward(_config("mps", clip, siglip, tmp_path))
    scores = reward(FRAMES, PROMPTS)
    assert bool((scores.abs() <= 1).all())
    assert not torch.allclose(scores, reward(FRAMES, PROMPTS[::-1]))
    # Without the layers above it, it is the cosine of the class token.
    state = load_file(tmp_path / "m.safetensors")
    for name in state:
        if name.endswith(("to_out.weight", "ff.2.weight", "attn_out.weight", "ff_out.1.weight")):
            state[name] = torch.zeros_like(state[name])
    save_file(state, tmp_path / "zero.safetensors")
    config = RewardConfig(name="mps", encoder=str(clip), head=str(tmp_path / "zero.safetensors"))
    pair = load_pair(clip)
    with torch.no_grad():
        patches, _ = pair.picture_states(_pictures())
        _, texts = pair.text_states(pair.tokens(PROMPTS))
    cosine = F.cosine_similarity(patches[:, 0], texts.repeat_interleave(3, dim=0))
    assert torch.allclose(load_reward(config)(FRAMES, PROMPTS), cosine.view(2, 3).mean(1), atol=1e-5)


def test_weights_that_are_not_there_are_refused(clip, siglip, tmp_path):
    with pytest.raises(
        ValueError, match=r"encoder of reward pickscore must be given: a path, or owner/name@"
    ):
        load_reward(RewardConfig(name="pickscore"))
    with pytest.raises(ValueError, match="head of reward mps must be given"):
        load_reward(RewardConfig(name="mps", encoder=str(clip)))
    with pytest.raises(ValueError, match="'owner/name@main' does not exist, and is no owner/name@commit"):
        load_reward(RewardConfig(name="pickscore", encoder="owner/name@main"))
    with pytest.raises(ValueError, match="reward pickscore has no head"):
        load_reward(RewardConfig(name="pickscore", encoder=str(clip), head=str(clip)))
    with pytest.raises(ValueError, match=r"reward 'beauty': must be one of aesthetic-v2, aesthetic-v2\.5"):
        load_reward(RewardConfig(name="beauty"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no encoder here, config\.json is missing"):
        load_reward(RewardConfig(name="pickscore", encoder=str(tmp_path / "empty")))
    torch.save({"layers.0.weight": torch.ones(1, WIDTH)}, tmp_path / "head.pth")
    pickled = RewardConfig(name="aesthetic-v2", encoder=str(clip), head=str(tmp_path / "head.pth"))
    with pytest.raises(ValueError, match="is a pickle"):
        load_reward(pickled)


def test_weights_that_do_not_fit_are_refused(clip, siglip, tmp_path):
    wide = _head(tmp_path / "wide.safetensors", width=12)
    with pytest.raises(ValueError, match="the aesthetic head reads states of 12 numbers, its encoder has 8"):
        load_reward(RewardConfig(name="aesthetic-v2", encoder=str(clip), head=str(wide)))
    other = RewardConfig(name="aesthetic-v2", encoder=str(clip), head=str(clip / "model.safetensors"))
    with pytest.raises(ValueError, match="no head of an aesthetic predictor: unexpected tensor"):
        load_reward(other)
    state = load_file(_open_clip(clip, tmp_path / "h.safetensors"))
    del state["visual.proj"]
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"visual_projection\.weight must have shape \[8, 8\], got None"):
        load_reward(RewardConfig(name="hps-v2", encoder=str(clip), head=str(tmp_path / "short.safetensors")))
    state = load_file(_mps(clip, tmp_path / "m.safetensors"))
    for name, message in (
        ("model.logit_scale", r"model\.logit_scale must have shape \[\], got nothing"),
        ("cross_model.layers.1.0.fn.to_kv.weight", r"missing tensor 'cross_model\.layers\.1\.0\.fn\.to_kv"),
    ):
        save_file({key: one for key, one in state.items() if key != name}, tmp_path / "less.safetensors")
        config = RewardConfig(name="mps", encoder=str(clip), head=str(tmp_path / "less.safetensors"))
        with pytest.raises(ValueError, match=message):
            load_reward(config)


def test_functions_are_found_by_module_and_by_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def darkness(frames, prompts):\n    return 1 - frames.mean(dim=(1, 2, 3, 4))\n"
        "def one(frames, prompts):\n    return frames.mean()\nnumber = 3\n"
    )
    mix = load_rewards([RewardConfig(name=f"{file}:darkness"), RewardConfig(name=f"{file}:one")])
    scores = load_reward(RewardConfig(name=f"{file}:darkness"))(FRAMES, PROMPTS)
    assert torch.allclose(scores, 1 - FRAMES.mean(dim=(1, 2, 3, 4)))
    with pytest.raises(ValueError, match="must give a tensor of shape"):
        mix.scores(FRAMES, PROMPTS)
    for where, message in (
        ("mine:", "write it as module:function"),
        ("no_such_module_here:f", "no_such_module_here cannot be imported"),
        (f"{tmp_path}/none.py:f", r"none\.py cannot be imported \(.*does not exist"),
        (f"{file}:light", "has no function 'light'"),
        (f"{file}:number", "has no function 'number'"),
    ):
        with pytest.raises(ValueError, match=message):
            function_of(where)


def test_lists_of_rewards_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match=r"task\.rewards must name at least one reward"):
        load_rewards([])
    with pytest.raises(ValueError, match=r"task\.rewards: torch:mean stands there twice"):
        load_rewards([RewardConfig(name="torch:mean")] * 2)
    with pytest.raises(ValueError, match="rewards: weight of mps must be above 0, got 0"):
        RewardConfig(name="mps", weight=0.0)
    with pytest.raises(ValueError, match="rewards: name must not be empty"):
        RewardConfig(name="")


def test_hub_names_have_the_commit_in_them(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: asked.append((a, k)) or str(tmp_path)
    )
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(tmp_path / "f")
    )
    assert located(f"owner/name@{COMMIT}", "encoder") == tmp_path
    assert located(f"owner/name@{COMMIT}:a/head.pth", "head") == tmp_path / "f"
    (first, options), (second, more) = asked
    assert (first, options["revision"]) == (("owner/name",), COMMIT)
    assert not any("bin" in pattern for pattern in options["allow_patterns"])
    assert (second, more["revision"]) == (("owner/name", "a/head.pth"), COMMIT)

    def offline(*names, **options):
        raise OSError("no connection\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ValueError, match=rf"encoder: owner/name@{COMMIT} cannot be fetched: no connection$"):
        located(f"owner/name@{COMMIT}", "encoder")


def test_pictures_keep_their_proportions_if_asked():
    frames = torch.zeros(1, 3, 1, 8, 16)
    frames[..., 4:12] = 1.0
    white = (1 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    cut = Look(side=4, keeps_proportions=True)(frames)
    assert torch.allclose(cut, white.view(1, 3, 1, 1).expand_as(cut), atol=1e-5)
    assert float(Look(side=4)(frames)[0, 0].min()) < 0
    assert json.dumps(RewardConfig(name="a:b").best) == "null"
