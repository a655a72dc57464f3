"""Which sizes a model makes: the rule comes from its traits, and Open-Sora 1.1 has none."""

import pytest
import torch
from given import request_of

from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.pipelines import load_pipeline
from ea_dit.pipelines.inputs import make_inputs
from ea_dit.pipelines.stages import seeded_noise
from ea_dit.pipelines.tiny import make_tiny
from ea_dit.pipelines.variants import traits_of

HEIGHT, WIDTH, FRAMES = 36, 58, 4
MADE = (32, 56)  # 4 x 7 latent positions; 7 is no multiple of the patch
VIDEO = torch.rand(3, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
LAST_TWO = torch.arange(FRAMES)[:, None, None].expand(FRAMES, HEIGHT, WIDTH) >= 2


def make(**changes):
    given = {"prompt": "a fox", "height": HEIGHT, "width": WIDTH, "num_frames": FRAMES, "num_steps": 2}
    return request_of(given | changes)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A tiny Open-Sora 1.1."""
    folder = make_tiny("open-sora-1.1", tmp_path_factory.mktemp("open-sora") / "model")
    return load_pipeline(folder, dtype="float32", device="cpu")


@pytest.mark.parametrize(
    ("config", "multiple"),
    [
        (MMDIT["v5.1-7b-inp"], 16),
        (HUNYUAN3D["v4-inp"], 16),
        (PIXART["v1-t2v"], 32),
        (PIXART["v3-inp"], 16),
        (STDIT["v1.0-16x256"], 16),
        (STDIT["v1.1"], 1),
    ],
)
def test_the_multiple_of_every_family(config, multiple):
    assert traits_of(config).size_multiple == multiple


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((240, 426), "^width must be a multiple of 16 for this model, got 426; 416 and 432 are nearest$"),
        ((250, 426), "^height must be a multiple of 16 for this model, got 250; 240 and 256 are nearest$"),
        ((15, 16), "^height must be a multiple of 16 for this model, got 15; 16 is nearest$"),
    ],
)
def test_a_size_that_a_model_cannot_make(size, message):
    with pytest.raises(ValueError, match=message):
        traits_of(STDIT["v1.0-16x256"]).check_size(*size)


def test_a_size_that_a_model_makes():
    traits_of(STDIT["v1.1"]).check_size(240, 426)
    traits_of(STDIT["v1.0-16x256"]).check_size(240, 432)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_frames": 1},
        {"video": VIDEO, "strength": 0.5},
        {"image": VIDEO[:, 0]},
        {"image": VIDEO[:, :2], "last_image": VIDEO[:, -1]},
        {"video": VIDEO, "mask": LAST_TWO},
    ],
)
def test_any_size_in_every_mode(pipeline, changes):
    request = make(**changes)
    result = pipeline(request)
    assert result.latents.shape == (1, 4, request.num_frames, 4, 7)
    assert result.frames.shape == (1, 3, request.num_frames, *MADE)
    assert bool(torch.isfinite(result.frames).all())


def test_the_network_is_told_the_size_that_was_asked_for(pipeline):
    parts = pipeline.components
    inputs = make_inputs(make(), parts, (1, 4, FRAMES, 4, 7), seeded_noise(0))
    assert inputs.conditioning.resolution.tolist() == [[HEIGHT, WIDTH]]
    assert inputs.conditioning.aspect_ratio.item() == pytest.approx(HEIGHT / WIDTH)


def test_pictures_of_another_size_are_refused(pipeline):
    with pytest.raises(ValueError, match="image must have the shape 3 x 36 x 58, got 3 x 32 x 56"):
        pipeline(make(image=torch.zeros(3, *MADE)))
