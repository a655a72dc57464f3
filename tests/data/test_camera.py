"""Camera paths: text files, lengths, moves in words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ea_data.control.camera import CameraPath, camera_from_text, plucker_rays, read_camera
from ea_data.control.moves import INTRINSICS, MOVES, parse_camera

POSE = "1 0 0 {x} 0 1 0 0 0 0 1 0"
ROW = "0 0.5 0.9 0.5 0.5 0 0 " + POSE


def rows(count):
    return [ROW.format(x=x) for x in range(count)]


def text_of(*lines):
    return "\n".join(["https://example.org/video", *lines]) + "\n"


def places(path):
    """x of every pose."""
    return path.world_to_camera[:, 0, 3].tolist()


def test_a_file_is_read_and_written(tmp_path):
    file = tmp_path / "путь.txt"
    file.write_text(text_of(*rows(3)) + "\n\n", encoding="utf-8-sig")
    path = read_camera(file)
    assert path.intrinsics.tolist() == [[0.5, 0.9, 0.5, 0.5]] * 3
    assert places(path) == [0, 1, 2]
    assert path.world_to_camera[1].tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    again = camera_from_text(path.to_text(), "again")
    assert np.array_equal(again.world_to_camera, path.world_to_camera)
    assert np.array_equal(again.intrinsics, path.intrinsics)


def test_line_ends_and_spaces_do_not_matter():
    assert places(camera_from_text("\r\n" + "\r\n".join(rows(2)) + "\r\n", "x")) == [0, 1]
    assert places(camera_from_text("\n" + rows(1)[0].replace(" ", " \t "), "x")) == [0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "file has no poses; expected: one line that is skipped, then lines of 19 numbers"),
        ([ROW.format(x=0), "", ROW.format(x=0)], "file line 3: 0 values; expected: 19 numbers: time fx"),
        ([ROW.format(x=0) + " 0"], "file line 2: 20 values"),
        ([ROW.format(x=0).replace(" ", ",")], "file line 2: 1 values"),
        ([ROW.format(x="left")], "file line 2, value 11: 'left' is no number; expected: 19 numbers"),
        ([ROW.format(x=0), ROW.format(x="nan")], "file line 3, value 11: nan is not finite"),
        ([ROW.format(x="-inf")], "file line 2, value 11: -inf is not finite"),
        ([ROW.format(x="1e9")], r"file line 2: a value beyond 1e\+06"),
        ([ROW.format(x=0).replace("0.5 0.9", "640 720")], "fx and fy are 640 and 720; .* not pixels"),
        ([ROW.format(x=0).replace("0.5 0.9", "0 0.9")], "line 2: fx and fy are 0 and 0.9"),
        ([ROW.format(x=0).replace("0.5 0.9", "-0.5 0.9")], "line 2: fx and fy are -0.5 and 0.9"),
        (["0 0.5 0.9 0.5 0.5 0 0 2 0 0 0 0 2 0 0 0 0 2 0"], "line 2: values 8-10, .* are no rotation"),
        (["0 0.5 0.9 0.5 0.5 0 0 -1 0 0 0 0 1 0 0 0 0 1 0"], "are no rotation; .* not mirrored"),
        (["0 0.5 0.9 0.5 0.5 0 0 " + "0 " * 11 + "0"], "are no rotation"),
    ],
)
def test_wrong_rows_are_named(lines, message, tmp_path):
    file = tmp_path / "file"
    file.write_text(text_of(*lines))
    with pytest.raises(ValueError, match=message) as caught:
        read_camera(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_pose_in_the_skipped_line_is_not_lost():
    with pytest.raises(ValueError, match="x line 1: a pose where programs skip a line"):
        camera_from_text("\n".join(rows(2)), "x")


@pytest.mark.parametrize("content", ["", "\n", " \n \n", "header\n"])
def test_a_file_without_poses(content):
    with pytest.raises(ValueError, match=r"^x has no poses"):
        camera_from_text(content, "x")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"none\.txt does not exist"):
        read_camera(tmp_path / "none.txt")
    with pytest.raises(ValueError, match=r"is no file$"):
        read_camera(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\n\xff\xfe")
    with pytest.raises(ValueError, match="is no text: not UTF-8 at byte 1"):
        read_camera(tmp_path / "binary.txt")
    (tmp_path / "large.txt").write_bytes(b"\n" * 1_000_001)
    with pytest.raises(ValueError, match="too large; allowed: at most 1000000 bytes"):
        read_camera(tmp_path / "large.txt")


def test_a_path_is_checked_when_it_is_made():
    with pytest.raises(ValueError, match=r"are \(1, 4\) and \(2, 3, 4\); allowed"):
        CameraPath(np.ones((1, 4)), np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="allowed"):
        CameraPath(np.ones((0, 4)), np.ones((0, 3, 4)))
    with pytest.raises(ValueError, match="finite"):
        CameraPath(np.full((1, 4), np.nan), np.ones((1, 3, 4)))


def path_of(count):
    return camera_from_text(text_of(*rows(count)), "x")


def test_stretching_keeps_the_ends():
    assert places(path_of(3).stretched(5)) == [0, 0.5, 1, 1.5, 2]
    assert places(path_of(5).stretched(3)) == [0, 2, 4]
    assert places(path_of(1).stretched(3)) == [0, 0, 0]
    assert places(path_of(4).stretched(1)) == [0]
    with pytest.raises(ValueError, match="frames is 0; allowed: 1 or more"):
        path_of(2).stretched(0)


@pytest.mark.parametrize(
    ("count", "frames", "fps", "expected"),
    [
        (13, 5, 8, [0, 3, 6, 9, 12]),  # just as long as the video
        (30, 5, 8, [0, 3, 6, 9, 12]),  # longer: cut
        (12, 5, 8, [0, 2.75, 5.5, 8.25, 11]),  # shorter: stretched
        (5, 5, 8, [0, 1, 2, 3, 4]),
        (9, 5, 24, [0, 1, 2, 3, 4]),
        (9, 5, 60, [0, 1, 2, 3, 4]),
        (30, 5, 10, [0, 2, 4, 6, 8]),  # 24 / 10, cut to 2
        (9, 1, 8, [0]),
        (3, 1, 1e-320, [0]),
        (3, 2, 1e-320, [0, 2]),
    ],
)
def test_a_path_is_fitted_to_a_video(count, frames, fps, expected):
    assert places(path_of(count).fitted(frames, fps)) == pytest.approx(expected)


def test_fitting_refuses_what_is_no_video():
    for frames, fps in ((0, 8), (5, 0), (5, -1), (5, float("nan"))):
        with pytest.raises(ValueError, match="allowed"):
            path_of(3).fitted(frames, fps)


def test_rays_of_a_still_camera_go_through_its_pixels():
    rays = plucker_rays(parse_camera("static", 2), 2, 36, 64)
    assert rays.shape == (2, 6, 36, 64)
    assert not rays[:, :3].any()
    assert np.allclose(np.linalg.norm(rays[:, 3:], axis=1), 1)
    assert np.array_equal(rays[0], rays[1])
    x, y, z = rays[0, 3:]
    assert np.allclose(x / z, ((np.arange(64) + 0.5) / 64 - 0.5)[None] / INTRINSICS[0], atol=1e-6)
    assert np.allclose(y / z, ((np.arange(36) + 0.5) / 36 - 0.5)[:, None] / INTRINSICS[1], atol=1e-6)


def test_rays_see_a_narrower_part_of_another_shape():
    wide, square, tall = (
        plucker_rays(parse_camera("static", 1), 1, *s)[0] for s in ((36, 64), (36, 36), (64, 36))
    )
    # Pixels are as square as in the footage, and the shorter side is filled.
    assert np.allclose(square[3:], wide[3:, :, 14:50], atol=1e-6)
    for rays in (wide, square, tall):
        slopes = rays[3:5] / rays[5]
        assert np.allclose(np.diff(slopes[0], axis=1)[0, 0], np.diff(slopes[1], axis=0)[0, 0], rtol=2e-3)


def test_rays_refuse_what_has_no_size_or_turns_too_far():
    for frames, height, width in ((0, 8, 8), (1, 0, 8), (1, 8, -1)):
        with pytest.raises(ValueError, match="allowed: 1 or more"):
            plucker_rays(path_of(2), frames, height, width)
    turned = [ROW.format(x=0), "0 0.5 0.9 0.5 0.5 0 0 -1 0 0 0 0 -1 0 0 0 0 1 0"]
    half_circle = camera_from_text(text_of(*turned), "x")
    assert plucker_rays(half_circle, 2, 8, 8).shape == (2, 6, 8, 8)
    with pytest.raises(ValueError, match="turns too far between two poses"):
        plucker_rays(half_circle, 3, 8, 8)


# What stands in the world where the camera looks, seen from the last frame: where it went on the screen, and
# whether it came closer.
SEEN = {
    "static": (0, 0, 0),
    "pan left": (1, 0, 0),
    "pan right": (-1, 0, 0),
    "pan up": (0, 1, 0),
    "pan down": (0, -1, 0),
    "zoom in": (0, 0, -1),
    "zoom out": (0, 0, 1),
}


@pytest.mark.parametrize("name", SEEN)
def test_moves_shift_the_world_against_the_camera(name):
    shift = parse_camera(name, 10).world_to_camera[-1] @ np.array([0, 0, 5, 1]) - (0, 0, 5)
    assert np.sign(shift).tolist() == list(SEEN[name])


def test_turning_the_camera_turns_the_world_the_other_way():
    # On a screen with y downwards, from 12 o'clock to 3 o'clock is clockwise.
    noon = np.array([0, -1, 5, 1])
    assert (parse_camera("counter-clockwise", 10).world_to_camera[-1] @ noon)[0] > 0.5
    assert (parse_camera("clockwise", 10).world_to_camera[-1] @ noon)[0] < -0.5
    assert set(MOVES) == {*SEEN, "clockwise", "counter-clockwise"}


def test_a_move_is_the_released_example():
    lines = parse_camera("pan left", 49).to_text().split("\n")
    end = "0.000000000 1.000000000 0.000000000 0.000000000 0.000000000 0.000000000 1.000000000 0.000000000"
    start = "0 0.532139961 0.946026558 0.500000000 0.500000000 0.000000000 0.000000000"
    assert lines[0] == lines[-1] == ""
    assert len(lines) == 51
    assert lines[2] == f"{start} 1.000000000 0.000000000 0.000000000 0.030612245 {end}"
    assert lines[49] == f"{start} 1.000000000 0.000000000 0.000000000 1.469387755 {end}"


def test_moves_add_up_with_their_speeds():
    both = parse_camera("pan left 2 + Zoom  In .5+static", 8).world_to_camera
    assert np.allclose(both[:, :, 3], np.arange(8)[:, None] / 8 * 1.5 * np.array([2, 0, -1]))
    assert np.array_equal(
        parse_camera("pan up 0", 4).world_to_camera, parse_camera("static", 4).world_to_camera
    )
    turn = parse_camera("rotate cw 1.5 + ACW 0.5", 6).world_to_camera
    assert np.allclose(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]), -np.arange(6) / 6 * np.pi / 3)


def test_parts_follow_each_other():
    path = parse_camera("clockwise, then pan left for 4 frames then static", 10)
    assert len(path) == 10
    first = parse_camera("clockwise", 3).world_to_camera
    assert np.allclose(path.world_to_camera[:3], first)
    # The second part moves along the axes of the turned camera, from where the first one ended.
    for i in range(4):
        assert np.allclose(path.world_to_camera[3 + i, :, :3], first[-1, :, :3])
        assert np.allclose(path.world_to_camera[3 + i, :, 3], [i / 4 * 1.5, 0, 0])
    assert np.allclose(path.world_to_camera[7:], path.world_to_camera[6])
    back = parse_camera("pan left then pan right", 20).world_to_camera
    assert np.allclose(back[-1], back[0])


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", 1, "expected a move (static, pan left, "),
        ("   ", 1, "found the end"),
        ("pan lft", 5, 'expected left, right, up or down, found "lft"'),
        ("pan", 4, "found the end"),
        ("zoom 2", 6, "expected in or out"),
        ("tilt up", 1, "zoom in, zoom out, clockwise, counter-clockwise), found"),
        ("pan left + + zoom in", 12, 'found "+"'),
        ("pan left +", 11, "found the end"),
        ("pan left zoom in", 10, 'expected "+", "then" or the end, found "zoom"'),
        ("pan left, zoom in", 11, 'expected "then", found "zoom"'),
        ("pan left then", 14, "expected a move"),
        ("pan left -1", 10, 'found "-"'),
        ("pan left 101", 10, "expected a speed from 0 to 100"),
        ("pan left 1 2", 12, 'found "2"'),
        ("pan left for", 13, "expected a whole number of frames from 1 to 100000"),
        ("pan left for 0", 14, "whole number"),
        ("pan left for 2.5", 14, "whole number"),
        ("pan left for 99999999999999999999", 14, "whole number"),
        ("pan left for 4", 1, "the parts ask for 4 frames, there are 9"),
        ("static then zoom in for 9", 13, "the parts ask for 9 frames and at least 1 for each other part"),
        ("平移", 1, 'found "平"'),
        ("pan left\n+\nzoom im", 17, "expected in or out"),
    ],
)  # fmt: skip
def test_wrong_words_are_pointed_at(text, place, message):
    with pytest.raises(ValueError, match=f"^character {place} ") as caught:
        parse_camera(text, 9)
    assert re.search(re.escape(message), str(caught.value))
    assert "\n" not in str(caught.value)
    after = " ".join(text[place - 1 :].split())[:10].strip()
    assert f"▸{after}" in str(caught.value)


def test_a_long_text_is_shown_in_part():
    with pytest.raises(ValueError, match=r"^character 1018 \(\.\.\..{20,40}▸it \+ pan") as caught:
        parse_camera("pan left + " * 92 + "zoom it" + " + pan left" * 50, 9)
    assert len(str(caught.value)) < 200


def test_there_are_frames():
    with pytest.raises(ValueError, match="frames is 0; allowed: 1 or more"):
        parse_camera("static", 0)
    with pytest.raises(ValueError, match="the parts ask for 0 frames and at least 1 for each other part"):
        parse_camera("static then static", 1)
