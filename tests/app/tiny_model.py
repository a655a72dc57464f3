"""A complete model directory with random weights, small enough to run in a blink."""

from __future__ import annotations

import json
from pathlib import Path

import torch

TINY_INFO = {
    "name": "tiny",
    "description": "Random weights.",
    "native_width": 32,
    "native_height": 32,
    "native_frames": 5,
    "max_side": 64,
    "max_frames": 9,
    "steps": 2,
    "guidance": 3.0,
    "max_prompt_bytes": 256,
}


def write_tiny_model(directory: Path) -> Path:
    """Write an inpaint transformer, an autoencoder, a byte encoder and a schedule."""
    from ea_dit import save_transformer
    from ea_dit.diffusion.flow import FlowMatching
    from ea_dit.families.mmdit import MMDiT, MMDiTConfig
    from ea_dit.text.bytes import ByteEncoderConfig, ByteTextEncoder, save_byte_encoder
    from ea_vae import MagvitConfig, MagvitVae, save_vae

    torch.manual_seed(0)
    transformer = MMDiT(
        MMDiTConfig(
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=33,
            text_embed_dim=32,
            time_embed_dim=32,
            sample_height=4,
            sample_width=4,
        )
    )
    for parameter in transformer.parameters():  # a fresh network predicts zeros
        torch.nn.init.normal_(parameter, std=0.2)
    save_transformer(transformer, directory / "transformer", dtype=torch.float16)
    vae = MagvitVae(MagvitConfig(block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4))
    save_vae(vae, directory / "vae", dtype=torch.float16)
    encoder = ByteTextEncoder(
        ByteEncoderConfig(max_bytes=256, width=32, num_layers=1, num_heads=2, num_tokens=4)
    )
    save_byte_encoder(encoder, directory / "text_encoder", dtype=torch.float16)
    scheduler = directory / "scheduler" / "scheduler_config.json"
    scheduler.parent.mkdir()
    scheduler.write_text(json.dumps(FlowMatching().to_dict()))
    (directory / "model.json").write_text(json.dumps(TINY_INFO))
    return directory
