"""What comes with a clip is true: cameras, trajectories, edges, masks."""

import json

import numpy as np
import pytest

from ea_data.control.camera import camera_from_text, focal_shares, plucker_rays
from ea_data.control.moves import parse_camera
from ea_data.control.source import camera_path
from ea_data.control.trajectory import trajectory_from_text
from ea_data.synthetic.camera_scenes import CAMERA_MOVES, sample_camera_scene
from ea_data.synthetic.clips import SCENE_KINDS, draw, sample
from ea_data.synthetic.signals import SIGNALS, canny, edges, find_signal, heat, masks, trajectory_text
from ea_data.synthetic.view import view_of

HOLLOW = ("ring", "crescent")
SIZES = [(64, 64), (48, 96), (80, 48)]


def _scenes(move, count=2):
    found = (sample_camera_scene(0, index) for index in range(1000))
    return [scene for scene in found if scene.move == move][:count]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_rays_of_the_camera_file_meet_the_planes_where_they_are_drawn(move, size):
    height, width = size
    (scene,) = _scenes(move, 1)
    clip = draw(scene, num_frames=5, height=height, width=width)
    path = camera_from_text(find_signal("camera").text(clip), "file")
    rays = plucker_rays(path, 5, height, width).astype(np.float64)
    moment, direction = rays[:, :3], rays[:, 3:]
    nearest = np.cross(direction, moment, axis=1)
    fx, fy = (share[0] * side for share, side in zip(focal_shares(path, height, width), (width, height)))
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for depth in (scene.shape_depth, scene.floor_depth):
        steps = (depth - nearest[:, 2]) / direction[:, 2]
        met = nearest + direction * steps[:, None]
        view = view_of(path, depth, height, width)
        for frame in range(5):
            first = view.to_first(frame, x, y)
            assert np.abs(met[frame, 0] / depth * fx + width / 2 - first[0]).max() < 2e-3
            assert np.abs(met[frame, 1] / depth * fy + height / 2 - first[1]).max() < 2e-3


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_the_floor_moves_as_the_camera_file_says(move):
    """Each frame, fetched through the projection of the file, is the first frame; and not through another."""
    for scene in _scenes(move):
        clip = draw(scene, num_frames=9, height=96, width=96)
        path = camera_from_text(find_signal("camera").text(clip), "file")
        away = masks(clip) > 0
        first, last = clip.frames[0].astype(int), clip.frames[-1].astype(int)
        right = _difference(first, last, _projected(path, scene.floor_depth, 96), away)
        still = _difference(first, last, np.mgrid[:96, :96][::-1] + 0.5, away)
        nearer = _difference(first, last, _projected(path, scene.floor_depth - 2, 96), away)
        assert right < 6, (scene, right)
        assert still > 2.5 * right, (scene, right, still)
        assert "clockwise" in move or nearer > 1.5 * right, (scene, right, nearer)


def _projected(path, depth, side):
    """(2, H, W): where what the first frame shows at a pixel is in the last one, from the matrices alone."""
    fx, fy = (share[-1] * side for share in focal_shares(path, side, side))
    y, x = np.mgrid[:side, :side] + 0.5
    points = np.stack([(x - side / 2) / fx * depth, (y - side / 2) / fy * depth, np.full_like(x, depth)])
    matrix = path.world_to_camera[-1]
    seen = np.einsum("ij,jhw->ihw", matrix[:, :3], points) + matrix[:, 3, None, None]
    return np.stack([seen[0] / seen[2] * fx + side / 2, seen[1] / seen[2] * fy + side / 2])


