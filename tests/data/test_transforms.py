"""Resizing and cropping of frames and masks."""

from collections.abc import Callable

import numpy as np
import pytest

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
    ],
)
def test_wrong_arguments(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        call()
