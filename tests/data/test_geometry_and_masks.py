"""Resizing, cropping and pixel masks."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from ea_data.masks import MASK_KINDS, all_mask, box_mask, ends_mask, first_mask, last_mask, random_mask
from ea_data.transforms import cover_crop, cover_crop_mask, resize


def _ramp(height: int, width: int) -> np.ndarray:
    frames = np.zeros((2, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 255, width)
    frames[..., 1] = np.linspace(0, 255, height)[:, None]
    return frames


@pytest.mark.parametrize("size", [(40, 80), (80, 40), (50, 50), (33, 77), (16, 16), (200, 100)])
def test_cover_crop_keeps_proportions_and_the_centre(size: tuple[int, int]) -> None:
    frames = cover_crop(_ramp(50, 100), *size)
    assert frames.shape == (2, *size, 3)
    height, width = size
    middle = frames[0, height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1].mean(axis=(0, 1))
    assert np.abs(middle[:2] - 127.5).max() < 6
    scale = max(height / 50, width / 100)
    slope = np.diff(frames[0, height // 2, :, 0].astype(float))[2:-2].mean() * scale
    assert slope == pytest.approx(255 / 99, rel=0.1)


def test_cover_crop_without_scaling_is_exact() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3), dtype=np.uint8)
    assert np.array_equal(cover_crop(frames, 20, 20), frames[:, :, 5:25])
    assert np.array_equal(resize(frames, 20, 30), frames)
    assert resize(frames, 7, 9).shape == (1, 7, 9, 3)


def test_masks_are_cropped_alike() -> None:
    mask = np.zeros((1, 50, 100), bool)
    mask[:, :, 50:] = True
    small = cover_crop_mask(mask, 25, 25)
    assert small.shape == (1, 25, 25)
    assert small[0, :, 13:].all()
    assert not small[0, :, :12].any()


@pytest.mark.parametrize(
    "call",
    [
        lambda: resize(np.zeros((5, 5, 3), np.uint8), 4, 4),
        lambda: cover_crop(np.zeros((1, 5, 5, 3), np.float32), 4, 4),
        lambda: cover_crop(np.zeros((1, 5, 5, 3), np.uint8), 0, 4),
        lambda: all_mask(0, 4, 4),
        lambda: random_mask(np.random.default_rng(0), 4, 4, 4, weights=(0, 0, 0, 0, 0)),
        lambda: random_mask(np.random.default_rng(0), 4, 4, 4, weights=(1, -1, 0, 0, 0)),
    ],
)
def test_wrong_arguments(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        call()


@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_given_frames(frames: int) -> None:
    given = {
        "all": ~all_mask(frames, 4, 6),
        "first": ~first_mask(frames, 4, 6),
        "last": ~last_mask(frames, 4, 6),
        "ends": ~ends_mask(frames, 4, 6),
    }
    kept = {name: np.nonzero(mask.all(axis=(1, 2)))[0].tolist() for name, mask in given.items()}
    assert kept["all"] == []
    if frames == 1:
        assert kept["first"] == kept["last"] == kept["ends"] == []
    else:
        assert kept["first"] == [0]
        assert kept["last"] == [frames - 1]
        assert kept["ends"] == ([0, frames - 1] if frames > 2 else [0])
    assert all(mask.shape == (frames, 4, 6) for mask in given.values())


def test_box_is_one_rectangle_in_every_frame() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        mask = box_mask(rng, 3, 16, 24)
        assert (mask == mask[0]).all()
        rows, columns = np.nonzero(mask[0].any(1))[0], np.nonzero(mask[0].any(0))[0]
        assert mask[0].sum() == len(rows) * len(columns) > 0
        assert len(rows) >= 4
        assert len(columns) >= 6


def test_random_masks_depend_on_the_generator_alone() -> None:
    drawn = [random_mask(np.random.default_rng(seed), 5, 8, 8) for seed in range(200)]
    again = [random_mask(np.random.default_rng(seed), 5, 8, 8) for seed in range(200)]
    assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(drawn, again, strict=True))
    assert set(Counter(kind for kind, _ in drawn)) == set(MASK_KINDS)
    assert random_mask(np.random.default_rng(0), 5, 8, 8, weights=(0, 1, 0, 0, 0))[0] == "first"