def _difference(first, last, places, away):
    """Mean difference of the first frame and the last one at these places, shapes left out."""
    columns, rows = np.floor(places).astype(int)
    height, width = first.shape[:2]
    known = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & ~away[0]
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    known &= ~away[-1][rows, columns]
    assert known.sum() > 1000
    return np.abs(first - last[rows, columns])[known].mean()


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_a_still_shape_moves_as_its_trajectory_says(move):
    still = [scene for scene in _scenes(move, 60) if scene.shape.motion == "still"]
    scene = next(scene for scene in still if scene.shape.shape in ("circle", "square", "diamond", "cross"))
    clip = draw(scene, num_frames=7, height=96, width=96)
    (path,) = trajectory_from_text(trajectory_text(clip), "file", 96, 96)
    inside = masks(clip) > 0
    for frame, (x, y) in enumerate(path):
        rows, columns = np.nonzero(inside[frame])
        assert np.hypot(columns.mean() + 0.5 - x, rows.mean() + 0.5 - y) < 0.4


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_things_move_against_the_camera(move):
    scene = next(scene for scene in _scenes(move, 60) if scene.shape.motion == "still")
    track = draw(scene, num_frames=9, height=64, width=64).tracks[0]
    right, down = track.x[-1] - track.x[0], track.y[-1] - track.y[0]
    growth, turn = track.radius[-1] / track.radius[0], track.angle[-1] - track.angle[0]
    expected = {
        "pan left": right > 8,
        "pan right": right < -8,
        "pan up": down > 8,
        "pan down": down < -8,
        "zoom in": growth > 1.3,
        "zoom out": growth < 0.75,
        "clockwise": turn < -0.4,
        "counter-clockwise": turn > 0.4,
    }
    assert expected[move]
    if move.startswith("pan"):
        assert growth == 1
        assert turn == 0


@pytest.mark.parametrize("fps", [4.0, 8.0, 16.0, 24.0, 30.0])
def test_camera_files_are_read_pose_for_frame(fps):
    scene = sample_camera_scene(0, 3)
    clip = draw(scene, num_frames=13, height=32, width=32)
    read = camera_path(find_signal("camera").text(clip), 13, fps, name="file")
    assert len(read) == 13
    assert np.abs(read.world_to_camera - clip.camera.world_to_camera).max() < 1e-8
    assert np.abs(read.intrinsics - clip.camera.intrinsics).max() < 1e-8


@pytest.mark.parametrize("kind", ["one", "two"])
def test_other_scenes_have_a_camera_that_stands(kind):
    clip = draw(sample(kind, 0, 1), num_frames=3, height=32, width=32)
    assert np.array_equal(clip.camera.world_to_camera, parse_camera("static", 3).world_to_camera)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_trajectory_points_lie_on_the_shapes(kind, size):
    height, width = size
    for index in range(25):
        scene = sample(kind, 5, index)
        shapes = (scene.shape,) if kind == "camera" else scene.shapes
        clip = draw(scene, num_frames=6, height=height, width=width)
        text = trajectory_text(clip)
        assert json.loads(text)["width"] == width
        paths = trajectory_from_text(text, "file", height, width)
        assert [path.shape for path in paths] == [(6, 2)] * len(shapes)
        for number, (shape, path) in enumerate(zip(shapes, paths, strict=True)):
            drawn = clip.outlines[number]
            for frame, (x, y) in enumerate(path):
                column, row = int(x) - drawn.left[frame], int(y) - drawn.top[frame]
                if shape.shape in HOLLOW:  # the turning point of these is in their hole
                    rows, columns = np.nonzero(drawn.distance[frame] <= 0)
                    assert rows.min() <= row <= rows.max()
                    assert columns.min() - 3 <= column <= columns.max() + 3
                else:
                    assert drawn.distance[frame, row, column] < 0, (scene, frame)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_masks_show_the_shapes_of_the_frames(kind):
    for index in range(20):
        scene = sample(kind, 6, index)
        shapes = (scene.shape,) if kind == "camera" else scene.shapes
        clip = draw(scene, num_frames=3, height=72, width=72)
        levels = [255] if len(shapes) == 1 else [128, 255]
        mask = masks(clip)
        assert set(np.unique(mask)) == {0, *levels}
        for shape, level in zip(shapes, levels, strict=True):
            near = np.abs(clip.frames.astype(int) - shape.fill).max(axis=-1) <= 1
            assert (near & (mask == level)).sum() > 0.6 * (mask == level).sum()
            assert (near & (mask != level)).sum() <= 0.02 * near.sum() + 2, scene


