"""The command that makes control signals: files in, files out, help, one line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from ea_data.cli import main
from ea_data.control.kinds import KINDS
from ea_data.control.makers import make_control
from ea_data.media import VideoReader, probe, read_image, read_metadata, read_video, write_video
from ea_data.synthetic import SyntheticDataset


@pytest.fixture(autouse=True)
def _opencv():
    pytest.importorskip("cv2")


@pytest.fixture
def clip(tmp_path):
    frames = SyntheticDataset(seed=1, num_frames=5, height=64, width=80)[2]["video"]
    return write_video(tmp_path / "clip.webp", frames, fps=12.5)


def run(*words):
    return main(["control", *map(str, words)])


def write_at_times(path, frames, times):
    """A video whose frames begin at the given hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "5", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def refused(capsys, *words):
    """What the one line on standard error says."""
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("ea-data control: error: ")
    return line.removeprefix("ea-data control: error: ")


def test_a_video_keeps_its_rate_size_and_length(clip, tmp_path, capsys):
    out = tmp_path / "edges.webp"
    assert run("canny", clip, out, "--low", "20", "--high", "60") == 0
    assert capsys.readouterr().out == f"{out}\n"
    source, made = read_video(clip), read_video(out)
    assert made.fps == pytest.approx(source.fps)
    assert (made.frames == make_control(source.frames, "canny", low=20, high=60)).all()
    assert made.frames.any()


def test_an_mp4(clip, tmp_path):
    out = tmp_path / "edges.mp4"
    assert run("softedge_scharr", clip, out) == 0
    made = read_video(out)
    expected = make_control(read_video(clip).frames, "softedge_scharr").astype(int)
    assert made.frames.shape == expected.shape
    assert made.fps == 12.5
    assert np.abs(made.frames - expected).mean() < 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_keeps_its_frames(tmp_path, suffix):
    """Frames stand as long as they like; the signal has one for each, at the average rate."""
    frames = SyntheticDataset(seed=1, num_frames=30, height=64, width=80)[2]["video"]
    times = [0, *np.cumsum([(4, 4, 20)[i % 3] for i in range(29)]).tolist()]  # hundredths of a second
    source = tmp_path / f"uneven{suffix}"
    write_at_times(source, frames, times)
    out = tmp_path / "edges.mp4"
    assert run("canny", source, out) == 0
    with VideoReader(source) as before, VideoReader(out) as after:
        assert (len(before), len(after)) == (30, 30)
        assert after[0].shape == before[0].shape
        assert after.fps == pytest.approx(29 / (times[-1] / 100), rel=0.05)
        expected = make_control(np.stack(list(before)), "canny").astype(int)
        assert np.abs(np.stack(list(after)) - expected).mean() < 12


def test_too_many_frames_are_refused(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(VideoReader, "__len__", lambda _: 1001)
    message = f"cannot read {clip}: 1001 frames; allowed: at most 1000"
    assert refused(capsys, "canny", clip, tmp_path / "out.mp4") == message


def test_a_picture_makes_a_picture(clip, tmp_path):
    picture = tmp_path / "grey.png"
    Image.fromarray(read_video(clip).frames[0]).convert("L").save(picture)
    out = tmp_path / "lines.png"
    assert run("lines_lsd", picture, out) == 0
    assert probe(out).kind == "image"
    assert (read_image(out) == make_control(read_image(picture), "lines_lsd")[0]).all()


def test_the_file_says_how_it_was_made(clip, tmp_path):
    out = tmp_path / "out.png"
    assert run("scribble", clip, out, "--thickness", "3") == 0
    note = json.loads(read_metadata(tmp_path / "out"))
    assert note["control"] == "scribble"
    assert note["version"] == 1
    assert note["options"]["thickness"] == 3
    assert note["source"] == clip.name
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_an_existing_file_is_replaced_and_a_failed_run_leaves_it(clip, tmp_path, capsys):
    out = tmp_path / "out.gif"
    out.write_bytes(b"before")
    message = "low is 9000.0; allowed: a number, 0 to 5100"
    assert refused(capsys, "canny", clip, out, "--low", "9000") == message
    assert out.read_bytes() == b"before"
    assert run("canny", clip, out) == 0
    assert probe(out).container == "gif"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.webp", "out.gif"]


def test_mistakes_are_one_line(clip, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42 and nothing else")
    assert refused(capsys, "canny", tmp_path / "none.mp4", out).endswith("none.mp4: no such file")
    assert refused(capsys, "canny", broken, out).startswith(f"cannot read {broken}: ")
    assert "unknown suffix '.avi'" in refused(capsys, "canny", clip, tmp_path / "out.avi")
    assert "does not exist" in refused(capsys, "canny", clip, tmp_path / "none" / "out.mp4")
    assert "are the same file" in refused(capsys, "canny", clip, clip)
    assert refused(capsys, "canny", clip, out, "--low", "300") == (
        "low is 300 and high is 200; allowed: low not above high"
    )
    assert refused(capsys, "canny", clip, out, "--blur", "nan").startswith(
        "blur is nan; allowed: a number, 0 to"
    )
    assert "is a pickle" in refused(capsys, "hed", clip, out)
    (tmp_path / "frames").mkdir()
    assert "makes a new folder" in refused(capsys, "canny", clip, tmp_path / "frames.png")
    assert not out.exists()


def test_what_is_downloaded_is_told_on_standard_error(clip, tmp_path, capsys, monkeypatch):
    def opening(kind, options, *, notify):
        notify("downloading 99 MB: model.safetensors of a/b")
        raise ValueError("no room")

    monkeypatch.setattr("ea_data.control.makers.open_maker", opening)
    assert run("depth", clip, tmp_path / "out.mp4") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "ea-data control: downloading 99 MB: model.safetensors of a/b",
        "ea-data control: error: no room",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cany", "a", "b"], "invalid choice: 'cany'"),
        (["canny", "a", "b", "--lwo", "3"], "unrecognized arguments: --lwo"),
        (["canny", "a", "b", "--low", "x"], "invalid float value: 'x'"),
        (["scribble", "a", "b", "--thickness", "2.5"], "invalid int value: '2.5'"),
        (["canny", "a"], "the following arguments are required: output"),
        ([], "the following arguments are required: KIND"),
    ],
)
def test_wrong_command_lines(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", list(KINDS))
def test_help_has_types_ranges_defaults_and_needs(kind, capsys):
    with pytest.raises(SystemExit) as stop:
        run(kind, "--help")
    assert stop.value.code == 0
    text = "".join(capsys.readouterr().out.split())  # as if no line were broken
    extra = "control-models" if KINDS[kind].has_weights else "control"
    assert f"Needsea-data[{extra}]" in text
    assert "(default:" in text
    assert "NUMBER" in text or "INT" in text


def test_the_list_of_kinds_needs_no_library():
    code = (
        "import sys; from ea_data.cli import build_parser; build_parser(); "
        "print(sorted({'numpy', 'cv2', 'torch', 'av', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout == "[]\n"
