"""A LoRA that gives the clips of the bundled model another look, learned from drawn clips that have it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_data.synthetic.styles import find_style
from ea_dit import load_transformer
from ea_dit.families.mmdit import MMDiT
from ea_dit.text.bytes import load_byte_encoder
from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.latent_cache import CacheConfig, LatentCache, build_cache
from ea_train.sources import ProceduralClips
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_cached import DenoiseConfig, cached_task
from ea_vae import load_vae


@dataclass(frozen=True, kw_only=True)
class DefaultStyleConfig(RunConfig):
    """Settings of `ea-train default-style`.

    Attributes:
        style: One of `ea_data.synthetic.styles.STYLES`.
        task: Objective.
        cache: Clips to train on.
        adapter: The LoRA.
        data_seed: Seed of the procedural data set.
    """

    style: str = "pastel"
    task: DenoiseConfig = field(default_factory=DenoiseConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    adapter: AdapterConfig = field(default_factory=lambda: AdapterConfig(kind="lora", rank=16, alpha=16.0))
    data_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a style that is not there, and anything but a LoRA."""
        find_style(self.style)
        if self.adapter.kind in ("all", "parts"):
            raise ValueError(f"adapter.kind must be lora, loha or lokr, got {self.adapter.kind!r}")


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultStyleConfig:
    """Settings: `tiny` for tests, `cpu` for two cores and a quarter of an hour, `gpu` for a larger LoRA."""
    if preset == "tiny":
        return DefaultStyleConfig(
            task=DenoiseConfig(validation_clips=2, wordings=1),
            cache=CacheConfig(clips=8, num_frames=5, height=16, width=16, batch_size=4),
            adapter=AdapterConfig(kind="lora", rank=4, alpha=4.0),
            loop=LoopConfig(steps=4, batch_size=2, log_every=1),
        )
    cpu = preset == "cpu"
    return DefaultStyleConfig(
        task=DenoiseConfig(validation_clips=64, wordings=4),
        cache=CacheConfig(clips=1024 if cpu else 8192, batch_size=8 if cpu else 64),
        adapter=AdapterConfig(kind="lora", rank=16 if cpu else 64, alpha=16.0 if cpu else 64.0),
        loop=LoopConfig(
            steps=1000 if cpu else 4000,
            batch_size=16 if cpu else 128,
            precision="bf16",
            ema_decay=0.99,
            log_every=20,
            validate_every=200,
            checkpoint_minutes=2.5,
        ),
        optim=OptimConfig(lr=2e-3, weight_decay=0.0, warmup_steps=20, decay="linear", decay_fraction=0.5),
    )


def build(
    settings: DefaultStyleConfig,
    *,
    model: Path,
    cache_directory: Path,
    device: torch.device,
    init: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DenoiseTask:
    """The task; fills the cache of latents first, as far as it is not there yet.

    Args:
        settings: Of the run.
        model: Directory of the bundled model, or of one that was trained like it.
        cache_directory: Where latents are kept.
        device: Where clips are encoded.
        init: Must be None: a LoRA begins at zero.
        on_progress: Finished and total shards of the cache.

    Raises:
        ValueError: A folder cannot be used, or `init` is given.
    """
    if init is not None:
        raise ValueError("--init: a LoRA begins at zero; leave it out")
    text_encoder = load_byte_encoder(model / "text_encoder", dtype=torch.float32, device=str(device))
    vae = load_vae(model / "vae", dtype=torch.float32, device=device)
    clips = ProceduralClips(settings.data_seed, style=settings.style)
    size = settings.cache
    folder = cache_directory / f"{settings.style}-{size.width}x{size.height}x{size.num_frames}"
    bf16 = settings.loop.precision == "bf16"
    build_cache(vae, clips, folder, size, autocast=bf16, on_progress=on_progress)
    transformer = load_transformer(model / "transformer", dtype=torch.float32, device=device)
    if not isinstance(transformer, MMDiT):
        raise ValueError(f"{model}: the transformer must be one of V5 or V5.1")  # noqa: TRY004
    trained = make_trained(transformer, settings.adapter, seed=settings.loop.seed)
    caches = [LatentCache(folder, clips=size.clips)]
    return cached_task(transformer, text_encoder, caches, clips, settings.task, trained=trained)
