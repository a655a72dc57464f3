"""A cache of clips and their control signals, encoded once.

Shards are written whole or not at all, and a shard that is there is not made again. The folder records what
it was made from and refuses to be continued with anything else.

Shapes: N clips, K kinds of signals, C latent channels, S channels of a signal: C, or 6 of rays; t, h, w the
latent sizes.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import ea_vae
from ea_dit.pipelines.channels import camera_channels
from ea_kernels.runtime.files import read_json, replacing, write_json
from ea_train.control_scenes import ControlScenes
from ea_train.precompute import fingerprint

SHARD_CLIPS = 256


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
        if self.num_frames < 1 or self.num_frames % 4 != 1:
            raise ValueError(f"cache: num_frames must be 4n + 1, got {self.num_frames}")
        if min(self.height, self.width) < 16 or self.height % 16 or self.width % 16:
            raise ValueError(
                f"cache: height and width must be multiples of 16, got {self.height}, {self.width}"
            )


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
        parts = [_read(_shard_path(directory, config, number)) for number in _shards(config)]
        self.autoencoder = str(read_json(directory / "cache.json").get("vae"))
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
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory, vae, source, config)
    for number in _shards(config):
        path = _shard_path(directory, config, number)
        if not path.exists():
            tensors = _encode_shard(vae, source, config, _rows(config, number), autocast=autocast)
            with replacing(path) as draft:
                save_file(tensors, draft)
        on_progress(number + 1, len(_shards(config)))


def _shards(config: ControlCacheConfig) -> range:
    return range(-(-config.clips // SHARD_CLIPS))


def _rows(config: ControlCacheConfig, shard: int) -> range:
    return range(shard * SHARD_CLIPS, min((shard + 1) * SHARD_CLIPS, config.clips))


def _shard_path(directory: Path, config: ControlCacheConfig, shard: int) -> Path:
    # A last shard that is not full has another name than the full one that a larger cache makes of it.
    return directory / f"shard-{shard:05d}-{len(_rows(config, shard))}.safetensors"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}); remove it and it is made again") from error


def _claim(
    directory: Path, vae: ea_vae.VideoAutoencoder[Any], source: ControlScenes, config: ControlCacheConfig
) -> None:
    settings = {name: value for name, value in asdict(config).items() if name not in ("clips", "batch_size")}
    made_from = json.loads(json.dumps({"vae": fingerprint(vae), "source": source.describe(), **settings}))
    path = directory / "cache.json"
    if not path.exists():
        write_json(path, made_from)
        return
    there = read_json(path)
    if different := sorted(key for key in made_from if there.get(key) != made_from[key]):
        raise ValueError(
            f"{directory} was made with another {different[0]} ({there.get(different[0])}, now "
            f"{made_from[different[0]]}); use another folder or remove it"
        )


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
