"""The stage `transform`: other sizes and rates, and what is known of a file goes on."""

import numpy as np
import pytest
from curation_corpus import FPS, pan
from curation_workers import results_of, rows_of
from PIL import Image

from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import plan_of
from ea_data.curation.registry import open_stage
from ea_data.media import VideoReader, picture_size, probe, read_image, write_video

INLINE = Engines(name="inline")
OPEN = {"least_pixels": 1, "least_seconds": 0.1}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "a.mp4", pan(1, 16, height=96, width=160), fps=FPS)
    write_video(folder / "small.mp4", pan(2, 16, height=48, width=64), fps=FPS)
    Image.fromarray(pan(3, 1, height=100, width=120)[0]).save(folder / "p.png")
    return folder


def _run(footage, output, options, before=("captions",)):
    plan = plan_of("p", {"stages": [{"probe": OPEN}, *before, {"transform": options}]})
    report = curate(plan, footage, output, engines=INLINE, samples=0)
    return report, {row["source"]: row for row in rows_of(output / "metadata.jsonl")}


def _resized(picture):
    return np.array(Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR))


def test_an_exact_size_is_the_middle_scaled_down(footage, tmp_path):
    report, rows = _run(footage, tmp_path / "out", {"height": 64, "width": 64})
    assert set(rows) == {"a.mp4", "p.png"}
    assert report.reasons() == {"transform": {"is smaller than 64x64": 1}}
    with VideoReader(tmp_path / "out" / rows["a.mp4"]["file_path"]) as reader:
        found = reader.read(range(16))
    drawn = pan(1, 16, height=96, width=160)
    errors = [
        np.abs(found.mean(axis=-1) - np.stack([_resized(frame) for frame in frames]).mean(axis=-1)).mean()
        for frames in (drawn[:, :, 32:128], drawn[:, :, 30:126], drawn)
    ]
    assert found.shape == (16, 64, 64, 3)
    assert errors[0] < 4 < errors[1] < errors[2]  # the middle, not beside it and not the whole squeezed
    picture = read_image(tmp_path / "out" / rows["p.png"]["file_path"])
    middle = pan(3, 1, height=100, width=120)[0][:, 10:110]
    assert np.abs(picture.astype(int) - _resized(middle)).mean() < 4
    for row in rows.values():
        assert (row["height"], row["width"]) == (64, 64)
        assert row["text"].startswith("A ")


@pytest.mark.parametrize(("fps", "frames"), [(4.0, 8), (8.0, 16), (16.0, 32), (3.0, 6)])
def test_another_rate_keeps_the_time(footage, tmp_path, fps, frames):
    _, rows = _run(footage, tmp_path / "out", {"fps": fps})
    path = tmp_path / "out" / rows["a.mp4"]["file_path"]
    with VideoReader(path) as reader:
        assert (len(reader), round(reader.fps, 3)) == (frames, fps)
        numbers = np.minimum(np.arange(frames) * FPS / fps + 1e-9, 15).astype(int)
        drawn = pan(1, 16, height=96, width=160)[numbers]
        assert np.abs(reader.read(range(frames)).astype(int) - drawn).mean() < 5
    assert (rows["a.mp4"]["num_frames"], rows["a.mp4"]["fps"]) == (frames, fps)


def test_the_shorter_side_is_scaled_down_and_never_up(footage, tmp_path):
    _, rows = _run(footage, tmp_path / "out", {"shorter_side": 50})
    sizes = {name: (row["height"], row["width"]) for name, row in rows.items()}
    assert sizes == {"a.mp4": (50, 84), "small.mp4": (48, 64), "p.png": (50, 60)}
    info = probe(tmp_path / "out" / rows["a.mp4"]["file_path"])
    assert (info.height, info.width) == (50, 84)
    assert picture_size(tmp_path / "out" / rows["p.png"]["file_path"]) == (50, 60)
    assert rows["small.mp4"]["file_path"] == "clips/small.mp4"  # as it is


def test_scores_go_on_and_a_run_again_makes_nothing(footage, tmp_path):
    before = ({"motion": {"least": 0, "most": 1e6}}, "captions")
    report, rows = _run(footage, tmp_path / "out", {"shorter_side": 40}, before)
    assert "motion_score" in rows["a.mp4"]
    assert report.kept == 3
    known = results_of(tmp_path / "out")
    again, _ = _run(footage, tmp_path / "out", {"shorter_side": 40}, before)
    assert sum(count.measured for count in again.counts) == 0
    assert results_of(tmp_path / "out") == known
    other, _ = _run(footage, tmp_path / "out", {"shorter_side": 32}, before)
    assert {count.label for count in other.counts if count.measured} == {"transform"}


def test_control_signals_of_the_old_size_do_not_go_on(footage, tmp_path):
    _, rows = _run(
        footage, tmp_path / "out", {"shorter_side": 40}, ({"control-signals": {"kinds": ["canny"]}},)
    )
    assert not any("control_file_path" in row for row in rows.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 64}, "height or width is missing; allowed: both or none"),
        ({"height": 63, "width": 64}, "height is 63; allowed: even numbers"),
        ({"height": 64, "width": 64, "shorter_side": 32}, "allowed: one of the two ways"),
        ({"fps": 0}, "fps is 0; allowed: 0.1 to 240"),
        ({"shorter_side": 8}, "shorter_side is 8"),
        ({"crf": 52}, "crf is 52"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        open_stage("transform", options)
