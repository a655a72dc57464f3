"""Pairs and camera scenes: chance, splits, relations, places, captions."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ea_data.synthetic import COLOURS, SHAPES, BackgroundSpec, ShapeSpec, is_heldout, render
from ea_data.synthetic.camera_scenes import (
    CAMERA_MOVES,
    CameraScene,
    move_is_heldout,
    move_triples,
    sample_camera_scene,
)
from ea_data.synthetic.clips import SCENE_KINDS, caption_of, draw, record, sample
from ea_data.synthetic.floors import FloorSpec
from ea_data.synthetic.pairs import RELATIONS, PairScene, pair_is_heldout, pair_triples, sample_pair
from ea_data.synthetic.scene_phrases import CAMERA_PHRASES_EN, CAMERA_PHRASES_ZH, RELATION_WORDS_EN

SIZE = {"num_frames": 5, "height": 48, "width": 48}
RED = ShapeSpec(shape="circle", colour="red", motion="up", size=0.25)
BLUE = ShapeSpec(shape="square", colour="blue", motion="spin", size=0.25, travel=2.0)
GREEN = BackgroundSpec(kind="plain", colours=("green",))
PAIR = PairScene(shapes=(RED, BLUE), relation="left of", background=GREEN)
FLOOR = FloorSpec(kind="checkered", colour="navy")
SHOT = CameraScene(shape=RED, floor=FLOOR, move="pan left")


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_a_scene_is_a_pure_function_of_seed_and_index(kind):
    first = sample(kind, 3, 8)
    assert first == sample(kind, 3, 8)
    assert first != sample(kind, 3, 9)
    assert first != sample(kind, 4, 8)
    one, other = draw(first, **SIZE), draw(first, **SIZE)
    assert np.array_equal(one.frames, other.frames)
    assert one.frames.shape == (5, 48, 48, 3)
    assert record(first)["kind"] == kind


@pytest.mark.parametrize("size", [(5, 48, 48), (1, 40, 64), (3, 66, 37)])
def test_one_shape_is_drawn_as_ever(size):
    names = dict(zip(("num_frames", "height", "width"), size, strict=True))
    for index in range(12):
        scene = sample("one", 2, index)
        assert np.array_equal(draw(scene, **names).frames, render(scene, **names))


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_one_frame_is_the_first_moment(kind):
    scene = sample(kind, 1, 3)
    picture = draw(scene, num_frames=1, height=40, width=56)
    clip = draw(scene, num_frames=9, height=40, width=56)
    assert np.array_equal(picture.frames[0], clip.frames[0])


@pytest.mark.parametrize(
    ("triples", "is_out", "size"),
    [(pair_triples, pair_is_heldout, 300), (move_triples, move_is_heldout, 720)],
    ids=["pairs", "moves"],
)
def test_a_tenth_is_held_out_and_every_pair_of_values_is_trained(triples, is_out, size):
    held, trained = set(triples("heldout")), set(triples("train"))
    assert len(held) == size // 10
    assert held | trained == set(triples("all"))
    assert all(is_out(*triple) for triple in held)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        possible = {(triple[first], triple[second]) for triple in triples("all")}
        assert {(triple[first], triple[second]) for triple in trained} == possible


def test_splits_show_only_what_they_may():
    for index in range(120):
        pair, shot = sample_pair(0, index), sample_camera_scene(0, index)
        first, second = pair.shapes
        assert not pair_is_heldout(first.shape, pair.relation, second.shape)
        assert not move_is_heldout(shot.shape.shape, shot.shape.colour, shot.move)
        for shape in (first, second, shot.shape):
            assert not is_heldout(shape.shape, shape.colour, shape.motion)


def test_held_out_scenes_walk_through_all_and_languages_alternate():
    pairs = [sample_pair(0, index, split="heldout") for index in range(60)]
    assert len({(p.shapes[0].shape, p.relation, p.shapes[1].shape) for p in pairs}) == 30
    shots = [sample_camera_scene(0, index, split="heldout") for index in range(144)]
    assert len({(s.shape.shape, s.shape.colour, s.move) for s in shots}) == 72
    for scenes in (pairs, shots):
        assert [scene.language for scene in scenes[:4]] == ["en", "zh", "en", "zh"]
    assert all(pair_is_heldout(p.shapes[0].shape, p.relation, p.shapes[1].shape) for p in pairs)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (48, 84), (84, 48)])
def test_relations_hold_in_every_frame(height, width):
    seen = Counter()
    for index in range(45):
        scene = sample_pair(6, index, split="all")
        clip = draw(scene, num_frames=7, height=height, width=width)
        back, front = clip.tracks
        inside = [_inside(clip, number) for number in (0, 1)]
        seen[scene.relation] += 1
        if scene.relation == "behind":
            both = inside[0] & inside[1]
            assert both.any(axis=(1, 2)).all(), scene
            visible = (inside[0] & ~inside[1]).sum(axis=(1, 2)) / inside[0].sum(axis=(1, 2))
            assert visible.min() > 0.3, scene
        else:
            ahead = front.x - back.x if scene.relation == "left of" else front.y - back.y
            aside = front.y - back.y if scene.relation == "left of" else front.x - back.x
            assert (ahead >= np.abs(aside) - 1e-6).all(), scene
            assert not (inside[0] & inside[1]).any()
            axis = 1 if scene.relation == "left of" else 2
            for first, second in zip(*(part.any(axis=axis) for part in inside), strict=True):
                assert np.nonzero(first)[0].max() < np.nonzero(second)[0].min(), scene
    assert set(seen) == set(RELATIONS)


def test_pairs_stay_inside_the_frame():
    for index in range(30):
        clip = draw(sample_pair(8, index), num_frames=7, height=60, width=90)
        for number in (0, 1):
            inside = _inside(clip, number)
            assert not inside[:, [0, -1]].any()
            assert not inside[:, :, [0, -1]].any()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (54, 96), (80, 60)])
def test_shapes_stay_in_the_picture_of_the_camera(height, width):
    moves = Counter()
    for index in range(40):
        scene = sample_camera_scene(4, index)
        clip = draw(scene, num_frames=9, height=height, width=width)
        inside = _inside(clip, 0)
        assert inside.any(axis=(1, 2)).all()
        assert not inside[:, [0, -1]].any(), scene
        assert not inside[:, :, [0, -1]].any(), scene
        moves[scene.move] += 1
    assert len(moves) >= 7


def test_canonical_captions():
    assert caption_of(PAIR) == (
        "a red circle to the left of a blue square on a green background, "
        "the red circle moves up and the blue square spins"
    )
    assert caption_of(PAIR, "zh") == (
        "绿色背景上，一个红色的圆形在一个蓝色的正方形的左边，红色的圆形向上移动，蓝色的正方形旋转"
    )
    assert caption_of(PAIR, motion=False) == "a red circle to the left of a blue square on a green background"
    assert (
        caption_of(SHOT)
        == "a red circle moves up on a checkered navy background, the camera pans to the left"
    )
    assert caption_of(SHOT, "zh") == "一个红色的圆形在深蓝色棋盘格背景上向上移动，镜头向左平移"
    assert caption_of(SHOT, motion=False) == "a red circle on a checkered navy background"


def test_captions_state_the_relation_from_either_side():
    sides = Counter()
    for variant in range(1, 200):
        text = caption_of(PAIR, "en", variant).lower()
        left, right = (any(f"is {word}" in text or f" {word} " in text for word in words)
                       for words in RELATION_WORDS_EN["left of"])  # fmt: skip
        assert left != right, text
        assert text.index("red") < text.index("blue") if left and "is " in text else True
        sides[left] += 1
        chinese = caption_of(PAIR, "zh", variant)
        assert ("左" in chinese) != ("右" in chinese), chinese
        assert "{" not in text + chinese
    assert sides[False] >= 35
    assert len({caption_of(PAIR, "en", variant) for variant in range(1, 200)}) > 100


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_captions_state_what_the_camera_does(move):
    scene = replace(SHOT, move=move)
    for variant in range(60):
        text, chinese = caption_of(scene, "en", variant), caption_of(scene, "zh", variant)
        assert any(phrase in text for phrase in CAMERA_PHRASES_EN[move]), text
        assert any(phrase in chinese for phrase in CAMERA_PHRASES_ZH[move]), chinese


def test_everything_appears():
    pairs = [sample_pair(0, index) for index in range(150)]
    assert {shape.shape for pair in pairs for shape in pair.shapes} == set(SHAPES)
    assert {shape.colour for pair in pairs for shape in pair.shapes} == set(COLOURS)
    shots = [sample_camera_scene(0, index) for index in range(150)]
    assert {shot.move for shot in shots} == set(CAMERA_MOVES)
    assert {shot.floor.kind for shot in shots} == {"checkered", "dotted"}
    assert 0.35 < np.mean([shot.shape.motion == "still" for shot in shots]) < 0.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample("three", 0, 0), "scene kind is 'three'; allowed: one, two, camera"),
        (lambda: sample("two", -1, 0), "seed and index"),
        (lambda: sample("camera", 0, -1), "seed and index"),
        (lambda: sample("camera", 0, 0, split="test"), "split is 'test'"),
        (lambda: pair_is_heldout("blob", "above", "ring"), "shape is 'blob'"),
        (lambda: pair_is_heldout("ring", "near", "ring"), "relation is 'near'; allowed: left of"),
        (lambda: move_is_heldout("ring", "red", "tilt"), "move is 'tilt'; allowed: pan left"),
        (lambda: replace(PAIR, relation="near"), "relation is 'near'"),
        (lambda: replace(PAIR, shapes=(RED, RED)), "different colours"),
        (lambda: replace(PAIR, language="fr"), "language is 'fr'"),
        (lambda: replace(SHOT, move="tilt"), "move is 'tilt'"),
        (lambda: replace(SHOT, speed=0.0), "speed is 0.0; allowed: above 0"),
        (lambda: replace(SHOT, shape_depth=8.0), "shape_depth and floor_depth are 8.0 and 7.0"),
        (lambda: replace(FLOOR, kind="tiled"), "floor kind is 'tiled'"),
        (lambda: replace(FLOOR, colour="cyan"), "floor colour is 'cyan'"),
        (lambda: replace(FLOOR, period=0.0), "period is 0.0"),
        (lambda: caption_of(PAIR, "fr"), "language is 'fr'"),
        (lambda: caption_of(SHOT, "en", -1), "variant is -1"),
        (lambda: draw(PAIR, num_frames=0, height=48, width=48), "num_frames is 0"),
        (lambda: draw(SHOT, num_frames=1, height=4, width=48), "height and width are 4 and 48"),
    ],
)
def test_wrong_arguments_name_the_field(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _inside(clip, number):
    """(T, H, W): pixels inside the outline of a shape, seen or not."""
    inside = np.zeros(clip.tones.shape, dtype=bool)
    drawn = clip.outlines[number]
    for frame in range(len(inside)):
        inside[frame][drawn.window(frame)] = drawn.distance[frame] <= 0
    return inside
