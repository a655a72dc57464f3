"""Small autoencoders for all tests of the package."""

import pytest
import torch

import ea_vae
from ea_vae.families.magvit import presets


@pytest.fixture
def config():
    return ea_vae.MagvitConfig(
        block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4
    )


@pytest.fixture
def make():
    """Build a seeded model of the family that the config belongs to."""

    def build(config):
        torch.manual_seed(0)
        spec = next(spec for spec in ea_vae.FAMILIES.values() if isinstance(config, spec.config))
        return spec.model(config).eval()

    return build


@pytest.fixture
def vae(config, make):
    return make(config)


@pytest.fixture
def generation(make):
    """Build a small model of a MAGVIT preset such as "v3"; 4 frames of 4 x 4 pixels make one position."""

    def build(name, **changes):
        small = {
            "block_out_channels": (4, 4, 8),
            "down_block_types": ("SpatialTemporalDownBlock3D",) * 3,
            "up_block_types": ("SpatialTemporalUpBlock3D",) * 3,
            "norm_num_groups": 2,
            "latent_channels": 4,
            "use_tiling": False,
            "tile_stages": 3,
        }
        return make(presets.PRESETS[name].edited(**(small | changes)))

    return build


@pytest.fixture
def image_vae(make):
    return make(ea_vae.ImageVaeConfig(block_out_channels=(4, 4, 4, 8), layers_per_block=1, norm_num_groups=2))


@pytest.fixture
def cogvideox(make):
    return make(
        ea_vae.CogVideoXConfig(
            block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4
        )
    )


@pytest.fixture
def video():
    return torch.rand(2, 3, 9, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