def _borders(mask):
    """Pixels with a neighbour, above, below, left or right, of another value."""
    found = np.zeros(mask.shape, dtype=bool)
    down, across = mask[:, 1:] != mask[:, :-1], mask[:, :, 1:] != mask[:, :, :-1]
    found[:, 1:] |= down
    found[:, :-1] |= down
    found[:, :, 1:] |= across
    found[:, :, :-1] |= across
    return found


def _grown(mask):
    """With all eight neighbours."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    height, width = mask.shape[1:]
    parts = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(parts)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_edges_lie_on_the_borders_of_masks(kind):
    for index in range(15):
        clip = draw(sample(kind, 7, index), num_frames=4, height=80, width=80)
        mask, lines, thin = masks(clip), edges(clip), canny(clip) > 0
        borders = _borders(mask)
        assert (lines >= 128)[borders].mean() > 0.93
        # Lines end where the outline does; a mask ends where a horn or tip is thinner than a pixel.
        assert (lines >= 128)[~_grown(borders)].sum() < 0.02 * (lines >= 128).sum()
        assert not (lines >= 128)[~_grown(_grown(_grown(_grown(borders))))].any()
        pattern = _borders(clip.tones)
        assert not (thin & ~borders & ~pattern).any()
        assert _grown(thin)[borders].all()


@pytest.mark.parametrize("kind", ["one", "two"])
def test_canny_is_what_the_filter_finds(kind):
    """On plain backgrounds, against OpenCV's filter of the frames, to a pixel."""
    cv2 = pytest.importorskip("cv2")
    found, wanted, both = 0, 0, 0
    scenes = [scene for scene in (sample(kind, 3, i) for i in range(40)) if scene.background.kind == "plain"]
    for scene in scenes[:10]:
        clip = draw(scene, num_frames=2, height=128, width=128)
        exact = canny(clip) > 0
        filtered = np.stack([cv2.Canny(frame, 100, 200) > 0 for frame in clip.frames])
        found, wanted = found + filtered.sum(), wanted + exact.sum()
        both += (filtered & _grown(exact)).sum()
        assert (exact & _grown(_grown(filtered))).sum() > 0.9 * exact.sum()
    assert both > 0.97 * found
    assert 0.8 < found / wanted < 1.4  # the filter steps twice where a line is slanted


def test_heat_is_the_drawing_of_the_trajectory():
    clip = draw(sample("two", 0, 2), num_frames=4, height=64, width=96)
    spots = heat(clip)
    assert spots.shape == (4, 64, 96)
    for track in clip.tracks:
        for frame in range(4):
            assert spots[frame, int(track.y[frame]), int(track.x[frame])] > 150


def test_signals_are_known_by_name():
    assert list(SIGNALS) == ["canny", "edges", "masks", "trajectory", "heat", "camera"]
    with pytest.raises(ValueError, match="no control signal 'depth'; allowed: canny, edges"):
        find_signal("depth")


def test_a_camera_that_turns_away_is_refused():
    path = parse_camera("zoom in 2", 5)
    with pytest.raises(ValueError, match="in front of it"):
        view_of(path, 3.0, 32, 32)
    tilted = parse_camera("static", 2)
    angle = 0.1
    tilted.world_to_camera[1, 1:, 1:3] = [
        [np.cos(angle), -np.sin(angle)],
        [np.sin(angle), np.cos(angle)],
    ]
    with pytest.raises(ValueError, match="face the plane"):
        view_of(tilted, 5.0, 32, 32)
