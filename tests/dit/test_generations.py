"""Which release a config is of, and what that release made."""

import pytest

from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.pipelines.generations import V1, V1_IMAGE, generation_of
from ea_dit.pipelines.variants import traits_of


@pytest.mark.parametrize(("name", "config"), [*MMDIT.items(), *HUNYUAN3D.items(), *PIXART.items()])
def test_every_preset_of_easyanimate_is_of_its_version(name, config):
    number = name.split("-")[0].upper()
    assert generation_of(config).name.endswith(f"EasyAnimate {number}")


def test_the_image_model_of_v1_makes_pictures():
    assert generation_of(PIXART["v1-image"]) is V1_IMAGE
    assert generation_of(PIXART["v1-t2v"]) is V1
    assert (V1_IMAGE.frames, V1.frames) == (1, 80)


@pytest.mark.parametrize(
    ("preset", "made"),
    [
        ("v1.0-16x256", ("Open-Sora 1.0", 256, 256, 16, 8)),
        ("v1.0-16x512", ("Open-Sora 1.0", 512, 512, 16, 8)),
        ("v1.0-64x512", ("Open-Sora 1.0", 512, 512, 64, 12)),
        ("v1.1", ("Open-Sora 1.1", 426, 240, 16, 8)),
    ],
)
def test_open_sora_has_a_model_for_every_size(preset, made):
    found = generation_of(STDIT[preset])
    assert (found.name, found.width, found.height, found.frames, found.fps) == made
    assert (found.steps, found.guidance) == (100, 7.0)


@pytest.mark.parametrize("config", [*MMDIT.values(), *HUNYUAN3D.values(), *PIXART.values(), *STDIT.values()])
def test_a_model_can_make_what_it_was_released_for(config):
    made, multiple = generation_of(config), traits_of(config).size_multiple
    assert (made.width % multiple, made.height % multiple) == (0, 0)
    assert made.frames == 1 or traits_of(config).moves


def test_what_is_no_transformer():
    with pytest.raises(TypeError, match="object is no config of a transformer"):
        generation_of(object())
