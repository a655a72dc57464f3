"""Scenes, pixels, captions and labels of the procedural data set."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from ea_data.synthetic import (
    BACKGROUND_KINDS,
    COLOURS,
    LANGUAGES,
    MOTIONS,
    SHAPES,
    BackgroundSpec,
    SceneSpec,
    ShapeSpec,
    SyntheticDataset,
    caption,
    is_heldout,
    is_valid,
    labels,
    mentioned,
    render,
    sample_scene,
    triples,
)
from ea_data.synthetic.contrast import MIN_CONTRAST, contrast
from ea_data.synthetic.phrases import MOTION_PHRASES_EN, MOTION_PHRASES_ZH
from ea_data.synthetic.vocabulary import SHAPE_WORDS_EN, SHAPE_WORDS_ZH

RED_CIRCLE = SceneSpec(
    shapes=(ShapeSpec(shape="circle", colour="red", motion="right", size=0.35),),
    background=BackgroundSpec(kind="plain", colours=("blue",)),
)


def test_vocabulary_is_large_enough() -> None:
    assert len(SHAPES) == 10
    assert len(COLOURS) == 9
    assert len(MOTIONS) == 13
    assert BACKGROUND_KINDS == ("plain", "gradient", "striped")


def test_scene_and_pixels_are_a_pure_function_of_seed_and_index() -> None:
    first, second = sample_scene(3, 8), sample_scene(3, 8)
    assert first == second
    assert first != sample_scene(3, 9)
    assert first != sample_scene(4, 8)
    size = {"num_frames": 5, "height": 32, "width": 48}
    assert np.array_equal(render(first, **size), render(second, **size))


def test_scene_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        RED_CIRCLE.variant = 3  # type: ignore[misc]


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 64), (17, 64, 64), (9, 37, 61), (3, 96, 54)])
def test_any_size_and_length(frames: int, height: int, width: int) -> None:
    video = SyntheticDataset(0, frames, height, width)[11]["video"]
    assert video.shape == (frames, height, width, 3)
    assert video.dtype == np.uint8


def test_one_frame_is_the_first_moment_of_the_clip() -> None:
    clip = render(RED_CIRCLE, num_frames=9, height=40, width=40)
    assert np.array_equal(render(RED_CIRCLE, num_frames=1, height=40, width=40)[0], clip[0])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (80, 160), (160, 80)])
def test_shapes_stay_inside_the_frame(height: int, width: int) -> None:
    for index in range(60):
        scene = sample_scene(1, index)
        plain = replace(scene, background=BackgroundSpec(kind="plain", colours=("black",)))
        video = render(plain, num_frames=9, height=height, width=width)
        border = np.ones(video.shape[1:3], dtype=bool)
        border[1:-1, 1:-1] = False
        assert (video[:, border] == video[0, 0, 0]).all(), scene
        assert (video != video[0, 0, 0]).any()


def test_motion_is_clearly_visible() -> None:
    video = render(RED_CIRCLE, num_frames=17, height=64, width=64)
    red = video[..., 0] > 140
    columns = np.arange(64)
    travelled = (red[-1].sum(0) @ columns) / red[-1].sum() - (red[0].sum(0) @ columns) / red[0].sum()
    assert 0.35 * 64 <= travelled <= 0.46 * 64


def test_every_shape_stands_out_from_its_background() -> None:
    for index in range(300):
        scene = sample_scene(5, index)
        for shape in scene.shapes:
            for rgb in scene.background.rgb:
                assert contrast(shape.fill, rgb) > 0.6 * MIN_CONTRAST, scene


def test_two_shapes_rarely_touch_and_differ_in_colour() -> None:
    touching = 0
    pairs = [s for s in (sample_scene(2, i, two_shapes=1.0) for i in range(150)) if len(s.shapes) == 2]
    assert len(pairs) == 150
    for scene in pairs:
        first, second = scene.shapes
        assert first.colour != second.colour
        covered = []
        for shape in scene.shapes:
            alone = replace(
                scene, shapes=(shape,), background=BackgroundSpec(kind="plain", colours=("black",))
            )
            video = render(alone, num_frames=9, height=32, width=32)
            covered.append((video != video[0, 0, 0]).any(axis=-1))
        touching += bool((covered[0] & covered[1]).any())
    assert touching <= 0.1 * len(pairs)


def test_heldout_split_is_balanced_and_never_trained() -> None:
    held, trained = set(triples("heldout")), set(triples("train"))
    assert held.isdisjoint(trained)
    assert held | trained == set(triples("all"))
    assert 0.08 <= len(held) / len(triples("all")) <= 0.12
    possible = triples("all")
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert {(t[first], t[second]) for t in trained} == {(t[first], t[second]) for t in possible}
    assert not is_heldout("circle", "red", "right")


def test_splits_show_only_their_triples_and_heldout_walks_through_all() -> None:
    for index in range(300):
        for shape in sample_scene(0, index).shapes:
            assert not is_heldout(shape.shape, shape.colour, shape.motion)
    count = len(triples("heldout"))
    seen, languages = set(), []
    for index in range(2 * count):
        scene = sample_scene(0, index, split="heldout")
        (shape,) = scene.shapes
        assert is_heldout(shape.shape, shape.colour, shape.motion)
        seen.add((shape.shape, shape.colour, shape.motion))
        languages.append(scene.language)
    assert len(seen) == count
    assert languages.count("zh") == count


def test_spin_is_never_invisible() -> None:
    assert not is_valid("circle", "red", "spin")
    assert not is_valid("ring", "red", "spin")
    with pytest.raises(ValueError, match="no such shape"):
        ShapeSpec(shape="ring", colour="red", motion="spin", size=0.3)


def test_canonical_captions() -> None:
    assert caption(RED_CIRCLE) == "a red circle moves to the right on a blue background"
    assert caption(RED_CIRCLE, "zh") == "一个红色的圆形在蓝色背景上向右移动"
    assert caption(RED_CIRCLE, motion=False) == "a red circle on a blue background"


def test_captions_state_shape_colour_and_motion_in_many_ways() -> None:
    assert len({caption(RED_CIRCLE, "en", variant) for variant in range(1, 300)}) > 60
    for index in range(200):
        scene = sample_scene(9, index)
        text = caption(scene).lower()
        for shape in scene.shapes:
            words = SHAPE_WORDS_EN if scene.language == "en" else SHAPE_WORDS_ZH
            assert any(word in text for word in words[shape.shape]), text
            if scene.language == "en":
                assert shape.colour in text
        assert caption(scene) == caption(scene)


def test_motion_phrases_are_unambiguous() -> None:
    for phrases in (MOTION_PHRASES_EN, MOTION_PHRASES_ZH):
        everything = [phrase for motion in MOTIONS for phrase in phrases[motion]]
        assert len(everything) == len(set(everything))


def test_background_is_mentioned_in_three_quarters_of_the_captions() -> None:
    stated = 0
    for variant in range(1, 400):
        said = mentioned(RED_CIRCLE, "en", variant).background
        text = caption(RED_CIRCLE, "en", variant)
        assert said == ("blue" in text)
        stated += said
    assert 0.68 <= stated / 399 <= 0.82
    assert not mentioned(RED_CIRCLE, motion=False).motion


def test_labels_are_positions_in_the_vocabularies() -> None:
    scene = sample_scene(0, 4, two_shapes=1.0)
    found = labels(scene)
    assert found.num_shapes == 2
    for place, shape in enumerate(scene.shapes):
        assert SHAPES[found.shape[place]] == shape.shape
        assert COLOURS[found.colour[place]] == shape.colour
        assert MOTIONS[found.motion[place]] == shape.motion
    assert labels(RED_CIRCLE).shape == (0, -1)
    assert BACKGROUND_KINDS[labels(RED_CIRCLE).background_kind] == "plain"


def test_both_languages_appear() -> None:
    assert {sample_scene(0, index).language for index in range(40)} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_scene(-1, 0), "seed and index"),
        (lambda: sample_scene(0, 0, split="test"), "split"),  # type: ignore[arg-type]
        (lambda: render(RED_CIRCLE, num_frames=0, height=64, width=64), "num_frames"),
        (lambda: render(RED_CIRCLE, num_frames=1, height=4, width=64), "height"),
        (lambda: caption(RED_CIRCLE, "fr"), "language"),  # type: ignore[arg-type]
        (lambda: caption(RED_CIRCLE, "en", -1), "variant"),
        (lambda: is_heldout("blob", "red", "up"), "shape is 'blob'; allowed: circle"),
        (lambda: SyntheticDataset(0, 1, 64, 64, length=0), "length"),
        (lambda: SyntheticDataset(0, 0, 64, 64), "num_frames"),
        (lambda: SyntheticDataset(0, 1, 64, 64, two_shapes=2.0), "two_shapes"),
        (lambda: BackgroundSpec(kind="gradient", colours=("red",)), "gradient"),
        (lambda: BackgroundSpec(kind="dotted", colours=("red",)), "dotted"),
        (lambda: replace(RED_CIRCLE, shapes=()), "1 or 2 shapes"),
        (lambda: ShapeSpec(shape="circle", colour="red", motion="up", size=3.0), "size"),
    ],
)
def test_wrong_arguments_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_index_outside_the_data_set_ends_iteration() -> None:
    data = SyntheticDataset(0, 1, 16, 16, length=3)
    assert len(list(data)) == len(data) == 3  # type: ignore[call-overload]
    with pytest.raises(IndexError):
        data[3]


def test_the_data_set_needs_numpy_alone() -> None:
    code = (
        "import sys, ea_data.synthetic, ea_data.synthetic.judge; "
        "import ea_data.synthetic.clips, ea_data.synthetic.signals; "
        "assert not {'av', 'PIL', 'torch', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
