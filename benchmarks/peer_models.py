"""The same random weights in this repository's layout and in diffusers', to measure both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LAYERS, HEADS, HEAD_WIDTH = 4, 8, 64
LATENTS = (1, 16, 5, 32, 32)
TEXT = (1, 128, 3584)
VAE_CHANNELS = (64, 128, 256, 256)
SEED = 0
MMDIT = f"MMDiT, {LAYERS} blocks, {HEADS} heads of {HEAD_WIDTH}"


def save_mmdit(folder: Path) -> dict[str, Path]:
    """Save an MMDiT in both layouts; weights that begin at zero are drawn, so that all get gradients.

    Returns:
        The folders "ours" and "diffusers".
    """
    from ea_dit import save_transformer
    from ea_dit.families.mmdit import MMDiT, MMDiTConfig

    torch.manual_seed(SEED)
    network = MMDiT(
        MMDiTConfig(
            num_layers=LAYERS,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            in_channels=LATENTS[1],
            out_channels=LATENTS[1],
            text_embed_dim=TEXT[2],
        )
    )
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    folders = {"ours": folder / "ours", "diffusers": folder / "diffusers"}
    for name, place in folders.items():
        save_transformer(network, place, diffusers=name == "diffusers")
    return folders


def mmdit_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and text states."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(LATENTS, generator=generator), torch.randn(TEXT, generator=generator)


def at_released_positions(network: Any, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A pass of diffusers' transformer with the rotary positions that released weights were trained with.

    diffusers has others for most sizes, so that results can only be compared with these; times are taken
    without the change.
    """
    from ea_dit.layers.rope import rope_3d

    def positions(hidden: Tensor) -> tuple[Tensor, Tensor]:
        frames, height, width = hidden.shape[2:]
        cos, sin = rope_3d((frames, height // 2, width // 2), HEAD_WIDTH, base=(30, 45))
        return cos.repeat_interleave(2, dim=-1), sin.repeat_interleave(2, dim=-1)

    def released() -> Tensor:
        before = network.rope_embedding.forward
        network.rope_embedding.forward = positions
        try:
            return run()
        finally:
            network.rope_embedding.forward = before

    return released


def save_vae(folder: Path) -> Path:
    """Save diffusers' autoencoder with random weights; both read the same folder."""
    from diffusers import AutoencoderKLMagvit

    torch.manual_seed(SEED)
    AutoencoderKLMagvit(block_out_channels=VAE_CHANNELS, latent_channels=LATENTS[1]).save_pretrained(folder)
    return folder
