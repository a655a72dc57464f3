"""Dissolves are told from cuts, camera moves and stills."""

import cv2
import numpy as np
import pytest

from ea_data.curation.registry import open_stage
from ea_data.curation.stages.dissolves import _small, least_unmixed


def _scene(seed, side=24):
    """Patches of colour (side, side, 3)."""
    patches = np.random.default_rng(seed).uniform(20, 230, (side // 6, side // 6, 3))
    return np.kron(patches, np.ones((6, 6, 1))).astype(np.float32)


def _mixed(first, second, weights):
    return np.stack([w * first + (1 - w) * second for w in weights]).astype(np.float32)


WEIGHTS = np.clip(np.linspace(1.5, -0.5, 25), 0, 1)


@pytest.mark.parametrize("frames", [5, 9, 17])
def test_a_dissolve_is_a_mixture(frames):
    weights = np.concatenate((np.ones(8), np.linspace(1, 0, frames), np.zeros(8)))
    assert least_unmixed(_mixed(_scene(1), _scene(2), weights)) < 0.02


def test_a_fade_to_black_is_one_too():
    assert least_unmixed(_mixed(_scene(1), np.zeros_like(_scene(1)), WEIGHTS)) < 0.02


def test_what_is_no_dissolve():
    still = np.repeat(_scene(1)[None], 25, axis=0)
    brighter = still * np.linspace(0.5, 1, 25)[:, None, None, None]
    cut = np.concatenate((still[:12], np.repeat(_scene(2)[None], 13, axis=0)))
    scene = np.concatenate([_scene(seed) for seed in range(6)], axis=1)
    pan = np.stack([scene[:, place : place + 24] for place in range(0, 75, 3)])
    assert [least_unmixed(frames.astype(np.float32)) for frames in (still, brighter, cut)] == [1, 1, 1]
    assert least_unmixed(pan) > 0.5


def test_a_slow_pan_over_something_smooth_is_none():
    """Nearly the mean of the frames before and after, but with all of its contrast."""
    places = np.arange(24) * 2 * np.pi / 24
    ways = np.array([[1, 2, 3], [3, 1, 2], [2, 3, 1]])
    for step in (0.16, 0.2, 0.24):
        pan = np.stack(
            [
                128 + 60 * np.sin(places[None, :, None] + step * time + ways[np.newaxis, 0])
                + 20 * np.sin(places[:, None, None] + ways[np.newaxis, 1])
                for time in range(25)
            ]
        )  # fmt: skip
        assert least_unmixed(pan.astype(np.float32)) == 1 or least_unmixed(pan.astype(np.float32)) > 0.28


def _small_pan(seed, speed, rate=12, size=(240, 320), seconds=3.25):
    """Every `rate` / 8th frame of a pan over a smooth texture, as the stage sees it."""
    rng, (height, width), count = np.random.default_rng(seed), size, round(seconds * rate)
    wide = width + round(speed * count) + 1
    scene = np.full((height, wide, 3), 128, np.float32)
    for cell in (4, 16, 64):
        knots = rng.normal(0, 10 + cell / 4, (height // cell + 2, wide // cell + 2, 3)).astype(np.float32)
        scene += cv2.resize(knots, (wide, height), interpolation=cv2.INTER_CUBIC)
    scene = np.clip(scene, 0, 255).astype(np.uint8)
    places = [round(speed * number) for number in range(0, count, max(1, round(rate / 8)))]
    return np.stack([scene[:, place : place + width] for place in places])


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_drawn_pans_and_dissolves_are_told_apart(count):
    speeds = np.geomspace(1, 3, count)
    pans = [least_unmixed(_seen(_small_pan(seed, speed))) for seed, speed in enumerate(speeds)]
    assert min(pans) > 0.28
    rng = np.random.default_rng(1)
    for seed in range(count // 2):
        first, second = (_small_pan(one, rng.uniform(0, 2), rate=8) for one in (seed, seed + 900))
        begin, length = 6, int(rng.integers(5, 14))
        share = np.clip((np.arange(len(first)) - begin) / length, 0, 1)[:, None, None, None]
        mixed = first * (1 - share) + (second if seed % 2 else 255 - 0.8 * second) * share
        assert least_unmixed(_seen(mixed.astype(np.uint8))) < 0.28, seed


def _seen(frames):
    return np.stack([_small(frame) for frame in frames])


def test_a_short_clip_has_no_candidate():
    assert least_unmixed(_mixed(_scene(1), _scene(2), [1, 0.8, 0.5, 0.2, 0])) == 1


def test_the_verdict():
    stage = open_stage("dissolves", {"least": 0.2})
    assert stage.verdict({"unmixed": 0.2}) == ""
    assert stage.verdict({"unmixed": 0.1}) == "share of a frame that is no mixture 0.1 is below 0.2"
    with pytest.raises(ValueError, match="least is 2; allowed: 0 to 1"):
        open_stage("dissolves", {"least": 2})
