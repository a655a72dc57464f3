"""Control signals without weights: what they show where lines are known, their options, refusals."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
from PIL import Image

from ea_data.control.edges import canny
from ea_data.control.kinds import KINDS, CannyOptions, SoftEdgeOptions, find_kind
from ea_data.control.makers import make_control, open_maker
from ea_data.media import read_image
from ea_data.synthetic import SyntheticDataset

PLAIN = [name for name, kind in KINDS.items() if not kind.has_weights]
TOP, LEFT, BOTTOM, RIGHT = 40, 50, 90, 110


@pytest.fixture(autouse=True)
def _opencv():
    pytest.importorskip("cv2")


def square(inside=255, outside=0, size=(128, 160)):
    """A square whose first and last rows and columns are named above."""
    picture = np.full((*size, 3), outside, np.uint8)
    picture[TOP : BOTTOM + 1, LEFT : RIGHT + 1] = inside
    return picture


def distance_to_border(shape):
    """For every pixel: how far it is from the nearest pixel on either side of the square's border."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    outside = np.hypot(
        np.maximum(np.maximum(TOP - 0.5 - y, y - BOTTOM - 0.5), 0),
        np.maximum(np.maximum(LEFT - 0.5 - x, x - RIGHT - 0.5), 0),
    )
    inside = np.minimum.reduce([y - TOP + 0.5, BOTTOM + 0.5 - y, x - LEFT + 0.5, RIGHT + 0.5 - x])
    return np.where(outside > 0, outside, np.maximum(inside, 0))


def test_every_kind_without_weights_is_here():
    assert PLAIN == ["canny", "softedge_scharr", "scribble", "lineart_xdog", "lines_lsd"]


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(("inside", "outside"), [(255, 0), (0, 255), ((200, 30, 30), (30, 60, 200))])
def test_edges_of_a_square_lie_on_its_border(kind, inside, outside):
    picture = square(inside, outside)
    (made,) = make_control(picture, kind)
    away = distance_to_border(picture.shape)
    # Half the width that each is drawn with.
    reach = {"scribble": 5, "softedge_scharr": 5.5, "lineart_xdog": 4}.get(kind, 1.5)
    assert made[away > reach].max() == 0 or (kind == "softedge_scharr" and made[away > reach].max() <= 8)
    sides = [made[TOP - 2 : TOP + 3, 80], made[BOTTOM - 2 : BOTTOM + 3, 80]]
    sides += [made[65, LEFT - 2 : LEFT + 3], made[65, RIGHT - 2 : RIGHT + 3]]
    assert [int(side.max()) for side in sides] == pytest.approx([255] * 4, abs=60)
    assert (made[..., 0] == made[..., 1]).all()
    assert (made[..., 0] == made[..., 2]).all()


@pytest.mark.parametrize("kind", ["canny", "lines_lsd"])
def test_thin_lines_are_within_a_pixel_of_the_border(kind):
    (made,) = make_control(square(), kind)
    away = distance_to_border(made.shape)
    assert away[made[..., 0] > 127].max() <= 1.5  # 0.5 is the pixel beside the border


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("grey", [0, 17, 128, 255])
def test_a_blank_picture_has_no_edges(kind, grey):
    assert not make_control(np.full((40, 56, 3), grey, np.uint8), kind).any()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_scene_that_stands_still_does_not_flicker(kind):
    frame = SyntheticDataset(seed=3, num_frames=2, height=160, width=160)[4]["video"][:1]
    made = make_control(np.repeat(frame, 4, axis=0), kind)
    assert (made == made[:1]).all()
    assert made.any()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_signal_can_be_cut_like_its_video(kind):
    video = SyntheticDataset(seed=5, num_frames=6, height=64, width=80)[1]["video"]
    whole = make_control(video, kind)
    parts = [make_control(video[:2], kind), make_control(video[2:], kind)]
    assert (whole == np.concatenate(parts)).all()
    assert (whole == make_control(video, kind)).all()


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (17, 33), (5, 301)])
def test_odd_sizes(kind, size):
    video = np.random.default_rng(0).integers(0, 256, (3, *size, 3)).astype(np.uint8)
    made = make_control(video, kind)
    assert made.shape == video.shape
    assert made.dtype == np.uint8
    assert (made == make_control(video, kind)).all()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_picture_makes_one_frame_and_is_not_written_to(kind):
    picture = square()
    before = picture.copy()
    assert make_control(picture, kind).shape == (1, *picture.shape)
    turned = np.ascontiguousarray(picture[:, ::-1])[:, ::-1]  # not in one piece
    assert (make_control(turned, kind) == make_control(picture, kind)).all()
    picture.flags.writeable = False
    make_control(picture, kind)
    assert (picture == before).all()


