"""Trajectories: JSON files and the heat video."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_data.control.trajectory import draw_trajectory, read_trajectory, trajectory_from_text

POINTS = [[10, 20], [30, 40.5]]
AS_OBJECTS = [{"x": 10, "y": 20}, {"y": 40.5, "x": 30}]


@pytest.mark.parametrize("value", [POINTS, AS_OBJECTS, [POINTS], [AS_OBJECTS]])
def test_every_way_to_write_a_path(value, tmp_path):
    file = tmp_path / "轨迹.json"
    file.write_text(json.dumps(value), encoding="utf-8-sig")
    (path,) = read_trajectory(file, 64, 96)
    assert path.tolist() == [[10, 20], [30, 40.5]]


def test_several_paths_of_another_size():
    value = {"width": 192, "height": 32, "paths": [POINTS, [[0, 0]]]}
    first, second = trajectory_from_text(json.dumps(value), "x", 64, 96)
    assert first.tolist() == [[5, 40], [15, 81]]
    assert second.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x line 1 column 1: not JSON: Expecting value"),
        ("[\n[1,]]", "x line 2 column 4: not JSON"),
        ("[" * 100_000, "x: not JSON: brackets within"),
        ("1" * 5000, "x: not JSON: a number with thousands"),
        ("[]", r"x: \[\]; expected a list of paths, each a list of points"),
        ('"a"', 'x: "a"; expected a list of paths'),
        ("null", "x: null; expected a list of paths"),
        ("[[]]", r"x: path 1: \[\]; expected a list of points"),
        ("[[[1, 2]], 3]", "x: path 2: 3; expected a list of points"),
        ('["a"]', 'x: path 1: "a"; expected a list of points'),
        ("[[1, 2, 3]]", r"x, point 1: \[1, 2, 3\]; expected"),
        ("[[1, 2], [1]]", r"x, point 2: \[1\]; expected"),
        ('[[[1, 2]], [[1, 2], {"x": 1}]]', 'x: path 2, point 2: {"x": 1}; expected'),
        ('[{"x": 1, "y": 2, "z": 3}]', "x, point 1: "),
        ('[[1, "2"]]', 'x, point 1: y is "2"; expected a number from -1e\\+06'),
        ("[[true, 2]]", "x, point 1: x is true"),
        ("[[NaN, 2]]", "x, point 1: x is NaN"),
        ("[[1, -1e9]]", "x, point 1: y is -1000000000.0"),
        ('{"paths": [[[1, 2]]], "width": 4}', "x: 'height' is missing or unknown"),
        ('{"paths": [[[1, 2]]], "width": 4, "height": 4, "fps": 8}', "x: 'fps' is missing or unknown"),
        ('{"paths": [[[1, 2]]], "width": 0, "height": 4}', "x: width is 0; expected a number from 1"),
        ('{"paths": {}, "width": 4, "height": 4}', "x: {}; expected a list of paths"),
    ],
)
def test_wrong_content_is_named(text, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        trajectory_from_text(text, "x", 64, 96)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json does not exist"):
        read_trajectory(tmp_path / "none.json", 64, 96)
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(ValueError, match=r"broken\.json line 1 column 2: not JSON"):
        read_trajectory(tmp_path / "broken.json", 64, 96)


def paths(*points):
    return [np.array(path, dtype=np.float64) for path in points]


def test_a_spot_is_warm_in_the_middle_and_goes_along():
    video = draw_trajectory(paths([[40, 30], [50, 34], [60, 38]]), 3, 72, 128)
    assert video.shape == (3, 72, 128, 3)
    assert video.dtype == np.uint8
    for frame, (x, y) in zip(video, [(40, 30), (50, 34), (60, 38)], strict=True):
        assert (frame == frame[..., :1]).all()
        heat = frame[..., 0].astype(float)
        assert heat.max() > 230
        # 1280x720 pixels would have a radius of 50, so a tenth of the side has 5.
        assert sorted(set(np.nonzero(heat)[0])) == list(range(y - 5, y + 5))
        rows, columns = np.indices(heat.shape)
        centre = (heat * rows).sum() / heat.sum(), (heat * columns).sum() / heat.sum()
        assert centre == pytest.approx((y - 0.5, x - 0.5), abs=0.1)


def test_the_spot_is_a_gaussian_cut_off_by_a_disc():
    frame = draw_trajectory(paths([[640, 360]]), 1, 720, 1280)[0, ..., 0].astype(float)
    assert (frame > 0).sum() == pytest.approx(np.pi * 49.5**2, rel=0.02)
    assert frame.max() == 254
    # Along a radius: exp(-d^2 / 2 / 20^2), 20 being 40 of 200 pixels at half the size.
    for distance in (5, 10, 20, 40):
        expected = 255 * np.exp(-(((distance + 0.5) / 20) ** 2) / 2)
        assert frame[360, 640 + distance] == pytest.approx(expected, abs=3)


def test_spots_at_the_edge_are_squeezed_and_far_ones_are_not_there():
    left, gone, corner = draw_trajectory(paths([[0, 36], [-6, 36], [127, 71]]), 3, 72, 128)[..., 0]
    assert left[31:41, 0:5].max() > 200  # its middle is at column 2, not 0
    assert left[36].argmax() == 2
    assert not gone.any()
    assert corner[:, 127].max() == corner[71].max() == 0  # the last row and column stay black, as released
    assert corner[66:71, 122:127].max() > 200


def test_paths_are_fitted_to_the_frames_and_the_warmer_spot_shows():
    two = draw_trajectory(paths([[40, 36], [44, 36], [48, 36]], [[40, 36]]), 5, 72, 128)
    moving = draw_trajectory(paths([[40, 36], [42, 36], [44, 36], [46, 36], [48, 36]]), 5, 72, 128)
    still = draw_trajectory(paths([[40, 36]] * 5), 5, 72, 128)
    assert np.array_equal(two, np.maximum(moving, still))
    assert np.array_equal(draw_trajectory(paths([[40, 36], [99, 9]]), 1, 72, 128), still[:1])


def test_drawing_refuses_what_is_no_video_and_no_path():
    for frames, height, width in ((0, 8, 8), (1, 0, 8), (1, 8, 0)):
        with pytest.raises(ValueError, match="allowed: 1 or more"):
            draw_trajectory(paths([[1, 1]]), frames, height, width)
    for wrong in ([], paths([]), paths([[1, 2, 3]])):
        with pytest.raises(ValueError, match=r"allowed: one or more of \(P, 2\)"):
            draw_trajectory(wrong, 1, 8, 8)
    assert not draw_trajectory(paths([[4, 4]]), 1, 8, 8).any()  # too small for any spot
