"""Requests: mode, wrong input, JSON."""

import json

import pytest
import torch
from given import request_of

from ea_dit.pipelines import Control, Frames, GenerationRequest

SIZE = {"height": 32, "width": 48, "num_frames": 5}
IMAGE = torch.rand(3, 32, 48)
VIDEO = torch.rand(3, 5, 32, 48)
MASK = torch.ones(5, 32, 48)


def frame(at, **changes):
    return Frames(pixels=IMAGE, at=at, **changes)


def make(**changes):
    return request_of({"prompt": "a red circle", **SIZE, **changes})


@pytest.mark.parametrize(
    ("inputs", "mode"),
    [
        ({}, "text_to_video"),
        ({"num_frames": 1}, "text_to_image"),
        ({"image": IMAGE}, "image_to_video"),
        ({"image": VIDEO[:, :2]}, "image_to_video"),
        ({"last_image": IMAGE}, "image_to_video"),
        ({"image": IMAGE, "last_image": IMAGE}, "image_to_video"),
        ({"conditions": [frame(1), frame(3)], "image": IMAGE}, "image_to_video"),
        ({"clip_image": IMAGE}, "text_to_video"),
        ({"video": VIDEO, "strength": 0.5}, "video_to_video"),
        ({"video": VIDEO, "mask": MASK}, "masked_video"),
        ({"video": (VIDEO * 255).byte(), "mask": MASK[0].bool(), "strength": 0.3}, "masked_video"),
        ({"control": torch.rand(3, 5, 20, 20)}, "control"),
        ({"camera": torch.randn(6, 5, 32, 48)}, "control"),
        ({"reference": torch.rand(3, 20, 20)}, "control"),
    ],
)
def test_mode_follows_from_what_is_given(inputs, mode):
    request = make(**inputs)
    request.validate()
    assert request.mode == mode


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "prompt must not be empty"),
        ({"prompt": " \n"}, "prompt must not be empty"),
        ({"prompt": "x" * 2001}, "prompt must have at most 2000 characters, got 2001"),
        ({"prompt": 3}, "prompt must be text, got int"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt must have at most 2000"),
        ({"height": 15}, "height must be a whole number between 16 and 4096, got 15"),
        ({"width": 0}, "width must be a whole number between 16 and 4096, got 0"),
        ({"width": 4112}, "width must be a whole number between 16 and 4096"),
        ({"height": 32.0}, "height must be a whole number"),
        ({"num_frames": 0}, "num_frames must be a whole number between 1 and 1025, got 0"),
        ({"num_frames": 2000}, "num_frames must be a whole number between 1 and 1025"),
        ({"num_frames": True}, "num_frames must be a whole number"),
        ({"num_steps": 0}, "num_steps must be a whole number between 1 and 1000, got 0"),
        ({"seed": -1}, "seed must be a whole number between 0"),
        ({"seed": 2**63}, "seed must be a whole number between 0"),
        ({"fps": 0}, "fps must be a whole number between 1 and 120"),
        ({"guidance_scale": -1}, "guidance_scale must be a number between 0 and 100, got -1"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number between 0 and 100"),
        ({"guidance_rescale": 2}, "guidance_rescale must be a number between 0 and 1"),
        ({"strength": 1.5, "video": VIDEO}, "strength must be a number between 0 and 1"),
        ({"strength": 0, "video": VIDEO}, "strength must be above 0"),
        ({"strength": 0.5}, "strength below 1 needs a video"),
        ({"noise_aug_strength": -0.1}, "noise_aug_strength must be a number between 0 and 1"),
        ({"video": VIDEO}, "video without a mask needs strength below 1"),
        ({"video": VIDEO, "mask": MASK, "image": IMAGE}, "video cannot be combined with image"),
        ({"image": IMAGE[:, :16]}, "image must have the shape 3 x 32 x 48, got 3 x 16 x 48"),
        ({"image": IMAGE.transpose(1, 2)}, "image must have the shape 3 x 32 x 48, got 3 x 48 x 32"),
        ({"image": IMAGE * 2}, "image must lie in 0 ... 1"),
        ({"image": IMAGE.int()}, "image must be floating point in 0 ... 1 or uint8"),
        ({"image": IMAGE * float("nan")}, "image must lie in 0 ... 1"),
        ({"image": VIDEO}, r"num_frames must be above the number of given frames \(5\)"),
        ({"image": IMAGE, "num_frames": 1}, "num_frames must be above the number of given frames"),
        ({"last_image": VIDEO}, r"last_image must lie in frames 0 ... 4 of the clip, got 4 ... 8"),
        ({"last_image": IMAGE[:2]}, "last_image must have the shape 3 x 32 x 48, got 2 x 32 x 48"),
        ({"conditions": [frame(5)]}, r"frames must lie in frames 0 ... 4 of the clip, got 5$"),
        ({"conditions": [frame(-6)]}, r"frames must lie in frames 0 ... 4 of the clip, got -6$"),
        ({"conditions": [frame(1.0)]}, "frames must be at a whole number, got 1.0"),
        (
            {"conditions": [frame(4)], "last_image": IMAGE},
            "last_image gives frame 4, which frames gives already",
        ),
        (
            {"conditions": [frame(2, edit_ratio=1)]},
            "frames must have an edit ratio of at least 0 and below 1",
        ),
        ({"conditions": [frame(2, edit_ratio=float("nan"))]}, "frames must have an edit ratio of at least 0"),
        ({"conditions": [IMAGE]}, "conditions must be conditions, got Tensor"),
        ({"conditions": [Control(pixels=VIDEO)] * 2}, "control cannot be combined with control"),
        ({"camera": torch.rand(6, 5, 8, 8), "control": VIDEO}, "camera cannot be combined with control"),
        ({"camera": torch.full((6, 5, 8, 8), float("inf"))}, "camera must be finite floating point numbers"),
        ({"clip_image": torch.rand(3, 0, 8)}, "clip_image must not be empty"),
        ({"video": VIDEO[:, :4], "strength": 0.5}, "video must have the shape 3 x 5 x 32 x 48"),
        ({"video": VIDEO, "mask": MASK[:4]}, "mask must have the shape 5 x 32 x 48, got 4 x 32 x 48"),
        ({"video": VIDEO, "mask": MASK.int()}, "mask must be bool, uint8 or floating point"),
        ({"control": torch.rand(3, 4, 8, 8)}, "control must have the shape 3 x 5 x any x any"),
        ({"camera": torch.rand(3, 5, 8, 8)}, "camera must have the shape 6 x 5 x any x any"),
        ({"reference": torch.rand(1, 8, 8)}, "reference must have the shape 3 x any x any"),
        ({"reference": torch.rand(3, 8, 8), "image": IMAGE}, "reference cannot be combined with image"),
    ],
)
def test_wrong_input_is_one_line_that_names_the_field(change, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**change).validate()
    assert "\n" not in str(error.value)


def test_json_round_trip_of_the_scalar_part():
    request = make(image=IMAGE, seed=2**40, negative_prompt="模糊", strength=1.0)
    text = json.dumps(request.to_dict())
    again = GenerationRequest.from_dict(json.loads(text), request.conditions)
    assert again.to_dict() == request.to_dict()
    assert again.conditions == request.conditions


def test_unknown_or_missing_fields_are_refused():
    with pytest.raises(ValueError, match="request field 'promt' is unknown"):
        GenerationRequest.from_dict({"prompt": "x", "promt": "y"})
    with pytest.raises(ValueError, match="prompt is missing"):
        GenerationRequest.from_dict({})