def test_lines_of_a_drawn_grid_are_found():
    grid = np.full((200, 240, 3), 255, np.uint8)
    rows, columns = range(30, 200, 50), range(40, 240, 60)
    for row in rows:
        grid[row : row + 3] = 0
    for column in columns:
        grid[:, column : column + 3] = 0
    (made,) = make_control(grid, "lines_lsd")
    lit = made[..., 0] > 100
    for row in rows:  # at half height between the crossings
        assert all(lit[row - 2 : row + 5, column + 32].any() for column in columns if column + 32 < 240)
    for column in columns:
        assert all(lit[row + 27, column - 2 : column + 5].any() for row in rows if row + 27 < 200)
    between = np.ix_([row + 27 for row in rows if row + 27 < 200], [c + 32 for c in columns if c + 32 < 240])
    assert not lit[between].any()


def test_slanted_lines_are_found_and_short_ones_can_be_left_out():
    picture = np.zeros((120, 120, 3), np.uint8)
    for i in range(20, 100):
        picture[i, i - 2 : i + 3] = 255
    made = make_control(picture, "lines_lsd")[0, ..., 0]
    assert all(made[i, i - 4 : i + 5].max() == 255 for i in range(25, 95, 5))
    assert not make_control(picture, "lines_lsd", least_length=200.0).any()
    wide = make_control(picture, "lines_lsd", thickness=5)[0, ..., 0]
    assert (wide > 0).sum() > 1.5 * (made > 0).sum()


def test_thresholds_of_canny_choose_edges():
    faint = square(60, 40)
    assert not make_control(faint, "canny").any()
    assert make_control(faint, "canny", low=10, high=40).any()
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert make_control(noisy, "canny", blur=4.0).mean() < 0.2 * make_control(noisy, "canny").mean()


def test_brightness_of_soft_edges_follows_their_step():
    levels = [int(make_control(square(step), "softedge_scharr").max()) for step in (5, 20, 60, 120, 255)]
    assert levels == sorted(levels)
    assert levels[0] < 6
    assert levels[2] == pytest.approx(0.63 * 255, abs=12)
    assert levels[-1] == 255
    assert make_control(square(20), "softedge_scharr", contrast=10.0).max() > 240


def test_scribbles_leave_out_short_strokes_and_are_as_thick_as_asked():
    picture = square()
    picture[10:22, 10:22] = 255
    made = make_control(picture, "scribble", least_length=10)
    assert made[0, :30, :30].any()
    assert not make_control(picture, "scribble", least_length=60)[0, :30, :30].any()
    widths = [
        int((make_control(square(), "scribble", thickness=width)[0, 65, :80, 0] > 0).sum())
        for width in (1, 5, 11)
    ]
    assert widths == [1, 5, 11]


def test_line_art_has_ink_on_the_dark_side():
    made = make_control(square(), "lineart_xdog")[0, 65, :, 0].astype(int)
    assert made[LEFT - 1] > 200
    assert made[LEFT] == 0
    dark_area = make_control(square(30, 20), "lineart_xdog", threshold=0.5)
    assert not dark_area[0, 60:70, 70:90].any()


def test_grey_and_transparent_pictures(tmp_path):
    grey = square()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    alpha = np.dstack([np.zeros((*grey.shape, 3), np.uint8), grey])  # black where opaque, over white
    Image.fromarray(alpha, "RGBA").save(tmp_path / "alpha.png")
    expected = make_control(square(), "canny")
    assert (make_control(read_image(tmp_path / "grey.png"), "canny") == expected).all()
    assert (
        make_control(read_image(tmp_path / "alpha.png"), "canny") == make_control(square(0, 255), "canny")
    ).all()


