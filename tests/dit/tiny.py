"""Tiny random models, shared by the tests of this folder."""

import torch

from ea_dit.families.mmdit import MMDiT, MMDiTConfig

TINY = MMDiTConfig(
    num_layers=3,
    mmdit_layers=2,
    num_attention_heads=2,
    attention_head_dim=16,
    in_channels=9,
    out_channels=4,
    text_embed_dim=12,
    time_embed_dim=16,
    sample_height=8,
    sample_width=8,
)


def randomise(module):
    """Gives every parameter random values, so that zero-initialised layers take part."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module


def tiny_transformer(config=TINY):
    return randomise(MMDiT(config))
