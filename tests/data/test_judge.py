"""The blind judge against clips whose content is known."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from ea_data.synthetic import MOTIONS, SHAPES, BackgroundSpec, SceneSpec, ShapeSpec, SyntheticDataset, render
from ea_data.synthetic.judge import judge

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


@pytest.mark.parametrize(
    ("size", "count"),
    [((17, 64, 64), 150), ((17, 128, 128), 40), ((9, 64, 112), 50), ((9, 96, 48), 50)],
    ids=str,
)
def test_ground_truth_is_judged_right(size: tuple[int, int, int], count: int) -> None:
    data = SyntheticDataset(7, *size, split="all", two_shapes=0.0)
    right = _score(data, count, lambda video, _: video)
    assert (
        min(right[name] for name in ("count", "shape", "colour", "motion", "background")) >= 0.99 * count
    ), right


@pytest.mark.parametrize(("size", "count"), [((17, 64, 64), 40), ((17, 128, 128), 8)], ids=str)
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
