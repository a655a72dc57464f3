"""The autoencoder of the bundled model: a narrow V5.1 MAGVIT with 16 latent channels, 4x8x8.

It learns best in two runs: `default-pictures` on single pictures, which are cheap and all different, then
`default-vae` on clips from there.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.recipes.start import load_start
from ea_train.sources import ClipSource, ManifestClips, ProceduralClips
from ea_train.tasks.autoencoder import AutoencoderConfig, AutoencoderTask
from ea_train.tasks.autoencoder_start import start_as_copy, start_moving
from ea_vae import MagvitConfig, MagvitVae, load_vae


@dataclass(frozen=True, kw_only=True)
class DefaultVaeConfig(RunConfig):
    """Settings of `ea-train default-vae`.

    Attributes:
        task: Objective and clip shapes.
        channels: Channels of the four resolutions, finest first.
        layers_per_block: Residual layers of an encoder stage.
        norm_num_groups: Channel groups of the norms; one, since a norm over few channels forgets absolute
            brightness.
        data_seed: Seed of the procedural data set.
    """

    task: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    channels: tuple[int, ...] = (16, 32, 64, 128)
    layers_per_block: int = 1
    norm_num_groups: int = 1
    data_seed: int = 0


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultVaeConfig:
    """Settings: `tiny` for tests, `cpu` for two cores and half an hour, `gpu` for one large GPU."""
    if preset == "tiny":
        return DefaultVaeConfig(
            channels=(8, 8, 8, 8),
            task=AutoencoderConfig(
                shapes=((5, 16, 16, 1.0),), voxels_per_sample=5 * 16 * 16, validation_clips=2
            ),
            loop=LoopConfig(steps=4, batch_size=2, log_every=1),
        )
    if preset == "cpu":
        return DefaultVaeConfig(
            task=AutoencoderConfig(
                shapes=((9, 64, 64, 0.75), (17, 64, 64, 0.15), (1, 64, 64, 0.1)),
                whole_frames=17,
                kl_weight=1e-5,
                l2_weight=2.0,
                validation_clips=32,
            ),
            loop=LoopConfig(steps=3000, batch_size=4, precision="bf16", ema_decay=0.995, num_workers=1),
            optim=OptimConfig(
                kind="muon", muon_lr=0.008, lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0, warmup_steps=50
            ),
        )
    return DefaultVaeConfig(
        channels=(32, 64, 128, 128),
        task=AutoencoderConfig(
            shapes=(
                (17, 64, 64, 0.2),
                (17, 128, 128, 0.4),
                (17, 96, 128, 0.2),
                (17, 128, 224, 0.1),
                (1, 128, 128, 0.1),
            ),
            voxels_per_sample=17 * 128 * 128,
            kl_weight=1e-5,
            l2_weight=2.0,
            validation_clips=64,
        ),
        loop=LoopConfig(steps=6000, batch_size=16, precision="bf16", ema_decay=0.999, num_workers=12),
        optim=OptimConfig(
            kind="muon", muon_lr=0.008, lr=5e-4, betas=(0.9, 0.95), weight_decay=0.0, warmup_steps=200
        ),
    )


def build(
    settings: DefaultVaeConfig,
    *,
    data: Path | None = None,
    pictures: Path | None = None,
    init: Path | None = None,
) -> AutoencoderTask:
    """The task, with freshly initialised networks, or with those of an earlier run.

    Args:
        settings: Sizes and objective.
        data: Manifest of videos and pictures to train on; the procedural clips if None.
        pictures: Export of `default-pictures` to start from.
        init: Export of an autoencoder for clips to start from.

    Raises:
        ValueError: The manifest or a start cannot be used, or both starts are given.
    """
    if pictures is not None and init is not None:
        raise ValueError("--pictures and --init: give one of them")
    if settings.task.freeze_encoder and init is None:
        raise ValueError("task.freeze_encoder trains a decoder for an encoder that is there: give --init")
    torch.manual_seed(settings.loop.seed)
    vae = MagvitVae(
        MagvitConfig(
            block_out_channels=settings.channels,
            layers_per_block=settings.layers_per_block,
            norm_num_groups=settings.norm_num_groups,
        )
    )
    start_as_copy(vae)
    if (start := pictures or init) is not None:
        earlier = load_vae(start, dtype=torch.float32)
        load_start(vae, earlier, start)
        vae.config = vae.config.edited(scaling_factor=earlier.config.scaling_factor)
    if pictures is not None:
        start_moving(vae)
    train, heldout = _clips(settings, data)
    return AutoencoderTask(vae, settings.task, train=train, heldout=heldout)


def _clips(settings: DefaultVaeConfig, data: Path | None) -> tuple[ClipSource, ClipSource]:
    if data is None:
        train = ProceduralClips(settings.data_seed)
        return train, ProceduralClips(settings.data_seed + 1, split="heldout")
    longest = int(max(shape[0] for shape in settings.task.shapes))
    train = ManifestClips(data, settings.data_seed, num_frames=longest)
    return train, ManifestClips(data, settings.data_seed, split="heldout", num_frames=longest)
