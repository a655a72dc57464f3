"""The CLIP image encoder on a tiny random model, against transformers' own preprocessing."""

import json

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")
image_library = pytest.importorskip("PIL.Image")

from tiny_encoders import FLOAT32, write_clip  # noqa: E402

from ea_dit.text.clip_image import ClipPreprocessing, load_clip_image  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "image_encoder"
    write_clip(folder)
    return folder


def picture(height, width):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24), (30, 30), (6, 9), (8, 8)])
def test_preprocessing_is_that_of_the_releases(folder, height, width):
    levels = picture(height, width)
    pil = image_library.fromarray(np.ascontiguousarray(levels[0].permute(1, 2, 0).numpy()))
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    expected = processor(images=pil, return_tensors="pt").pixel_values
    found = load_clip_image(folder, **FLOAT32).preprocessing(levels.float() / 255)
    # Rounding of ties may differ by one level of 255.
    assert found.shape == expected.shape == (1, 3, 8, 8)
    assert ((found - expected).abs() * 0.28 * 255).max() < 1.5
    assert ((found - expected).abs() > 1e-4).float().mean() < 0.05


def test_states_are_pooled_and_patches_without_the_class_token(folder):
    encoder = load_clip_image(folder, **FLOAT32)
    states = encoder.encode(torch.rand(2, 3, 12, 20))
    assert states.pooled_BE.shape == (2, 12)
    assert states.patches_BSP.shape == (2, 16, 16)
    seen = []
    handle = encoder.model.vision_model.encoder.register_forward_hook(
        lambda module, args, output: seen.append(output.last_hidden_state)
    )
    again = encoder.encode(torch.ones(1, 3, 8, 8))
    handle.remove()
    assert torch.equal(again.patches_BSP, seen[0][:, 1:])


def test_wrong_input_and_settings_are_named(folder, tmp_path):
    encoder = load_clip_image(folder, **FLOAT32)
    with pytest.raises(ValueError, match=r"images must be \(batch, 3, height, width\), got \[3, 8, 8\]"):
        encoder.encode(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        load_clip_image(tmp_path, **FLOAT32)
    for change, message in (
        ({"do_center_crop": False}, "do_center_crop must be true, got False"),
        ({"resample": 2}, r"resample must be 3 \(bicubic\), got 2"),
        ({"crop_size": 16, "size": 8}, "crop_size must lie in 1"),
        ({"size": {"height": 8, "width": 8}}, "crop_size must lie in 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ClipPreprocessing.from_dict(json.loads(json.dumps(change)))
