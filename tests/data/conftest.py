"""Clips as a generative model and a lossy file make them: blurred, noisy, coded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from ea_data.media import read_video, write_video

Frames = NDArray[np.uint8]

# How long an example takes says nothing on a machine with other work.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def _blur(frames: Frames, sigma: float) -> NDArray[np.float32]:
    """Gaussian blur of (T, H, W, 3) frames in both directions of the picture."""
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    kernel /= kernel.sum()
    result = frames.astype(np.float32)
    for axis in (1, 2):
        padded = np.pad(result, [(3, 3) if place == axis else (0, 0) for place in range(4)], mode="edge")
        size = result.shape[axis]
        parts = (kernel[i] * np.take(padded, range(i, i + size), axis=axis) for i in range(7))
        result = sum(parts, np.zeros_like(result))
    return result


@pytest.fixture
def degrade(tmp_path: Path) -> Callable[[Frames, int], Frames]:
    """Blur of 0.7 pixels, noise of 4/255 by a seed, H.264 at CRF 18."""

    def change(frames: Frames, seed: int) -> Frames:
        noise = np.random.default_rng(seed).normal(0, 4, frames.shape)
        soft = np.clip(_blur(frames, 0.7) + noise + 0.5, 0, 255).astype(np.uint8)
        return read_video(write_video(tmp_path / "degraded.mp4", soft, crf=18)).frames

    return change


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    from media_folder import make_folder  # torch comes with it

    return make_folder(tmp_path_factory.mktemp("media"))


@pytest.fixture
def mine(manifest, tmp_path):
    """A copy of the folder, to break."""
    shutil.copytree(manifest.parent, tmp_path / "media")
    return tmp_path / "media" / manifest.name


@pytest.fixture(scope="session")
def footage(tmp_path_factory):
    """Little footage for runs of curation; nobody writes into it."""
    from curation_workers import make_footage

    return make_footage(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="session")
def undisturbed(footage, tmp_path_factory):
    """What a run over that footage gives."""
    from curation_workers import plan_file, results_of

    from ea_data.curation.curate import Engines, curate
    from ea_data.curation.plan import load_plan

    folder = tmp_path_factory.mktemp("undisturbed")
    plan = load_plan(str(plan_file(folder)))
    curate(plan, footage, folder / "out", engines=Engines(name="inline"), samples=0)
    return results_of(folder / "out")
