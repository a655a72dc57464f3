"""Control signals beside the clips of a run."""

import shutil

import numpy as np
import pytest
from curation_corpus import FPS, SCENE, pan
from curation_workers import rows_of

from ea_data.control.makers import make_control
from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import plan_of
from ea_data.manifest import read_manifest
from ea_data.media import read_image, read_video, write_video

INLINE = Engines(name="inline")


def _plan(**options):
    cut = {"cut": {"trim_seconds": 0}}
    stages = [{"probe": {"least_pixels": 1}}, "scenes", cut, "captions", {"control-signals": options}]
    return plan_of("mine", {"stages": stages})


CANNY = {"low": 10, "high": 30}
"""With which the soft drawings have edges."""


def _measured(report):
    return {count.label: count.measured for count in report.counts if count.measured}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A clip of two scenes, one that is taken as it is, and a picture."""
    folder = tmp_path_factory.mktemp("footage")
    small = {"height": 64, "width": 96}
    joined = np.concatenate((pan(1, SCENE, **small), pan(2, SCENE, **small) // 2 + 100))
    write_video(folder / "two.mp4", joined, fps=FPS)
    write_video(folder / "one.mp4", pan(3, SCENE, **small), fps=FPS)
    write_video(folder / "picture.png", pan(4, 1, **small))
    return folder


@pytest.fixture(scope="module")
def made(footage, tmp_path_factory):
    """A run with two kinds. Not to be changed."""
    output = tmp_path_factory.mktemp("made") / "out"
    curate(
        _plan(kinds=["canny", "scribble"], settings={"canny": CANNY}),
        footage,
        output,
        engines=INLINE,
        samples=0,
    )
    return output


def test_every_clip_has_its_signals(made):
    rows = {row["file_path"]: row for row in rows_of(made / "metadata.jsonl")}
    assert sorted(rows) == [
        "clips/one.mp4", "clips/picture.png", "clips/two/two_0.mp4", "clips/two/two_1.mp4",
    ]  # fmt: skip
    piece = rows["clips/two/two_1.mp4"]
    assert piece["control_file_path"] == piece["canny_file_path"] == "controls/canny/two/two_1.mp4"
    assert rows["clips/picture.png"]["scribble_file_path"] == "controls/scribble/picture.png"
    assert "controls" not in piece
    for entry in read_manifest(made / "metadata.jsonl").entries:
        read = read_image if entry.type == "image" else lambda path: read_video(path).frames
        frames, signal = read(entry.path), read(entry.control_path)
        assert signal.shape == frames.shape
        expected = make_control(frames, "canny", **CANNY).reshape(frames.shape)
        assert expected.mean() > 5
        # What the file loses of a signal of thin lines.
        assert np.abs(signal.astype(int) - expected).mean() < 0.5 * expected.mean() + 1


def test_the_same_again_makes_nothing_and_gone_files_come_back(made, footage, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    plan = _plan(kinds=["canny", "scribble"], settings={"canny": CANNY})
    assert _measured(curate(plan, footage, tmp_path / "out", engines=INLINE, samples=0)) == {}
    (file,) = (tmp_path / "out" / "work" / "control-signals").rglob("two_1-canny-*.mp4")
    before = file.read_bytes()
    file.write_bytes(b"x")
    report = curate(plan, footage, tmp_path / "out", engines=INLINE, samples=0)
    assert _measured(report) == {"control-signals": 1}
    assert file.read_bytes() == before
    assert (tmp_path / "out" / "controls" / "canny" / "two" / "two_1.mp4").read_bytes() == before


def test_other_settings_make_other_files_and_the_old_ones_go(made, footage, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    plan = _plan(kinds=["canny"], settings={"canny": {"low": 5, "high": 15}})
    report = curate(plan, footage, tmp_path / "out", engines=INLINE, samples=0)
    assert _measured(report) == {"control-signals": 4}
    assert sorted(path.name for path in (tmp_path / "out" / "controls").iterdir()) == ["canny"]
    name = "controls/canny/one.mp4"
    assert (tmp_path / "out" / name).read_bytes() != (made / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": []}, "kinds is \\[\\]; allowed: one or more, each once"),
        ({"kinds": ["canny", "canny"]}, "each once"),
        ({"kinds": ["cany"]}, "no control signal 'cany'; allowed: canny"),
        ({"settings": {"canny": {"lo": 1}}}, "canny has no option 'lo'"),
        ({"settings": {"canny": {"low": -1}}}, "low is -1"),
        ({"settings": {"hed": {}}}, "settings has 'hed'; allowed: canny, scribble"),
        ({"crf": 99}, "crf is 99; allowed: 0 to 51"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        _plan(**options)


def test_weights_that_are_not_there_are_told_before_any_work(footage, tmp_path):
    plan = _plan(kinds=["canny", "depth"], offline=True)
    with pytest.raises(ValueError, match="offline nothing is downloaded"):
        curate(plan, footage, tmp_path / "out", engines=INLINE)
    assert not (tmp_path / "out").exists()
