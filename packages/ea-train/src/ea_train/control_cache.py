"""A cache of clips and their control signals, encoded once, in a folder of shards.

Shapes: N clips, K kinds of signals, C latent channels, S channels of a signal: C, or 6 of rays; t, h, w the
latent sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ea_vae
from ea_dit.pipelines.channels import camera_channels
from ea_train.control_scenes import ControlScenes
from ea_train.shards import SHARD_CLIPS, autoencoder_of, check_clip_size, claim, fill, read_shard


@dataclass(frozen=True, kw_only=True)
class ControlCacheConfig:
    """What the cache holds.

    Attributes:
        clips: Clips in all.
        num_frames: Frames of a clip, 4n + 1.
        height: Pixels, a multiple of 16.
        width: Pixels, a multiple of 16.
        batch_size: Videos that are encoded together.
    """

    clips: int = 4096
    num_frames: int = 17
    height: int = 64
    width: int = 64
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Refuse clips that the networks cannot take."""
        if min(self.clips, self.batch_size) < 1:
            raise ValueError("cache: clips and batch_size must be at least 1")
        check_clip_size("cache", self.num_frames, self.height, self.width)


class ControlCache:
    """All shards of a cache, in memory.

    Attributes:
        latents: (N, C, t, h, w) float16, scaled.
        signals: (N, K, S, t, h, w) float16, as the network's condition channels have them.
        autoencoder: Fingerprint of the autoencoder that made them.

    Raises:
        ValueError: A shard is missing or cannot be read.
    """

    def __init__(self, directory: Path, config: ControlCacheConfig) -> None:
        parts = [read_shard(path) for path in _shard_paths(directory, config)]
        self.autoencoder = autoencoder_of(directory)
        self.latents = torch.cat([part["latents"] for part in parts])
        self.signals = torch.cat([part["signals"] for part in parts])

    def __len__(self) -> int:
        return len(self.latents)


def build_control_cache(
    vae: ea_vae.VideoAutoencoder[Any],
    source: ControlScenes,
    directory: Path,
    config: ControlCacheConfig,
    *,
    autocast: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill `directory` with every shard that is missing.

    Args:
        vae: The autoencoder, in evaluation mode.
        source: Clips; index 0 and up.
        directory: Where shards go.
        config: How many clips, how large.
        autocast: Encode under bfloat16 autocast.
        on_progress: Called with finished and total shards.

    Raises:
        ValueError: The folder was made with another autoencoder, other clips or other settings.
    """
    claim(directory, vae, source.describe(), config)

    def make(shard: int) -> dict[str, Tensor]:
        return _encode_shard(vae, source, config, _rows(config, shard), autocast=autocast)

    fill(_shard_paths(directory, config), make, on_progress)


def _rows(config: ControlCacheConfig, shard: int) -> range:
    return range(shard * SHARD_CLIPS, min((shard + 1) * SHARD_CLIPS, config.clips))


def _shard_paths(directory: Path, config: ControlCacheConfig) -> list[Path]:
    # A last shard that is not full has another name than the full one that a larger cache makes of it.
    sizes = [len(_rows(config, shard)) for shard in range(-(-config.clips // SHARD_CLIPS))]
    return [directory / f"shard-{shard:05d}-{size}.safetensors" for shard, size in enumerate(sizes)]


@torch.no_grad()
def _encode_shard(
    vae: ea_vae.VideoAutoencoder[Any],
    source: ControlScenes,
    config: ControlCacheConfig,
    rows: range,
    *,
    autocast: bool,
) -> dict[str, Tensor]:
    size = {"num_frames": config.num_frames, "height": config.height, "width": config.width}
    device = next(vae.parameters()).device

    def encode(video_BCTHW: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            made = vae.encode_clip(video_BCTHW.to(device)).mode() * vae.config.scaling_factor
        return made.half().cpu()

    latents: list[Tensor] = []
    signals: list[Tensor] = []
    for start in range(0, len(rows), config.batch_size):
        drawn = [source.drawn(index, **size) for index in rows[start : start + config.batch_size]]
        latents.append(encode(torch.stack([clip.video_CTHW for clip in drawn])))
        kinds = [torch.stack(videos) for videos in zip(*(clip.signals for clip in drawn), strict=True)]
        if source.kind == "camera":
            grid = tuple(latents[-1].shape[2:])
            made = [camera_channels(rays, (grid[0], grid[1], grid[2])).half() for rays in kinds]
        else:
            made = [encode(videos) for videos in kinds]
        signals.append(torch.stack(made, dim=1))
    return {"latents": torch.cat(latents), "signals": torch.cat(signals)}
