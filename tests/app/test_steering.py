"""Camera paths and trajectories of a job, as text and as what a model is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api.fields import TEXT_FIELDS, concerning_fields, option_name
from ea_app.api.inputs import Text
from ea_app.api.record import find_sources
from ea_app.api.steering import draw_texts, read_texts
from ea_app.options import OPTIONS, InputError
from ea_data.control.camera import plucker_rays
from ea_data.control.moves import parse_camera
from ea_data.control.trajectory import draw_trajectory

FIELDS = {"num_frames": 5, "height": 32, "width": 48, "fps": 8}


def test_every_text_is_an_option_and_a_field():
    from ea_dit.pipelines.request import TENSORS

    assert set(TEXT_FIELDS) <= {entry.key for entry in OPTIONS}
    assert set(TEXT_FIELDS.values()) <= set(TENSORS)


def test_texts_are_read_and_drawn(tmp_path):
    file = tmp_path / "points.json"
    file.write_text("[[8, 8]]")
    texts = read_texts({"camera": "pan  left", "trajectory": str(file), "prompt": "x"})
    assert texts == {"camera": "pan left", "trajectory": "[[8, 8]]"}
    arrays, notices = draw_texts(texts, FIELDS)
    assert arrays.keys() == {"camera", "control_video"}
    rays = plucker_rays(parse_camera("pan left", 5), 5, 32, 48)
    assert np.array_equal(arrays["camera"], rays.transpose(0, 2, 3, 1))
    drawn = draw_trajectory([np.array([[8.0, 8.0]])], 5, 32, 48)
    assert np.array_equal(arrays["control_video"], drawn)
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
    inputs = {"camera": {"text": "pan left"}, "control_video": {"text": json.dumps([[1, 2]])}}
    assert find_sources({"inputs": inputs}, tmp_path) == {
        "camera": Text(text="pan left"),
        "control_video": Text(text="[[1, 2]]"),
    }


def test_messages_name_the_option_that_was_given():
    assert option_name("control_video") == "control"
    assert option_name("control_video", ("trajectory",)) == "trajectory"
    assert option_name("num_frames", ("trajectory", "camera")) == "frames"
    with (
        pytest.raises(InputError, match=r"^trajectory: is wrong for --reference"),
        concerning_fields(as_options=True, texts=("trajectory",)),
    ):
        raise ValueError("control_video is wrong for ref_image")
    with pytest.raises(InputError, match=r"^control_video: is wrong"), concerning_fields(as_options=False):
        raise ValueError("control_video is wrong")
