"""Control videos and reference pictures from the command line to files and back."""

from __future__ import annotations

import numpy as np

from ea_app.api.record import read_record
from ea_data.media import probe, read_video, write_video


def test_what_is_followed_decides_the_frames_and_is_made_again(controlled, command, media, tmp_path):
    alone = controlled(tmp_path / "a.mp4", "--control", media / "clip.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert (len(video.frames), round(video.fps)) == (9, 12)
    assert read_record(tmp_path / "a.mp4")["inputs"].keys() == {"control"}
    both = controlled(
        tmp_path / "b.mp4", "--control", media / "clip.mp4", "--reference", media / "square.png"
    )
    assert read_record(tmp_path / "b.mp4")["inputs"].keys() == {"control", "reference"}
    assert alone != both
    code, out, err = command("replay", tmp_path / "b.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_a_picture_holds_for_all_frames(controlled, command, media, tmp_path):
    given = ["--frames", "5", "--fps", "6"]
    picture = controlled(tmp_path / "a.mp4", "--control", media / "square.png", *given)
    assert picture != controlled(tmp_path / "b.mp4", *given)
    assert probe(tmp_path / "a.mp4").frames == 5
    code, out, err = command("replay", tmp_path / "a.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_a_changed_file_is_named_by_its_option(controlled, command, tmp_path):
    signal = tmp_path / "signal.mp4"
    write_video(signal, np.zeros((5, 32, 32, 3), dtype=np.uint8))
    controlled(tmp_path / "a.mp4", "--control", signal)
    write_video(signal, np.full((5, 32, 32, 3), 255, dtype=np.uint8))
    code, out, err = command("replay", tmp_path / "a.mp4")
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: control: {signal} has changed since")