def test_frames_are_taken_one_at_a_time():
    taken = []

    def frames():
        for index in range(5):
            taken.append(index)
            yield square()

    made = open_maker("canny")(frames())
    assert taken == []
    next(made)
    next(made)
    assert taken == [0, 1]


def test_progress_is_told():
    told = []
    make_control(np.zeros((3, 8, 8, 3), np.uint8), "canny", progress=lambda *place: told.append(place))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lwo": 1.0}, "canny has no option 'lwo'; allowed: low, high, blur"),
        ({"low": -1.0}, "low is -1.0; allowed: a number, 0 to 5100"),
        ({"low": float("nan")}, "low is nan"),
        ({"blur": float("inf")}, "blur is inf"),
        ({"low": "3"}, "low is '3'"),
        ({"low": True}, "low is True"),
        ({"low": 300.0}, "low is 300 and high is 200; allowed: low not above high"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=r"^" + message.replace("[", r"\[")):
        make_control(square(), "canny", **options)


@pytest.mark.parametrize("kind", PLAIN)
def test_every_option_is_checked_by_name(kind):
    options = KINDS[kind].options
    for field in dataclasses.fields(options):
        assert field.metadata["help"]
        with pytest.raises(ValueError, match=f"^{field.name} is None; allowed: "):
            options(**{field.name: None})
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options(), dataclasses.fields(options)[0].name, 1)


def test_whole_numbers_are_numbers_but_not_the_other_way_round():
    assert CannyOptions(low=3).low == 3.0
    assert isinstance(CannyOptions(low=3).low, float)
    with pytest.raises(ValueError, match=r"^thickness is 2.0; allowed: a whole number, 1 to 99"):
        make_control(square(), "lines_lsd", thickness=2.0)


def test_options_from_one_line():
    options = KINDS["scribble"].options
    assert options.of_text("scribble", "") == options()
    assert options.of_text("scribble", " blur = 2, least-length=7 ") == options(blur=2.0, least_length=7)
    assert KINDS["hed"].options.of_text("hed", "allow_pickle=yes,weights=a/b@c").allow_pickle
    for text, message in (
        ("blur", "'blur' in 'blur'; allowed: NAME=VALUE"),
        ("blur=1,blur=2", "'blur=2' in 'blur=1,blur=2'; allowed: NAME=VALUE, each name once"),
        ("lwo=2", "scribble has no option 'lwo'"),
        ("blur=x", "blur is 'x'; allowed: a number, 0 to 100"),
        ("thickness=2.5", "thickness is '2.5'; allowed: a whole number"),
        (",", "'' in ','; allowed: NAME=VALUE"),
    ):
        with pytest.raises(ValueError, match="^" + message):
            options.of_text("scribble", text)
    with pytest.raises(ValueError, match=r"^offline is 'maybe'; allowed: True or False"):
        KINDS["hed"].options.of_text("hed", "offline=maybe")


def test_wrong_kinds_and_videos():
    with pytest.raises(ValueError, match="no control signal 'cany'; allowed: canny, softedge_scharr"):
        find_kind("cany")
    with pytest.raises(ValueError, match=r"options are SoftEdgeOptions; allowed for canny: CannyOptions"):
        open_maker("canny", SoftEdgeOptions())
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="a video is uint8"):
            make_control(wrong, "canny")
    for wrong in (np.zeros((2, 4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError, match=r"a frame is (uint8|float32) .*; allowed: uint8 \(H, W, 3\)"):
            make_control(wrong, "canny")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_missing_extra_is_one_line(kind, monkeypatch, tmp_path):
    real = importlib.import_module

    def without(name, *rest):
        if name in ("cv2", "torch", "transformers", "onnxruntime"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    extra = "control-models" if KINDS[kind].has_weights else "control"
    (tmp_path / "dw-ll_ucoco_384.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"pip install 'ea-data\[{extra}\]'$") as caught:
        open_maker(kind)
    assert "\n" not in str(caught.value)


def test_makers_are_plain_functions_of_a_frame():
    frame = square()
    assert canny(CannyOptions())(frame).shape == frame.shape[:2]
