"""The denoiser of the bundled model: a small V5.1 InP transformer on cached latents of procedural clips."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_dit import load_transformer
from ea_dit.families.mmdit import MMDiT, MMDiTConfig
from ea_dit.text.bytes import ByteTextEncoder, load_byte_encoder
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.latent_cache import CacheConfig, LatentCache, build_cache
from ea_train.recipes.start import load_start
from ea_train.sources import ClipSource, ManifestClips, ProceduralClips
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_cached import DenoiseConfig, cached_task
from ea_vae import load_vae

_COLOURS_FIRST = (4.0,) * 3 + (1.0,) * 13
"""The first three latents are the mean colours of each place. An error there shows over a hundred times more
in the pixels than one in the others, which hold the outlines; four times is a compromise."""


@dataclass(frozen=True, kw_only=True)
class DefaultDitConfig(RunConfig):
    """Settings of `ea-train default-dit`.

    Attributes:
        task: Objective.
        caches: Clip sizes to train on, each with its cache of latents.
        num_layers: Transformer blocks; text and video share their weights, as in the 7B layout.
        num_heads: Attention heads of 64 channels.
        data_seed: Seed of the procedural data set.
    """

    task: DenoiseConfig = field(default_factory=DenoiseConfig)
    caches: tuple[CacheConfig, ...] = (CacheConfig(),)
    num_layers: int = 8
    num_heads: int = 4
    data_seed: int = 0


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultDitConfig:
    """Settings: `tiny` for tests, `cpu` for two cores and an hour or two, `gpu` for one large GPU."""
    if preset == "tiny":
        return DefaultDitConfig(
            num_layers=2,
            num_heads=1,
            task=DenoiseConfig(validation_clips=2),
            caches=(CacheConfig(clips=8, num_frames=5, height=16, width=16, batch_size=4),),
            loop=LoopConfig(steps=4, batch_size=2, log_every=1),
        )
    if preset == "cpu":
        return DefaultDitConfig(
            num_layers=6,
            caches=(CacheConfig(clips=8192),),
            task=DenoiseConfig(latent_lengths=((0, 0.7), (1, 0.3)), latent_weights=_COLOURS_FIRST),
            loop=LoopConfig(steps=17000, batch_size=24, precision="bf16", ema_decay=0.999, log_every=50),
            optim=OptimConfig(
                kind="muon",
                lr=1e-3,
                muon_lr=0.012,
                betas=(0.9, 0.98),
                weight_decay=0.01,
                warmup_steps=100,
                decay="linear",
                decay_fraction=0.5,
            ),
        )
    sizes = ((128, 128, 49152), (96, 128, 24576), (128, 96, 8192), (128, 224, 16384), (64, 64, 16384))
    return DefaultDitConfig(
        num_layers=12,
        num_heads=6,
        caches=tuple(
            CacheConfig(clips=clips, height=height, width=width, batch_size=64)
            for height, width, clips in sizes
        ),
        task=DenoiseConfig(validation_clips=512, latent_weights=_COLOURS_FIRST),
        loop=LoopConfig(
            steps=30000,
            batch_size=128,
            precision="bf16",
            ema_decay=0.9995,
            log_every=100,
            num_workers=12,
        ),
        optim=OptimConfig(lr=8e-4, betas=(0.9, 0.98), weight_decay=0.01, warmup_steps=500, decay="linear"),
    )


def build(
    settings: DefaultDitConfig,
    *,
    vae_directory: Path,
    text_directory: Path,
    cache_directory: Path,
    device: torch.device,
    data: Path | None = None,
    init: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DenoiseTask:
    """The task; fills the caches of latents first, as far as they are not there yet.

    Args:
        settings: Sizes and objective.
        vae_directory: The autoencoder that `ea-train default-vae` exported.
        text_directory: The text encoder that `ea-train default-text` exported.
        cache_directory: Where latents are kept.
        device: Where clips are encoded.
        data: Manifest of captioned videos and pictures to train on; the procedural clips if None.
        init: Export of an earlier run to start from.
        on_progress: Finished and total shards of the current cache.

    Raises:
        ValueError: A folder or the manifest cannot be used, a caption is too long for the text encoder, or
            the earlier export does not fit the settings.
    """
    text_encoder = load_byte_encoder(text_directory, dtype=torch.float32, device=str(device))
    source = _clips(settings, data, text_encoder)
    vae = load_vae(vae_directory, dtype=torch.float32, device=device)
    bf16 = settings.loop.precision == "bf16"
    caches = []
    for size in settings.caches:
        folder = cache_directory / f"{size.width}x{size.height}x{size.num_frames}"
        build_cache(vae, source, folder, size, autocast=bf16, on_progress=on_progress)
        caches.append(LatentCache(folder, clips=size.clips))
    torch.manual_seed(settings.loop.seed)
    transformer = MMDiT(
        MMDiTConfig(
            num_layers=settings.num_layers,
            mmdit_layers=0,
            num_attention_heads=settings.num_heads,
            attention_head_dim=64,
            in_channels=2 * vae.config.latent_channels + 1,
            out_channels=vae.config.latent_channels,
            time_embed_dim=256,
            text_embed_dim=text_encoder.config.width,
        )
    )
    if init is not None:
        load_start(transformer, load_transformer(init, dtype=torch.float32), init)
    return cached_task(transformer, text_encoder, caches, source, settings.task)


def _clips(settings: DefaultDitConfig, data: Path | None, text_encoder: ByteTextEncoder) -> ClipSource:
    if data is None:
        return ProceduralClips(settings.data_seed)
    longest = max(size.num_frames for size in settings.caches)
    source = ManifestClips(data, settings.data_seed, split="all", num_frames=longest)
    for entry in source.entries:
        try:
            text_encoder.tokenize([entry.text])
        except ValueError as error:
            raise ValueError(f"{data}:{entry.line}: {error}") from None
    return source
