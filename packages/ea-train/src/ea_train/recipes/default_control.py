"""A control model that grows out of the bundled model: it follows edges, and points that move.

Attention and the layers between learn; what turns the timestep into scales and shifts, half of the weights,
stays that of the bundled model, so that both can share it on disk.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_dit import load_transformer
from ea_dit.families.mmdit import MMDiT
from ea_dit.pipelines.growing import widened
from ea_dit.pipelines.variants import CAMERA_RAYS
from ea_dit.text.bytes import load_byte_encoder
from ea_train.adapters import AdapterConfig
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.control_cache import ControlCache, ControlCacheConfig, build_control_cache
from ea_train.control_scenes import ControlKind, ControlScenes
from ea_train.tasks.control_cached import CachedControls, ControlConfig, ControlTask, control_task
from ea_vae import load_vae

COLOURS_FIRST = (4.0,) * 3 + (1.0,) * 13
"""The first three latents of the bundled autoencoder are mean colours, see `default-dit`."""


@dataclass(frozen=True, kw_only=True)
class DefaultControlConfig(RunConfig):
    """Settings of `ea-train default-control` and `default-camera`.

    Attributes:
        task: Objective.
        cache: Clips to train on.
        adapter: What learns.
        data_seed: Seed of the procedural data set.
    """

    task: ControlConfig = field(default_factory=ControlConfig)
    cache: ControlCacheConfig = field(default_factory=ControlCacheConfig)
    adapter: AdapterConfig = field(
        default_factory=lambda: AdapterConfig(
            kind="parts", names=("patch_embed", "attention.video", "video_mlp", "head.projection")
        )
    )
    data_seed: int = 0


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultControlConfig:
    """Settings: `tiny` for tests, `cpu` for two cores and an hour or two, `gpu` for one large GPU."""
    if preset == "tiny":
        return DefaultControlConfig(
            task=ControlConfig(validation_clips=2, wordings=1),
            cache=ControlCacheConfig(clips=8, num_frames=5, height=16, width=16, batch_size=4),
            loop=LoopConfig(steps=4, batch_size=2, log_every=1),
        )
    loop = LoopConfig(
        steps=12000,
        batch_size=24,
        precision="bf16",
        ema_decay=0.999,
        log_every=50,
        validate_every=500,
        checkpoint_minutes=2.5,
    )
    optim = OptimConfig(
        kind="muon",
        lr=1e-3,
        muon_lr=0.008,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        warmup_steps=100,
        decay="linear",
        decay_fraction=0.6,
    )
    task = ControlConfig(latent_weights=COLOURS_FIRST)
    if preset == "cpu":
        return DefaultControlConfig(task=task, loop=loop, optim=optim)
    return DefaultControlConfig(
        task=task,
        cache=ControlCacheConfig(clips=32768, batch_size=64),
        loop=LoopConfig(
            steps=30000, batch_size=128, precision="bf16", ema_decay=0.9995, log_every=100, num_workers=8
        ),
        optim=optim,
    )


def build(
    settings: DefaultControlConfig,
    *,
    model: Path,
    cache_directory: Path,
    device: torch.device,
    init: Path | None = None,
    kind: ControlKind = "control",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ControlTask:
    """The task; fills the cache of latents first, as far as it is not there yet.

    Args:
        settings: Sizes and objective.
        model: Directory of the bundled model, or of one that was trained like it.
        cache_directory: Where latents are kept.
        device: Where clips are encoded.
        init: Export of an earlier run of this recipe to start from, instead of the model's transformer.
        kind: What the model follows.
        on_progress: Finished and total shards of the cache.

    Raises:
        ValueError: A folder cannot be used, or a caption is too long for the text encoder.
    """
    text_encoder = load_byte_encoder(model / "text_encoder", dtype=torch.float32, device=str(device))
    vae = load_vae(model / "vae", dtype=torch.float32, device=device)
    scenes = ControlScenes(settings.data_seed, kind=kind)
    size = settings.cache
    folder = cache_directory / f"{kind}-{size.width}x{size.height}x{size.num_frames}"
    bf16 = settings.loop.precision == "bf16"
    build_control_cache(vae, scenes, folder, size, autocast=bf16, on_progress=on_progress)
    start = load_transformer(init or model / "transformer", dtype=torch.float32)
    if not isinstance(start, MMDiT):
        raise ValueError(f"{init or model}: the transformer must be one of V5 or V5.1")  # noqa: TRY004
    channels = start.config.out_channels
    signal = CAMERA_RAYS if kind == "camera" else channels
    network = widened(start, channels + signal + channels).to(device)
    assert isinstance(network, MMDiT)
    source = CachedControls(text_encoder, ControlCache(folder, size), scenes, settings.task)
    return control_task(network, source, settings.task, settings.adapter)
