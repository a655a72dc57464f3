"""The blind judge against clips whose content is known."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from ea_data.synthetic import MOTIONS, SHAPES, BackgroundSpec, SceneSpec, ShapeSpec, SyntheticDataset, render
from ea_data.synthetic.camera_scenes import CameraScene
from ea_data.synthetic.clips import draw, sample
from ea_data.synthetic.judge import judge, judge_camera, judge_pair
from ea_data.synthetic.pairs import PairScene
from ea_data.synthetic.view import view_of

Change = Callable[[np.ndarray, int], np.ndarray]


def _score(data: SyntheticDataset, count: int, change: Change) -> Counter[str]:
    right: Counter[str] = Counter()
    for index in range(count):
        item = data[index]
        verdict = judge(change(item["video"], index))
        wanted = sorted(item["spec"].shapes, key=lambda shape: shape.colour)
        found = sorted(verdict.objects, key=lambda shape: shape.colour)
        right["count"] += len(wanted) == len(found)
        right["background"] += verdict.background_kind == item["spec"].background.kind
        for one, other in zip(wanted, found, strict=False):
            for name in ("shape", "colour", "motion"):
                right[name] += getattr(one, name) == getattr(other, name)
    return right


def _counts(*cases: tuple[tuple[int, int, int], int, int]) -> list[ParameterSet]:
    """Sizes with a few clips, and with many behind `-m slow`."""
    few = [pytest.param(size, count, id=f"{size}-{count}") for size, count, _ in cases]
    many = [
        pytest.param(size, count, id=f"{size}-{count}", marks=pytest.mark.slow) for size, _, count in cases
    ]
    return [*few, *many]


@pytest.mark.parametrize(
    ("size", "count"),
    _counts(((17, 64, 64), 50, 150), ((17, 128, 128), 8, 40), ((9, 64, 112), 20, 50), ((9, 96, 48), 20, 50)),
)
def test_ground_truth_is_judged_right(size: tuple[int, int, int], count: int) -> None:
    data = SyntheticDataset(7, *size, split="all", two_shapes=0.0)
    right = _score(data, count, lambda video, _: video)
    assert (
        min(right[name] for name in ("count", "shape", "colour", "motion", "background")) >= 0.99 * count
    ), right


@pytest.mark.parametrize(("size", "count"), _counts(((17, 64, 64), 16, 40), ((17, 128, 128), 3, 8)))
def test_degraded_clips_are_judged_right(size: tuple[int, int, int], count: int, degrade: Change) -> None:
    data = SyntheticDataset(8, *size, split="all", two_shapes=0.0)
    right = _score(data, count, degrade)
    assert min(right[name] for name in ("count", "shape", "colour", "motion")) >= 0.97 * count, right


def test_two_objects_are_judged_right() -> None:
    data = SyntheticDataset(9, 17, 64, 64, split="all", two_shapes=1.0)
    right = _score(data, 40, lambda video, _: video)
    assert right["count"] >= 39
    assert min(right[name] for name in ("shape", "colour", "motion")) >= 78, right


@pytest.mark.parametrize("shape", SHAPES)
def test_a_still_picture_has_shape_and_colour(shape: str) -> None:
    scene = SceneSpec(
        shapes=(ShapeSpec(shape=shape, colour="yellow", motion="still", size=0.36),),
        background=BackgroundSpec(kind="gradient", colours=("navy", "purple")),
    )
    (found,) = judge(render(scene, num_frames=1, height=64, width=64)).objects
    assert (found.shape, found.colour, found.motion) == (shape, "yellow", "still")


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_is_named(motion: str) -> None:
    scene = SceneSpec(
        shapes=(
            ShapeSpec(
                shape="heart",
                colour="white",
                motion=motion,
                size=0.3,
                travel=2.0 if motion == "spin" else 0.4,
            ),
        ),
        background=BackgroundSpec(kind="striped", colours=("red",)),
    )
    (found,) = judge(render(scene, num_frames=17, height=64, width=64)).objects
    assert found.motion == motion


def test_large_frames_are_judged_at_a_working_size() -> None:
    scene = SceneSpec(
        shapes=(ShapeSpec(shape="star", colour="green", motion="up", size=0.3),),
        background=BackgroundSpec(kind="plain", colours=("black",)),
    )
    (found,) = judge(render(scene, num_frames=5, height=400, width=600)).objects
    assert (found.shape, found.colour, found.motion) == ("star", "green", "up")


def test_an_empty_clip_has_no_objects() -> None:
    verdict = judge(np.full((5, 32, 32, 3), 118, dtype=np.uint8))
    assert verdict.objects == ()
    assert verdict.background_kind == "plain"
    assert verdict.background_colours == ("grey",)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((5, 64, 64), np.uint8),
        np.zeros((5, 64, 64, 3), np.float32),
        np.zeros((5, 8, 64, 3), np.uint8),
    ],
)
def test_wrong_arrays_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="allowed: uint8"):
        judge(frames)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        pytest.param((17, 64, 64), 40, id="(17, 64, 64)-40"),
        *_counts(((9, 64, 112), 6, 16), ((9, 96, 54), 6, 16)),
    ],
)
def test_moves_of_the_camera_are_named(size: tuple[int, int, int], count: int) -> None:
    frames, height, width = size
    right, errors = 0, []
    for index in range(count):
        scene = sample("camera", 12, index, split="all")
        assert isinstance(scene, CameraScene)
        clip = draw(scene, num_frames=frames, height=height, width=width)
        found = judge_camera(clip.frames)
        right += found.move == scene.move
        view, short = view_of(clip.camera, scene.floor_depth, height, width), min(height, width)
        true = (view.shift_x[-1] / short, view.shift_y[-1] / short, view.scale[-1], view.turn[-1])
        errors.append(np.subtract((*found.shift, found.scale, found.turn), true))
    assert right == count
    # The shape, which is nearer, pulls at what is measured.
    assert np.median(np.abs(errors), axis=0).max() < 0.01
    assert np.abs(errors).max() < 0.08


def test_moves_of_the_camera_are_named_in_degraded_clips(degrade: Change) -> None:
    right = 0
    for index in range(16):
        scene = sample("camera", 13, index)
        assert isinstance(scene, CameraScene)
        frames = draw(scene, num_frames=17, height=64, width=64).frames
        right += judge_camera(degrade(frames, index)).move == scene.move
    assert right >= 15


def test_a_camera_that_stands_is_static_and_without_a_pattern_unknown() -> None:
    shape = ShapeSpec(shape="star", colour="green", motion="right", size=0.3)
    striped = SceneSpec(shapes=(shape,), background=BackgroundSpec(kind="striped", colours=("red",)))
    frames = render(striped, num_frames=9, height=64, width=64)
    assert judge_camera(frames).move == "static"
    assert judge_camera(frames[:1]).move == "static"
    plain = SceneSpec(shapes=(shape,), background=BackgroundSpec(kind="plain", colours=("black",)))
    found = judge_camera(render(plain, num_frames=9, height=64, width=64))
    assert (found.move, found.confidence) == (None, 0.0)


def _score_pairs(count: int, change: Change) -> Counter[str]:
    right: Counter[str] = Counter()
    for index in range(count):
        scene = sample("two", 14, index, split="all")
        assert isinstance(scene, PairScene)
        found = judge_pair(change(draw(scene, num_frames=17, height=64, width=64).frames, index))
        assert found is not None
        kind = "behind" if scene.relation == "behind" else "apart"
        wanted = [shape.colour for shape in scene.shapes]
        right[f"{kind} all"] += 1
        right[f"{kind} relation"] += found.relation == scene.relation
        right[f"{kind} order"] += [found.first.colour, found.second.colour] == wanted
        by_colour = {seen.colour: seen for seen in (found.first, found.second)}
        for place, shape in zip(("first", "second"), scene.shapes, strict=True):
            for name in ("shape", "motion"):
                seen = by_colour.get(shape.colour)
                right[f"{kind} {place} {name}"] += seen is not None and getattr(seen, name) == getattr(
                    shape, name
                )
    return right


def test_pairs_are_judged_right() -> None:
    right = _score_pairs(60, lambda video, _: video)
    apart, behind = right["apart all"], right["behind all"]
    assert min(apart, behind) >= 12
    for name in ("relation", "order", "first shape", "first motion", "second shape", "second motion"):
        assert right[f"apart {name}"] >= 0.98 * apart, right
    for name in ("relation", "order", "first motion", "second shape", "second motion"):
        assert right[f"behind {name}"] >= 0.9 * behind, right
    # Of what is behind, the visible part alone is compared with whole shapes.
    assert right["behind first shape"] >= 0.5 * behind, right


def test_degraded_pairs_are_judged_right(degrade: Change) -> None:
    right = _score_pairs(12, degrade)
    assert right["apart relation"] + right["behind relation"] >= 11, right


def test_fewer_than_two_colours_are_no_pair() -> None:
    assert judge_pair(np.full((5, 32, 32, 3), 118, dtype=np.uint8)) is None
    shape = ShapeSpec(shape="star", colour="green", motion="up", size=0.4)
    scene = SceneSpec(shapes=(shape,), background=BackgroundSpec(kind="plain", colours=("black",)))
    assert judge_pair(render(scene, num_frames=5, height=64, width=64)) is None


@pytest.mark.parametrize("look", [judge_pair, judge_camera])
def test_wrong_arrays_are_refused_by_all(look: Callable[[np.ndarray], object]) -> None:
    with pytest.raises(ValueError, match="allowed: uint8"):
        look(np.zeros((5, 8, 64, 3), np.uint8))
