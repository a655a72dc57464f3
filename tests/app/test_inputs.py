"""Opening, cutting and remembering input files."""

from __future__ import annotations

import pytest

from ea_app.api.inputs import Source, check_unchanged, kept_area, read_inputs
from ea_app.options import InputError


def test_the_middle_is_kept():
    assert kept_area(80, 40, (32, 32)) == (40, 40)
    assert kept_area(40, 80, (32, 32)) == (40, 40)
    assert kept_area(64, 36, (128, 72)) == (64, 36)
    assert kept_area(128, 127, (64, 64)) == (127, 127)


def test_pictures(media):
    files = {"image": str(media / "square.png"), "last-image": str(media / "wide.png")}
    inputs = read_inputs(files, (32, 32), 5, 5)
    assert inputs.arrays["image"].shape == inputs.arrays["last-image"].shape == (32, 32, 3)
    assert inputs.notices == (
        "last-image: 80x40 has another shape than 32x32; the middle 40x40 pixels are used",
    )
    assert inputs.fps is None


def test_a_video_decides_how_long_it_is(media):
    files = {"video": str(media / "clip.mp4"), "mask": str(media / "mask.png")}
    inputs = read_inputs(files, (32, 32), None, 5)
    assert inputs.arrays["video"].shape == (5, 32, 32, 3)
    assert inputs.arrays["mask"].shape == (32, 32)
    assert inputs.fps == 12
    assert len(read_inputs(files, (32, 32), None, 50).arrays["video"]) == 9
    assert len(read_inputs(files, (32, 32), 7, 5).arrays["video"]) == 7


def test_a_video_to_follow_decides_too(media):
    files = {"control": str(media / "clip.mp4"), "reference": str(media / "wide.png")}
    inputs = read_inputs(files, (32, 16), None, 7)
    assert inputs.arrays["control"].shape == (7, 16, 32, 3)
    assert inputs.arrays["reference"].shape == (16, 32, 3)
    assert (inputs.frames, inputs.fps) == (7, 12)
    assert set(inputs.sources) == {"control", "reference"}
    assert [notice.split(":")[0] for notice in inputs.notices] == ["control"]


@pytest.mark.parametrize(("frames", "expected"), [(None, 5), (9, 9), (1, 1)])
def test_a_picture_to_follow_is_repeated(frames, expected, media):
    inputs = read_inputs({"control": str(media / "square.png")}, (32, 32), frames, 5)
    signal = inputs.arrays["control"]
    assert signal.shape == (expected, 32, 32, 3)
    assert (signal == signal[0]).all()
    assert signal.any()
    assert (inputs.frames, inputs.fps) == (expected, None)


def test_a_mask_may_be_a_video(media):
    files = {"video": str(media / "clip.mp4"), "mask": str(media / "mask.mp4")}
    assert read_inputs(files, (16, 16), 5, 5).arrays["mask"].shape == (5, 16, 16)


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("image", "none.png", "does not exist"),
        ("image", "broken.png", "cannot read"),
        ("image", "empty.png", "the file is empty"),
        ("image", "text.png", "not a known video or image"),
        ("image", "clip.mp4", "is a mp4 video, not a picture"),
        ("image", "", "is no file"),
        ("last-image", "none.png", "does not exist"),
        ("video", "none.mp4", "does not exist"),
        ("video", "broken.mp4", "cannot read"),
        ("video", "empty.png", "the file is empty"),
        ("video", "square.png", "is a picture; give a video, or use --image"),
        ("video", "short.mp4", "has 3 frames, 5 are needed; use --frames 3"),
        ("control", "none.mp4", "does not exist"),
        ("control", "broken.mp4", "cannot read"),
        ("control", "empty.png", "the file is empty"),
        ("control", "text.png", "not a known video or image"),
        ("control", "short.mp4", "has 3 frames, 5 are needed; use --frames 3"),
        ("reference", "none.png", "does not exist"),
        ("reference", "clip.mp4", "is a mp4 video, not a picture"),
        ("mask", "none.png", "does not exist"),
        ("mask", "broken.png", "cannot read"),
        ("mask", "black.png", "is black everywhere"),
        ("mask", "short.mp4", "has 3 frames; give one picture, or a video of at least 5"),
    ],
)
def test_wrong_files_name_their_option(key, name, message, media):
    files = {"video": str(media / "clip.mp4")} if key == "mask" else {}
    with pytest.raises(InputError, match=f"^{key.replace('_', '-')}: .*{message}"):
        read_inputs({**files, key: str(media / name)}, (32, 32), 5, 5)


def test_changed_files_are_noticed(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    source = Source.of(path)
    check_unchanged("image", source.path, source.xxh3)
    path.write_bytes(b"two")
    with pytest.raises(InputError, match=r"^image: .*a.png has changed since"):
        check_unchanged("image", source.path, source.xxh3)
    path.unlink()
    with pytest.raises(InputError, match=r"^image: .*a.png does not exist"):
        check_unchanged("image", source.path, source.xxh3)
