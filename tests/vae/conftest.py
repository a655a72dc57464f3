"""A small autoencoder for all tests of the package."""

import pytest
import torch

import ea_vae


@pytest.fixture
def config():
    return ea_vae.MagvitConfig(
        block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4
    )


@pytest.fixture
def make():
    """Build a seeded model from a config."""

    def build(config):
        torch.manual_seed(0)
        return ea_vae.MagvitVae(config).eval()

    return build


@pytest.fixture
def vae(config, make):
    return make(config)


@pytest.fixture
def video():
    return torch.rand(2, 3, 9, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
