"""Dissolves are told from cuts, camera moves and stills."""

import numpy as np
import pytest

from ea_data.curation.registry import open_stage
from ea_data.curation.stages.dissolves import least_unmixed


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


def test_a_short_clip_has_no_candidate():
    assert least_unmixed(_mixed(_scene(1), _scene(2), [1, 0.8, 0.5, 0.2, 0])) == 1


def test_the_verdict():
    stage = open_stage("dissolves", {"least": 0.2})
    assert stage.verdict({"unmixed": 0.2}) == ""
    assert stage.verdict({"unmixed": 0.1}) == "share of a frame that is no mixture 0.1 is below 0.2"
    with pytest.raises(ValueError, match="least is 2; allowed: 0 to 1"):
        open_stage("dissolves", {"least": 2})
