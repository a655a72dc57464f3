"""Camera paths and trajectories of a job, as text and as what a model is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api.conditions import to_conditions
from ea_app.api.fields import FILE_INPUTS, TEXT_INPUTS, concerning_fields, keyframe_place, option_of
from ea_app.api.inputs import Text
from ea_app.api.record import find_sources
from ea_app.api.steering import draw_texts, read_texts
from ea_app.options import OPTIONS, InputError
from ea_data.control.camera import plucker_rays
from ea_data.control.moves import parse_camera
from ea_data.control.trajectory import draw_trajectory

FIELDS = {"num_frames": 5, "height": 32, "width": 48, "fps": 8}


def test_every_input_is_an_option_and_a_condition():
    assert {*TEXT_INPUTS, *FILE_INPUTS} <= {entry.name for entry in OPTIONS}
    frame = np.zeros((8, 8, 3), dtype=np.uint8)
    for name in {*TEXT_INPUTS, *FILE_INPUTS, "keyframe 3", "keyframe -2"} - {"mask", "mask-strategy"}:
        (condition,) = to_conditions({name: frame})
        assert condition.name == name
    masked = to_conditions({"video": frame[None], "mask": frame[..., 0] > 0})
    assert masked[0].mask.shape == (8, 8)
    assert to_conditions({"keyframe -2": frame})[0].at == -2


def test_texts_are_read_and_drawn(tmp_path):
    file = tmp_path / "points.json"
    file.write_text("[[8, 8]]")
    texts = read_texts({"camera": "pan  left", "trajectory": str(file), "prompt": "x"})
    assert texts == {"camera": "pan left", "trajectory": "[[8, 8]]"}
    arrays, notices = draw_texts(texts, FIELDS)
    assert arrays.keys() == {"camera", "trajectory"}
    rays = plucker_rays(parse_camera("pan left", 5), 5, 32, 48)
    assert np.array_equal(arrays["camera"], rays.transpose(0, 2, 3, 1))
    drawn = draw_trajectory([np.array([[8.0, 8.0]])], 5, 32, 48)
    assert np.array_equal(arrays["trajectory"], drawn)
    assert notices == ()
    assert draw_texts({}, FIELDS) == ({}, ())
    assert read_texts({"prompt": "x"}) == {}


@pytest.mark.parametrize(
    ("poses", "notice"),
    [
        (5, ()),
        (1, ("camera: 1 pose is spread over 5 frames",)),
        (12, ("camera: 12 poses are spread over 5 frames",)),
        (13, ("camera: 13 poses are spread over 5 frames",)),
        (14, ("camera: 14 poses are cut, at 24 per second, to 5 frames",)),
    ],
)
def test_how_a_file_is_fitted_is_said(poses, notice):
    text = parse_camera("zoom in", poses).to_text()
    assert draw_texts({"camera": text}, FIELDS)[1] == notice


def test_wrong_texts_of_a_record_name_their_option():
    for texts, message in (
        ({"camera": "\n1 2 3\n"}, "^camera: line 2: 3 values"),
        ({"camera": "pan"}, "^camera: character 4"),
        ({"trajectory": "{}"}, "^trajectory: the recorded text: 'height' is missing"),
    ):
        with pytest.raises(InputError, match=message):
            draw_texts(texts, FIELDS)


def test_a_record_gives_texts_back(tmp_path):
    inputs = {"camera": {"text": "pan left"}, "trajectory": {"text": json.dumps([[1, 2]])}}
    assert find_sources({"inputs": inputs}, tmp_path) == {
        "camera": Text(text="pan left"),
        "trajectory": Text(text="[[1, 2]]"),
    }


def test_messages_name_the_option_that_was_given():
    assert option_of("keyframe -3") == "keyframe"
    assert option_of("num_frames") == "frames"
    assert option_of("EA_CUDA_GRAPHS") == "EA_CUDA_GRAPHS"
    assert [keyframe_place(name) for name in ("keyframe 24", "keyframes", "image")] == [24, None, None]
    with pytest.raises(InputError, match=r"^keyframe: 24 is in --frames"), concerning_fields(as_options=True):
        raise ValueError("keyframe 24 is in num_frames")
    with pytest.raises(InputError, match=r"^num_frames: is wrong"), concerning_fields(as_options=False):
        raise ValueError("num_frames is wrong")
