"""A cache of latents: clips encoded once, so that denoiser training never waits for the autoencoder.

Shard `n` holds the clips with indices n * SHARD_CLIPS and up, as safetensors: scaled latents, and for the
clips that drew a condition the inpaint channels that belong to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ea_vae
from ea_data.masks import MaskKind, random_mask
from ea_dit.pipelines.channels import draw_noise_strength, inpaint_channels, mask_video
from ea_train.shards import SHARD_CLIPS, autoencoder_of, check_clip_size, claim, fill, read_shard
from ea_train.sources import ClipSource

CONDITION_KINDS: tuple[MaskKind, ...] = ("all", "first", "last", "ends", "box")
"""Kinds of masks in the order of `CacheConfig.condition_weights` and of the numbers in a cache."""


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """What the cache holds.

    Attributes:
        clips: Clips in all; rounded up to whole shards.
        num_frames: Frames of a clip, 4n + 1.
        height: Pixels, a multiple of 16.
        width: Pixels, a multiple of 16.
        condition_weights: Shares of clips without condition, with the first frame given, the last, both, and
            all but a box.
        batch_size: Clips that are encoded together.
        seed: Of masks and of the noise on given pixels.
    """

    clips: int = 16384
    num_frames: int = 17
    height: int = 64
    width: int = 64
    condition_weights: tuple[float, ...] = (0.5, 0.25, 0.08, 0.12, 0.05)
    batch_size: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse clips that the networks cannot take."""
        if min(self.clips, self.batch_size) < 1 or self.seed < 0:
            raise ValueError("caches: clips and batch_size must be at least 1, seed at least 0")
        check_clip_size("caches", self.num_frames, self.height, self.width)
        if len(self.condition_weights) != len(CONDITION_KINDS) or min(self.condition_weights) < 0:
            raise ValueError(
                f"caches: condition_weights must be five numbers from 0, got {self.condition_weights}"
            )


class LatentCache:
    """All shards of a cache, in memory.

    Attributes:
        latents: (N, C, t, h, w) float16, scaled.
        conditions: (M, 1 + C, t, h, w) float16 for the clips that have one.
        condition_of: (N,) row in `conditions`, or -1.
        kind_of: (N,) kind of mask: 0 none, 1 first frame, 2 last, 3 both, 4 box.
        autoencoder: Fingerprint of the autoencoder that made them.

    Raises:
        ValueError: No shards, or one that cannot be read.
    """

    def __init__(self, directory: Path, *, clips: int | None = None) -> None:
        shards = sorted(directory.glob("shard-*.safetensors"))
        if clips is not None:
            shards = shards[: -(-clips // SHARD_CLIPS)]
        if not shards:
            raise ValueError(f"{directory} holds no latents; make them first")
        self.autoencoder = autoencoder_of(directory)
        parts = [read_shard(path) for path in shards]
        self.latents = torch.cat([part["latents"] for part in parts])
        self.kind_of = torch.cat([part["kind"] for part in parts])
        self.conditions = torch.cat([part["conditions"] for part in parts])
        has = self.kind_of > 0
        self.condition_of = torch.where(has, has.cumsum(0) - 1, -1)

    def __len__(self) -> int:
        return self.latents.shape[0]


def build_cache(
    vae: ea_vae.VideoAutoencoder[Any],
    source: ClipSource,
    directory: Path,
    config: CacheConfig,
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
        return _encode_shard(vae, source, config, shard, autocast=autocast)

    shards = range(-(-config.clips // SHARD_CLIPS))
    fill([directory / f"shard-{shard:05d}.safetensors" for shard in shards], make, on_progress)


@torch.no_grad()
def _encode_shard(
    vae: ea_vae.VideoAutoencoder[Any], source: ClipSource, config: CacheConfig, shard: int, *, autocast: bool
) -> dict[str, Tensor]:
    device = next(vae.parameters()).device
    latents, conditions, kinds = [], [], []
    for start in range(shard * SHARD_CLIPS, (shard + 1) * SHARD_CLIPS, config.batch_size):
        indices = range(start, min(start + config.batch_size, (shard + 1) * SHARD_CLIPS))
        size = {"num_frames": config.num_frames, "height": config.height, "width": config.width}
        video = torch.stack([source.clip(index, **size) for index in indices])
        drawn = [_draw_mask(config, index) for index in indices]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            latents.append(_encode(vae, video, device))
            rows = [row for row, (kind, _) in enumerate(drawn) if kind]
            if rows:
                masks = torch.stack([drawn[row][1] for row in rows])[:, None]
                conditions.append(_condition(vae, video[rows], masks, seed=config.seed << 40 | start))
        kinds += [kind for kind, _ in drawn]
    shape = latents[0].shape[1:]
    empty = torch.empty(0, shape[0] + 1, *shape[1:], dtype=torch.float16)
    return {
        "latents": torch.cat(latents),
        "conditions": torch.cat([empty, *conditions]),
        "kind": torch.tensor(kinds, dtype=torch.int8),
    }


def _encode(vae: ea_vae.VideoAutoencoder[Any], video_BCTHW: Tensor, device: torch.device) -> Tensor:
    latents = vae.encode_clip(video_BCTHW.to(device)).mode() * vae.config.scaling_factor
    return latents.half().cpu()


def _condition(
    vae: ea_vae.VideoAutoencoder[Any], video_BCTHW: Tensor, generate_B1THW: Tensor, *, seed: int
) -> Tensor:
    device = next(vae.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(video_BCTHW.shape, generator=generator)
    strength = draw_noise_strength(len(video_BCTHW), generator)
    masked = mask_video((video_BCTHW + 1) / 2, generate_B1THW, noise_BCTHW=noise, noise_strength=strength)
    latents = _encode(vae, masked, device).float()
    return inpaint_channels(generate_B1THW, latents, vae.config.scaling_factor).half()


def _draw_mask(config: CacheConfig, index: int) -> tuple[int, Tensor]:
    rng = np.random.default_rng((config.seed, index, 0x3A5C))
    weights = dict(zip(CONDITION_KINDS, config.condition_weights, strict=True))
    kind, mask = random_mask(rng, config.num_frames, config.height, config.width, weights=weights)
    return CONDITION_KINDS.index(kind), torch.from_numpy(mask)
