"""Captions by a model on this machine: a tiny random one."""

import json

import pytest
import torch
from curation_corpus import FPS, pan

from ea_data.curation.registry import open_stage
from ea_data.curation.stage import Item
from ea_data.media import write_video

transformers = pytest.importorskip("transformers")

WORDS = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "a", "boat", "cat", "sails", "sleeps", "near", "."]
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}"
)


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=["<image>"], **names
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A directory with a model that ends every answer after as many tokens as it may write."""
    folder = tmp_path_factory.mktemp("model")
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **layers, "image_size": 32, "patch_size": 16},
        text_config={"model_type": "llama", **layers, "vocab_size": len(WORDS), "num_key_value_heads": 2},
        image_token_index=4,
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "forced_eos_token_id": 3}
    # Words alone: neither marks nor an early end.
    model.generation_config = transformers.GenerationConfig(**ends, suppress_tokens=[0, 1, 2, 4])
    model.save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(**size),
        tokenizer=_tokenizer(),
        patch_size=16,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return [write_video(folder / f"{n}.mp4", pan(n, 9, height=64, width=64), fps=FPS) for n in range(2)]


def _opened(weights, **options):
    stage = open_stage("caption-local", {"weights": str(weights), "frames": 2, "max_tokens": 8, **options})
    stage.open()
    return stage


def test_a_caption_of_words(weights, clips):
    stage = _opened(weights)
    found = [stage.measure(Item(path=path, kind="video")) for path in (*clips, clips[0])]
    assert found[0] == found[2]
    for one in found:
        assert 1 <= one["tokens"] <= 8
        assert set(one["caption"].replace(".", " . ").split()) <= set(WORDS[5:])


def test_what_frames_show_and_what_is_asked_matters(weights, clips, tmp_path):
    stage = _opened(weights)
    frames = stage._frames(Item(path=clips[0], kind="video"))
    assert len(frames) == 2
    (tmp_path / "ask.txt").write_text("a cat near a boat ?")
    other = _opened(weights, prompt=str(tmp_path / "ask.txt"))
    assert other.weights() != stage.weights()
    assert other.fingerprint() != stage.fingerprint()


def test_a_text_that_came_with_a_file_can_stay(weights, clips):
    stage = _opened(weights, keep_given=True)
    item = Item(path=clips[0], kind="video", columns={"text": " a  dog "})
    assert stage.measure(item) == {"caption": "a dog", "tokens": 0}


def test_a_caption_without_an_end_is_none(weights, clips):
    stage = _opened(weights)
    stage._model.generation_config.forced_eos_token_id = None
    stage._model.generation_config.suppress_tokens = [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the caption was cut off at max_tokens, 8"):
        stage.measure(Item(path=clips[0], kind="video"))


def test_directories_that_are_refused(weights, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match="is no model for image-text-to-text"):
        _opened(tmp_path)
    with pytest.raises(ValueError, match="offline nothing is downloaded"):
        _opened("nobody/nothing", offline=True)


def test_a_model_of_the_default_family(clips, tmp_path):
    """SmolVLM, whose processor needs torchvision, num2words and a processor of videos."""
    pytest.importorskip("torchvision")
    pytest.importorskip("num2words")
    tokenizer = _tokenizer()
    marks = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", *marks]})
    image = tokenizer.convert_tokens_to_ids("<image>")
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"model_type": "llama", **layers, "vocab_size": len(tokenizer), "num_key_value_heads": 2}
    config = transformers.SmolVLMConfig(
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        text_config={**text, "pad_token_id": 0},
        scale_factor=2,
        image_token_id=image,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.SmolVLMForConditionalGeneration(config)
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "forced_eos_token_id": 3}
    quiet = [0, 1, 2, *range(len(WORDS), len(tokenizer)), image]
    model.generation_config = transformers.GenerationConfig(**ends, suppress_tokens=quiet)
    model.save_pretrained(tmp_path)
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    sampling = {"fps": 1, "max_frames": 8, "video_size": {"longest_edge": 32}}
    transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**sizes, do_image_splitting=False),
        tokenizer=tokenizer,
        video_processor=transformers.SmolVLMVideoProcessor(**sizes, video_sampling=sampling),
        image_seq_len=4,
        chat_template=TEMPLATE + "<end_of_utterance>",
    ).save_pretrained(tmp_path)
    stage = _opened(tmp_path)
    stage.check()
    found = stage.measure(Item(path=clips[0], kind="video"))
    assert set(found["caption"].replace(".", " . ").split()) <= set(WORDS[5:])
    assert 1 <= found["tokens"] <= 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames is 0; allowed: 1 to 256"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"dtype": "int8"}, "dtype is 'int8'; allowed: float32, bfloat16, float16"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        open_stage("caption-local", options)
